"""One sequence on both brokers, step by step, until they differ."""

from __future__ import annotations

import time
from dataclasses import dataclass

from .known import Known, known
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
    known: Known | None


@dataclass(frozen=True)
class Pair:
    """The two brokers."""

    rabbitmq: Address
    leveret: Address

    def run(self, sequence: list[Operation]) -> Difference | None:
        """Run a sequence on both; None when nothing differs."""
        quorum = any("quorum" in str(operation.args.get("arguments", "")) for operation in sequence)
        quiet = QUORUM_QUIET if quorum else CLASSIC_QUIET
        sides = [side(address, quiet) for address in (self.rabbitmq, self.leveret)]
        try:
            for at, operation in enumerate(sequence):
                found = step(sides, at, operation)
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


def side(address: Address, quiet: float) -> Side:
    """A fresh set of connections to a broker."""
    return Side((address.host, address.port), address.user, address.password, quiet)


def step(sides: list[Side], at: int, operation: Operation) -> Difference | None:
    """One operation on both; what is late gets time before it counts as a difference."""
    for one in sides:
        one.run(operation)
    for pause in (*PATIENCE, None):
        seen = [one.observe() for one in sides]
        if seen[0] == seen[1]:
            return None
        if pause is None:
            break
        time.sleep(pause)
        for one in sides:
            one.settle()
    return Difference(at, operation, seen[0], seen[1], known(operation, seen[0], seen[1]))
