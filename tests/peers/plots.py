"""The plots of a run: for each thing a line of points, one for each broker, with the range of its rounds."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .axis import Axis
from .numbers import number
from .results import LEVERET, RELAY
from .rows import LESS
from .svg import Drawing
from .table import title

WIDTH, LABELS, VALUES = 860, 250, 90
"""Pixels of the page, of the labels on the left and of the room for values on the right."""
TOP, LEGEND, LINE, GAP, FOOT = 50, 30, 20, 16, 34
LABEL_LETTERS = 32


@dataclass(frozen=True)
class Plot:
    """A picture, and what is in it: names of rows and measures with their labels."""

    file: str
    title: str
    entries: tuple[tuple[str, str, str], ...]


PLOTS = (
    Plot(
        "cpu.svg",
        "Messages for each second of the broker's CPU time",
        (
            ("transient", "per_cpu_second", "16 B transient, auto-ack"),
            ("topic", "per_cpu_second", "16 B, topic exchange with 100 bindings"),
            ("fanout", "per_cpu_second", "16 B, fanout to 10 queues, deliveries"),
            ("persistent", "per_cpu_second", "1 KiB persistent, 100 confirms in flight"),
        ),
    ),
    Plot(
        "rate.svg",
        "Messages a second",
        (
            ("transient", "rate", "16 B transient, 1 publisher, 1 consumer"),
            ("two-queues", "rate", "16 B transient, 2 publishers, 2 consumers, 2 queues"),
            ("fanout", "rate", "16 B transient, fanout to 10 queues, deliveries"),
            ("persistent", "rate", "1 KiB persistent, 100 confirms in flight"),
            ("backlog", "fill", "fill a queue, 128 B persistent, 1,000 confirms in flight"),
            ("backlog", "drain", "drain it"),
        ),
    ),
    Plot(
        "latency.svg",
        "End to end at 1,000 messages a second",
        (("latency", "p50", "p50"), ("latency", "p99", "p99"), ("latency", "p99_9", "p99.9")),
    ),
    Plot(
        "operations.svg",
        "Operations a second",
        (
            ("connections", "rate", "open a connection and a channel"),
            ("churn", "rate", "connect, open a channel, declare, close"),
            ("queues", "declare", "declare a durable queue"),
            ("queues", "bind", "bind it"),
            ("queues", "publish", "publish to it with a confirm"),
            ("queues", "delete", "delete it"),
        ),
    ),
    Plot(
        "memory.svg",
        "Memory",
        (
            ("start", "idle", "idle broker"),
            ("backlog", "memory", "with 500,000 messages of 128 B in a queue"),
            ("connections", "memory", "of an idle connection"),
        ),
    ),
    Plot(
        "start.svg",
        "Until a broker serves",
        (
            ("start", "seconds", "start with an empty directory"),
            ("recovery", "seconds", "after kill -9 with 1,000,000 messages in a queue"),
        ),
    ),
)


def files(document: Mapping[str, Any]) -> dict[str, str]:
    """The plots for which there is anything, by the names of their files."""
    drawn = ((plot, list(lines(document, plot))) for plot in PLOTS)
    return {plot.file: draw(document, plot, found) for plot, found in drawn if found}


def lines(document: Mapping[str, Any], plot: Plot) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The labels and measures of a plot that were measured."""
    measures = {(row["name"], measure["name"]): measure for row in document["rows"] for measure in row["measures"]}
    for row, name, label in plot.entries:
        measure = measures.get((row, name))
        if measure is not None and any(contenders(measure)):
            yield label, measure


def contenders(measure: Mapping[str, Any]) -> Iterator[str]:
    """Those that have a number above 0 in it, Leveret first and the relay last."""
    names = [name for name, value in measure["medians"].items() if value]
    yield from sorted(names, key=lambda name: (name != LEVERET, name == RELAY))


def draw(document: Mapping[str, Any], plot: Plot, found: list[tuple[str, Mapping[str, Any]]]) -> str:
    """One picture."""
    values = [value for _, measure in found for value in spread(measure)]
    axis = Axis(values, LABELS, WIDTH - VALUES)
    heights = [LINE * max(len(list(contenders(measure))), len(label_lines(label))) for label, measure in found]
    bottom = TOP + LEGEND + sum(heights) + GAP * len(heights)
    better = "less is better" if found[0][1]["better"] == LESS else "more is better"
    scale = "logarithmic scale" if axis.logarithmic else "linear scale"
    page = Drawing(WIDTH, bottom + FOOT, plot.title, describe(document, found))
    page.text(16, 28, plot.title, "title")
    page.text(WIDTH - 16, 28, f"{better}, {scale}", "quiet end")
    unit = found[0][1]["unit"]
    for tick in axis.ticks():
        page.line((axis.at(tick), TOP + LEGEND), (axis.at(tick), bottom), "grid")
        page.text(axis.at(tick), bottom + 18, number(tick, unit), "tick middle")
    legend(page, document, found)
    top = TOP + LEGEND + GAP / 2
    for (label, measure), height in zip(found, heights):
        group(page, axis, (label, measure), (top, height))
        top += height + GAP
    return page.finish()


def spread(measure: Mapping[str, Any]) -> Iterator[float]:
    """All numbers of a measure that are shown."""
    for name in contenders(measure):
        yield from (value for value in measure["results"][name] if value)
    if measure["target"] is not None:
        yield measure["target"]


def label_lines(label: str) -> list[str]:
    """A label in the room there is."""
    return textwrap.wrap(label, LABEL_LETTERS)


def legend(page: Drawing, document: Mapping[str, Any], found: list[tuple[str, Mapping[str, Any]]]) -> None:
    """Which form is whose."""
    there = {name for _, measure in found for name in contenders(measure)}
    x: float = LABELS
    for name in [*document["brokers"], RELAY]:
        if name in there:
            text = "the relay" if name == RELAY else title(document, name)
            page.mark(x, TOP + 4, name)
            page.text(x + 12, TOP + 8, text)
            x += 36 + 7.2 * len(text)
    if any(measure["target"] is not None for _, measure in found):
        page.line((x, TOP - 4), (x, TOP + 12), "target")
        page.text(x + 8, TOP + 8, "Leveret's target")


def group(page: Drawing, axis: Axis, entry: tuple[str, Mapping[str, Any]], room: tuple[float, float]) -> None:
    """The points of one measure under each other."""
    (label, measure), (top, height) = entry, room
    for at, line in enumerate(label_lines(label)):
        page.text(16, top + LINE * at + 14, line)
    if measure["target"] is not None:
        x = axis.at(measure["target"])
        page.line((x, top), (x, top + height), "target")
    for at, name in enumerate(contenders(measure)):
        y = top + LINE * at + LINE / 2
        there = [value for value in measure["results"][name] if value]
        right = axis.at(max(there))
        page.line((axis.at(min(there)), y), (right, y), f"range {name}")
        page.mark(axis.at(measure["medians"][name]), y, name)
        page.text(right + 12, y + 4, number(measure["medians"][name], measure["unit"]), "value")


def describe(document: Mapping[str, Any], found: list[tuple[str, Mapping[str, Any]]]) -> str:
    """The picture in words."""
    told = []
    for label, measure in found:
        each = (
            f"{'relay' if name == RELAY else title(document, name)} {number(measure['medians'][name], measure['unit'])}"
            for name in contenders(measure)
        )
        told.append(f"{label}: {', '.join(each)}.")
    return " ".join(told)
