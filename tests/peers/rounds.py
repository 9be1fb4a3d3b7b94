"""All rounds of all rows, the brokers in turn."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import results
from .measure import Outcome, Pace, measure_broker, measure_relay, measure_sync
from .numbers import number
from .process import Broker, Failed
from .results import FORMAT, RELAY
from .rows import Row

Key = tuple[str, str, str]
"""A row, a measure and a contender by their names."""


class Contest:
    """The measurements so far."""

    def __init__(
        self,
        rows: Sequence[Row],
        kinds: Sequence[type[Broker]],
        pace: Pace,
        rounds: int,
        directory: Path,
        machine: Mapping[str, Any],
    ) -> None:
        self.rows, self.kinds, self.pace, self.rounds = rows, kinds, pace, rounds
        self.directory, self.machine = directory, machine
        self.values: defaultdict[Key, list[float | None]] = defaultdict(list)
        self.syncs: list[float] = []
        self.products: dict[str, str] = {}
        self.notes: list[dict[str, Any]] = []

    def run(self) -> Iterator[dict[str, Any]]:
        """Measures, and answers the document after each row of each round."""
        for round_ in range(self.rounds):
            self.syncs.append(measure_sync(self.pace, self.directory))
            # Another one begins in each round, so that what changes with time falls on all.
            first = round_ % len(self.kinds)
            order = [*self.kinds[first:], *self.kinds[:first]]
            for row in self.rows:
                if row.relay is not None:
                    self.take(round_, row, RELAY, None)
                for kind in order:
                    self.take(round_, row, kind.name, kind)
                yield self.document()

    def take(self, round_: int, row: Row, name: str, kind: type[Broker] | None) -> None:
        """One run; one that fails is noted and leaves a gap."""
        try:
            outcome = measure_relay(row, self.pace) if kind is None else measure_broker(row, kind, self.pace, self.directory)
        except (Failed, OSError) as failed:
            # The kernel does not know a process any more that has ended by itself.
            outcome = Outcome({}, (str(failed),))
        for note in outcome.notes:
            self.notes.append({"round": round_ + 1, "row": row.name, "broker": name, "text": note})
        if outcome.product:
            self.products[name] = outcome.product
        for measure in row.measures:
            if kind is not None or measure.relay is not None:
                self.values[row.name, measure.name, name].append(outcome.values.get(measure.name))
        main = row.measures[0]
        told = f"{number(outcome.values.get(main.name), main.unit)} {main.title}"
        print(f"{round_ + 1}/{self.rounds} {row.name:12} {name:9} {told}", *outcome.notes, sep="; ", file=sys.stderr)

    def measured(self) -> bool:
        """Whether there is any number."""
        return any(value is not None for values in self.values.values() for value in values)

    def document(self) -> dict[str, Any]:
        """What there is so far."""
        sync = results.median(self.syncs)
        return {
            "format": FORMAT,
            "machine": dict(self.machine),
            "settings": {
                "rounds": len(self.syncs),
                "seconds": self.pace.seconds,
                "warmup": self.pace.warmup,
                "smoke": self.pace.smoke,
            },
            "brokers": {
                kind.name: {"title": kind.title, "product": self.products.get(kind.name, "")} for kind in self.kinds
            },
            "sync": {"results_us": list(self.syncs), "median_us": sync},
            "rows": [self._row(row, sync) for row in self.rows],
            "notes": list(self.notes),
        }

    def _row(self, row: Row, sync: float | None) -> dict[str, Any]:
        """A row with its measures and their contenders."""
        contenders = [kind.name for kind in self.kinds] + ([RELAY] if row.relay is not None else [])
        measures = []
        for measure in row.measures:
            found = {name: self.values.get((row.name, measure.name, name)) for name in contenders}
            there = {name: values for name, values in found.items() if values is not None}
            measures.append(results.summary(measure, there, sync))
        return {"name": row.name, "title": row.title, "command": row.shown(), "measures": measures}
