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


def only(code: int, pattern: str) -> Judge:
    """RabbitMQ closes so and Leveret does not close."""
    judge = closed(code, pattern)
    return lambda _, rabbitmq, leveret: judge(rabbitmq) and not leveret.closes()


def matches_numbers(operation: Operation, _: Observation, __: Observation) -> bool:
    """A number in a header that equals the binding's in value only."""
    headers = operation.properties.get("headers")
    return isinstance(headers, dict) and "h" in headers


KNOWN: tuple[Known, ...] = (
    Known(
        "quorum-if-unused",
        "RabbitMQ does not take if-unused and if-empty for quorum queues (540).",
        only(540, "not supported by quorum queues"),
    ),
    Known(
        "exclusive-single-active",
        "RabbitMQ 4 refuses an exclusive consumer where there is a single active one (403); 3.10 for classic queues only.",
        lambda operation, rabbitmq, leveret: operation.method == "basic.consume"
        and bool(operation.args.get("exclusive"))
        and not rabbitmq.closes()
        and closed(403, "in exclusive use")(leveret),
    ),
)

# What is evened out before the comparison, see normalise.py.
NORMALISED = {
    "first-delivery-count": "RabbitMQ 3.10 has `x-delivery-count` 0 on the first delivery from a quorum queue.",
    "last-death": "`x-last-death-*` is new in RabbitMQ 3.13.",
    "argument-texts": "What is wrong with an argument is told in RabbitMQ 4's words.",
    "argument-order": "Of several arguments that are wrong another one is named.",
    "waiting-consumers": "RabbitMQ 3.10 does not count those that wait in a quorum queue with a single active consumer.",
    "get-as-consumer": "RabbitMQ 3.10 counts an unsettled basic.get of a quorum queue as a consumer.",
}


def known(operation: Operation, rabbitmq: Observation, leveret: Observation) -> str:
    """The name of the known difference that this is, empty if it is none."""
    for entry in KNOWN:
        if entry.holds(operation, rabbitmq, leveret):
            return entry.name
    return ""
