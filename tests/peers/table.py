"""The table of a run, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .numbers import NOTHING, number, times
from .results import LEVERET, RELAY

MET = {True: "yes", False: "no", None: ""}


def peers(document: Mapping[str, Any]) -> list[str]:
    """The names of the other brokers that were measured, in order."""
    return [name for name in document["brokers"] if name != LEVERET]


def title(document: Mapping[str, Any], name: str) -> str:
    """A broker's name with its version."""
    broker = document["brokers"][name]
    return str(broker["product"] or broker["title"])


def target(measure: Mapping[str, Any]) -> str:
    """What Leveret must reach."""
    if measure["target"] is None:
        return ""
    text = number(measure["target"], measure["unit"])
    return text if measure["relay_limit"] is None else f"{text}; {times(measure['relay_limit'])} relay"


def cells(document: Mapping[str, Any], row: Mapping[str, Any], measure: Mapping[str, Any]) -> list[str]:
    """One line of the table."""
    unit, medians = measure["unit"], measure["medians"]
    line = [row["title"], measure["title"], number(medians.get(LEVERET), unit)]
    for name in peers(document):
        line += [number(medians.get(name), unit), times(measure["ratios"][name]) if name in measure["ratios"] else ""]
    relay = f"{number(medians[RELAY], unit)}; {times(measure['relay_multiple'])}" if medians.get(RELAY) else ""
    sync = times(measure["sync_multiple"]) if measure["sync_multiple"] else ""
    return [*line, relay, sync, target(measure), MET[measure["met"]]]


def rows(document: Mapping[str, Any], aside: bool) -> list[list[str]]:
    """The table's cells, its head first; none if nothing is in it."""
    head = ["work", "what", title(document, LEVERET) if LEVERET in document["brokers"] else "Leveret"]
    for name in peers(document):
        head += [title(document, name), "ratio"]
    lines = [
        cells(document, row, measure)
        for row in document["rows"]
        for measure in row["measures"]
        if measure["aside"] == aside
    ]
    for at in range(len(lines) - 1, 0, -1):
        if lines[at][0] == lines[at - 1][0]:
            lines[at][0] = ""
    return [[*head, "relay; multiple", "of a sync", "target", "met"], *lines] if lines else []


def without_empty(lines: list[list[str]]) -> list[list[str]]:
    """The same without columns in which only the head says anything."""
    kept = [i for i in range(len(lines[0])) if any(line[i] for line in lines[1:])]
    return [[line[i] for i in kept] for line in lines]


def markdown(document: Mapping[str, Any], aside: bool = False, aligned: bool = False) -> str:
    """The table, its columns made equally wide when it is for a terminal; empty if there is nothing in it."""
    lines = rows(document, aside)
    if not lines:
        return ""
    lines = without_empty(lines)
    widths = [max(len(line[i]) for line in lines) if aligned else 0 for i in range(len(lines[0]))]
    rule = ["-" * max(width, 3) for width in widths]
    lines.insert(1, [dashes if i < 2 else dashes[:-1] + ":" for i, dashes in enumerate(rule)])
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines)


def conditions(document: Mapping[str, Any]) -> str:
    """On what, when and how it was measured, in a few sentences."""
    machine, settings = document["machine"], document["settings"]
    memory = number(machine["memory_bytes"], "B")
    sync = number(document["sync"]["median_us"], "us") if document["sync"]["median_us"] is not None else NOTHING
    return (
        f"{machine['date']}, commit {machine['commit']}, {machine['cpu']} with {machine['cores']} cores, {memory} of memory, "
        f"{machine['kernel']}, data on {machine['file_system']} with a sync (`leveret perf sync`, p50) of {sync}. "
        f"Medians of {settings['rounds']} rounds of {settings['seconds']:g} s after {settings['warmup']:g} s of warm-up; "
        f"load average before the run: {machine['load_average']:.2f}."
    )


def problems(document: Mapping[str, Any]) -> list[str]:
    """What did not go as it should, a line each."""
    return [f"{note['broker']}, {note['row']}, round {note['round']}: {note['text']}" for note in document["notes"]]
