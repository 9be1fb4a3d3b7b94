"""The document of a run: what was measured, with medians, ratios and whether the targets are met."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .rows import LESS, NEITHER, Measure

FORMAT = 1
"""The version of the document's form."""
LEVERET, RELAY = "leveret", "relay"


def median(values: Sequence[float | None]) -> float | None:
    """The median of those that there are."""
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None


def times_better(measure: Measure, ours: float | None, theirs: float | None) -> float | None:
    """How many times better the first is than the second."""
    upper, lower = (theirs, ours) if measure.better == LESS else (ours, theirs)
    return None if upper is None or not lower else upper / lower


def syncs(measure: Measure, rate: float | None, sync_us: float | None) -> float | None:
    """The time of as many as can wait for one sync, as a multiple of a sync."""
    if measure.per_sync is None or not rate or not sync_us:
        return None
    return measure.per_sync / rate / (sync_us / 1e6)


def is_met(measure: Measure, ours: float | None, multiple: float | None) -> bool | None:
    """Whether Leveret reaches its target and stays within its multiple of the relay; None if nothing is asked or known."""
    if measure.target is None or ours is None:
        return None
    reached = ours <= measure.target if measure.better == LESS else ours >= measure.target
    if measure.relay_limit is None:
        return reached
    return None if multiple is None else reached and multiple <= measure.relay_limit


def summary(measure: Measure, results: Mapping[str, Sequence[float | None]], sync_us: float | None) -> dict[str, Any]:
    """A measure with what each contender had in each round. Contenders are the brokers, and the relay."""
    medians = {name: median(values) for name, values in results.items()}
    ours, relay = medians.get(LEVERET), medians.get(RELAY)
    # What costs more than the relay is a multiple of it, so this is the relay's advantage.
    multiple = times_better(measure, relay, ours)
    others = {} if measure.better == NEITHER else {name: medians[name] for name in medians if name not in (LEVERET, RELAY)}
    return {
        "name": measure.name,
        "title": measure.title,
        "unit": measure.unit,
        "better": measure.better,
        "aside": measure.aside,
        "results": {name: list(values) for name, values in results.items()},
        "medians": medians,
        "ratios": {name: times_better(measure, ours, theirs) for name, theirs in others.items()},
        "relay_multiple": multiple,
        "relay_limit": measure.relay_limit,
        "sync_multiple": syncs(measure, ours, sync_us),
        "target": measure.target,
        "met": is_met(measure, ours, multiple),
    }


def write(document: Mapping[str, Any], path: Path) -> None:
    """Writes it so that there is always a whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.write_text(json.dumps(document, indent=1) + "\n")
    beside.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Reads one; ValueError if it is none."""
    document = json.loads(path.read_text())
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"{path} is no result of tests/bench-peers.sh, or of another version of it")
    return document
