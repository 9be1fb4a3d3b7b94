"""The differences that are there on purpose or by version. docs/compatibility.md lists them by the same names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

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
    """Letters of one time in another order, or that went through several queues with others that got past them."""
    if rabbitmq.queues != leveret.queues or rabbitmq.confirms != leveret.confirms:
        return False
    different = list(differing(rabbitmq, leveret))
    deaths = [death for event in different for death in deaths_of(event)]
    automatic = {death["queue"] for death in deaths if death["reason"] in ("maxlen", "expired")}
    theirs, ours = (sorted(event[3] for event in messages_in(seen)) for seen in (rabbitmq, leveret))  # type: ignore[type-var]
    return bool(different) and all(deaths_of(event) for event in different) and (len(automatic) > 1 or theirs == ours)


def differing(rabbitmq: Observation, leveret: Observation) -> Iterator[tuple[object, ...]]:
    """The events that are not in the same place in both."""
    for channel in rabbitmq.events.keys() | leveret.events.keys():
        for both in zip_longest(rabbitmq.events.get(channel, []), leveret.events.get(channel, [])):
            if both[0] != both[1]:
                yield from (event for event in both if event is not None)


def returned_too_often(operation: Operation, rabbitmq: Observation, leveret: Observation) -> bool:
    """Only Leveret has again, in a quorum queue, what came back; or only in RabbitMQ it died of that."""
    fewer = {queue for queue, (ready, _) in rabbitmq.queues.items() if ready < leveret.queues.get(queue, (0, 0))[0]}
    settles = operation.method.startswith(("basic.nack", "basic.reject", "basic.recover", "channel.close"))
    if fewer and not list(differing(rabbitmq, leveret)):
        return settles and fewer <= rabbitmq.quorum
    if not rabbitmq.quorum:
        return False
    theirs, ours = (messages_in(seen) for seen in (rabbitmq, leveret))
    again = [event for event in ours if event[3] not in {event[3] for event in theirs}]
    died = [event for event in theirs if any(death["reason"] == "delivery_limit" for death in deaths_of(event))]
    again += [event for event in ours if event[3] in {event[3] for event in died}]
    return bool(again or died) and all("x-delivery-count" in headers(event) for event in again)


def expired_behind(operation: Operation, rabbitmq: Observation, leveret: Observation) -> bool:
    """The same message from a quorum queue, in which RabbitMQ counts one more that is over its time."""
    if operation.method != "basic.get" or operation.args.get("queue") not in rabbitmq.quorum:
        return False
    both = list(differing(rabbitmq, leveret))
    counts = [dict(event[1]).pop("message_count", 0) for event in both]  # type: ignore[call-overload]
    return len(both) == 2 and both[0][0] == both[1][0] == "basic.get-ok" and both[0][2:] == both[1][2:] and counts[0] > counts[1]


def front_by_priority(operation: Operation, rabbitmq: Observation, leveret: Observation) -> bool:
    """A message with priority and lifetime is still there in RabbitMQ, in a queue that had others."""
    if not operation.properties.get("expiration") or not operation.properties.get("priority"):
        return False
    both = [(ready, leveret.queues.get(queue, (0, 0))[0]) for queue, (ready, _) in rabbitmq.queues.items()]
    return any(theirs > ours > 0 for theirs, ours in both) and all(deaths_of(event) for event in differing(rabbitmq, leveret))


def messages_in(seen: Observation) -> list[tuple[object, ...]]:
    """The events with a message."""
    return [event for events in seen.events.values() for event in events if len(event) > 3]


def headers(event: tuple[object, ...]) -> dict[str, object]:
    """The headers of the message of an event, empty if it has none."""
    properties = event[2] if len(event) > 2 else {}
    assert isinstance(properties, dict)
    found = properties.get("headers", {})
    assert isinstance(found, dict)
    return found


def deaths_of(event: tuple[object, ...]) -> list[dict[str, object]]:
    """The deaths of the message of an event."""
    deaths = headers(event).get("x-death", [])
    assert isinstance(deaths, list)
    return deaths


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
        "The queues of RabbitMQ drop at the same time, and their letters meet in any order; Leveret's go one after another."
        " RabbitMQ 3.10 has their deaths in another order.",
        letters_meet,
    ),
    Known(
        "returned-too-often",
        "RabbitMQ 3.10 counts every return against the delivery limit, 4.3 failures only.",
        returned_too_often,
    ),
    Known(
        "front-by-priority",
        "RabbitMQ does not look at the time of a message that gets before others by its priority until something else happens.",
        front_by_priority,
    ),
    Known(
        "expired-behind",
        "RabbitMQ 3.10 counts what is over its time behind the message that was got from a quorum queue.",
        expired_behind,
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
