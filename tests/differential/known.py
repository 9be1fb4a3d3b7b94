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


def other_order(_: Operation, rabbitmq: Observation, leveret: Observation) -> bool:
    """The same deliveries to the same consumers, but to some consumers of a channel before others."""
    if not rabbitmq.quorum or rabbitmq.queues != leveret.queues or rabbitmq.confirms != leveret.confirms:
        return False
    return unordered(rabbitmq) == unordered(leveret)


def other_receivers(_: Operation, rabbitmq: Observation, leveret: Observation) -> bool:
    """The same messages come back, flagged, to the consumers in another way."""
    if rabbitmq.queues != leveret.queues or rabbitmq.confirms != leveret.confirms:
        return False
    again = [redelivered(seen) for seen in (rabbitmq, leveret)]
    tags = {part for seen in (rabbitmq, leveret) for part in re.findall(r"'consumer_tag', '(\w+)'", repr(seen.events))}
    return again[0] == again[1] and len(again[0]) > 1 and len(tags) > 1


def redelivered(seen: Observation) -> list[str]:
    """The bodies of redelivered messages."""
    deliveries = [e for events in seen.events.values() for e in events if e[0] == "basic.deliver"]
    return sorted(repr(event[3]) for event in deliveries if "('redelivered', True)" in repr(event[1]))


def unordered(seen: Observation) -> dict[str, list[str]]:
    """Events without delivery tags, in the order of their texts."""
    return {
        channel: sorted(re.sub(r"'delivery_tag', \d+", "", repr(event)) for event in events)
        for channel, events in seen.events.items()
    }


def letters_meet(_: Operation, rabbitmq: Observation, leveret: Observation) -> bool:
    """Letters that several full queues dropped, in another order or with others that got past them."""
    if rabbitmq.queues != leveret.queues or rabbitmq.confirms != leveret.confirms:
        return False
    pairs = [zip(events, leveret.events.get(channel, []), strict=False) for channel, events in rabbitmq.events.items()]
    different = [event for pair in pairs for both in pair if both[0] != both[1] for event in both]
    deaths = [death for event in different if len(event) > 2 for death in deaths_of(event)]
    dropped = {death["queue"] for death in deaths if death["reason"] == "maxlen"}
    return bool(different) and all(len(event) > 2 and deaths_of(event) for event in different) and len(dropped) > 1


def deaths_of(event: tuple[object, ...]) -> list[dict[str, object]]:
    """The deaths of a delivered message."""
    properties = event[2]
    assert isinstance(properties, dict)
    return properties.get("headers", {}).get("x-death", [])


KNOWN: tuple[Known, ...] = (
    Known(
        "quorum-delete-conditions",
        "RabbitMQ does not take if-unused and if-empty for quorum queues (540).",
        lambda _, rabbitmq, __: closed(540, "not supported by quorum queues")(rabbitmq),
    ),
    Known(
        "quorum-exclusive-consumer",
        "RabbitMQ 3.10 lets others consume beside an exclusive consumer of a quorum queue.",
        lambda operation, rabbitmq, leveret: operation.args.get("queue") in rabbitmq.quorum
        and not rabbitmq.closes()
        and closed(403, "in exclusive use")(leveret),
    ),
    Known(
        "quorum-delivery-order",
        "RabbitMQ hands out several messages of a quorum queue consumer by consumer, Leveret in the order of the queue.",
        other_order,
    ),
    Known(
        "requeue-by-consumer",
        "RabbitMQ puts back what several consumers of a channel had consumer by consumer, Leveret all of it at once.",
        other_receivers,
    ),
    Known(
        "letters-meet",
        "The queues of RabbitMQ drop at the same time, and their letters meet in any order; Leveret's go one after another.",
        letters_meet,
    ),
    Known(
        "bind-order",
        "RabbitMQ 4 looks at the lock of an exclusive queue before the arguments of a binding, 3.10 after them.",
        lambda _, rabbitmq, leveret: closed(406, "x-match")(rabbitmq) and closed(405, "locked queue")(leveret),
    ),
    Known(
        "refused-commit",
        "A commit that a queue refuses has no effect at all in Leveret; in RabbitMQ the other queues have their messages.",
        lambda operation, _, leveret: operation.method == "tx.commit" and closed(406, "partial tx")(leveret),
    ),
    Known(
        "unknown-exchange-type",
        "RabbitMQ 4 closes the channel (406), 3.10 the connection (503).",
        lambda _, rabbitmq, leveret: closed(503, "exchange type")(rabbitmq) and closed(406, "exchange type")(leveret),
    ),
)

# What is evened out before the comparison, see normalise.py.
NORMALISED = {
    "first-delivery-count": "RabbitMQ 3.10 has `x-delivery-count` 0 on the first delivery from a quorum queue.",
    "returns-counted": "RabbitMQ 3.10 counts all returns in `x-delivery-count`, 4.3 in `x-acquired-count`.",
    "last-death": "`x-last-death-*` is new in RabbitMQ 3.13.",
    "copies-kept": "RabbitMQ 4 keeps the CC header of a dead letter that gets another routing key.",
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
