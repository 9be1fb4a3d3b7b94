"""One sequence on both brokers, step by step, until they differ."""

from __future__ import annotations

import collections
import time
from dataclasses import dataclass

from .known import known
from .normalise import normalised
from .observation import Observation
from .operations import Operation
from .side import Side

PATIENCE = (0.02, 0.05, 0.1, 0.2, 0.4)
CLASSIC_QUIET = 0.001
QUORUM_QUIET = 0.015


@dataclass(frozen=True)
class Address:
    """Where a broker is and how to log in."""

    host: str
    port: int
    user: str
    password: str


@dataclass(frozen=True)
class Difference:
    """The first operation that the brokers answered differently, and how."""

    at: int
    operation: Operation
    rabbitmq: Observation
    leveret: Observation
    known: str


@dataclass(frozen=True)
class Pair:
    """The two brokers."""

    rabbitmq: Address
    leveret: Address

    def run(self, sequence: list[Operation], counts: collections.Counter[str] | None = None) -> Difference | None:
        """Run a sequence on both; None when nothing differs. Known differences that were evened out are counted."""
        counts = collections.Counter() if counts is None else counts
        quiet = QUORUM_QUIET if quorum_queues(sequence) else CLASSIC_QUIET
        sides = [side(address, quiet) for address in (self.rabbitmq, self.leveret)]
        for one in sides:
            one.quorum = quorum_queues(sequence)
        try:
            for at, operation in enumerate(sequence):
                found = step(sides, at, operation, counts)
                if found is not None:
                    return found
            return None
        finally:
            for one in sides:
                one.finish()

    def confirm(self, sequence: list[Operation], times: int) -> Difference | None:
        """Run a sequence several times; the difference, when it comes every time at the same place."""
        found = None
        for _ in range(times):
            again = self.run(sequence)
            if again is None or (found is not None and again.at != found.at):
                return None
            found = again
        return found


def quorum_queues(sequence: list[Operation]) -> frozenset[str]:
    """The queues that a sequence may declare as quorum queues."""
    declared = [operation for operation in sequence if operation.method == "queue.declare"]
    return frozenset(str(o.args["queue"]) for o in declared if "'quorum'" in str(o.args.get("arguments")))


def side(address: Address, quiet: float) -> Side:
    """A fresh set of connections to a broker."""
    return Side((address.host, address.port), address.user, address.password, quiet)


def step(sides: list[Side], at: int, operation: Operation, counts: collections.Counter[str]) -> Difference | None:
    """One operation on both; what is late gets time before it counts as a difference."""
    for one in sides:
        one.run(operation)
    time.sleep(operation.pause / 1000)
    for one in sides:
        one.settle()
    for pause in (*PATIENCE, None):
        seen = [one.observe() for one in sides]
        names = normalised(seen[0], seen[1])
        if seen[0] == seen[1]:
            counts.update(names)
            return None
        if pause is None:
            break
        time.sleep(pause)
        for one in sides:
            one.settle()
    return Difference(at, operation, seen[0], seen[1], known(operation, seen[0], seen[1]))
