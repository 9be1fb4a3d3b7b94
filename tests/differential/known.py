"""The differences that are there on purpose or by version. docs/compatibility.md lists them by the same names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .observation import Observation
from .operations import Operation

Judge = Callable[[Operation, Observation, Observation], bool]


@dataclass(frozen=True)
class Known:
    """A difference with its reason. ``holds`` gets the operation, RabbitMQ's and Leveret's observation."""

    name: str
    reason: str
    holds: Judge


def closed(code: int, pattern: str) -> Callable[[Observation], bool]:
    """Whether an observation has a close with this code and a text that matches."""
    expression = re.compile(pattern)
    return lambda seen: any(got == code and expression.search(text) for got, text in seen.closes())


KNOWN: tuple[Known, ...] = ()


def known(operation: Operation, rabbitmq: Observation, leveret: Observation) -> Known | None:
    """The known difference that this is, if it is one."""
    for entry in KNOWN:
        if entry.holds(operation, rabbitmq, leveret):
            return entry
    return None
