"""Differences that leave both brokers in the same state: they are evened out, counted, and the sequence goes on."""

from __future__ import annotations

import re
from collections.abc import Callable

from .observation import Observation

CLOSES = ("channel.close", "connection.close")

# Close texts that say the same in other words: name, RabbitMQ 3.10's and Leveret's, for the same reply code.
TEXTS = (
    ("argument-texts", r"invalid arg '(x-[a-z-]+)' for queue '(.*?)' ", r"invalid arg '(x-[a-z-]+)' for queue '(.*?)' "),
    ("argument-texts", r"invalid arg 'x-queue-type' for queue .*\"unsupported queue type ()", r"unsupported queue type ()"),
    ("argument-order", r"in(?:equivalent|valid) arg '()", r"in(?:equivalent|valid) (?:arg|property|type) '()"),
    ("argument-order", r"invalid (?:arg|property|type) '()", r"invalid (?:arg|property|type) '()"),
)


def normalised(rabbitmq: Observation, leveret: Observation) -> set[str]:
    """Changes both so that what is known and harmless is equal; answers the names of what was found."""
    found = set()
    for name, change in (("first-delivery-count", without_zero), ("last-death", without_last_death)):
        if sum([change(properties) for seen in (rabbitmq, leveret) for properties in messages(seen)]):
            found.add(name)
    if "first-delivery-count" in found:
        for properties in messages(rabbitmq) + messages(leveret):
            if not properties.get("headers"):
                properties.pop("headers", None)
    if any([acquired_as_delivered(properties) for properties in messages(leveret)]):
        found.add("returns-counted")
    if without_copies(rabbitmq, leveret):
        found.add("copies-kept")
    found |= same_texts(rabbitmq, leveret)
    return found | consumers(rabbitmq, leveret)


def messages(seen: Observation) -> list[dict[str, object]]:
    """The properties of all messages in an observation."""
    return [event[2] for events in seen.events.values() for event in events if len(event) > 2]  # type: ignore[misc]


def headers_of(properties: dict[str, object]) -> dict[str, object]:
    """The headers of a message."""
    headers = properties.get("headers", {})
    assert isinstance(headers, dict)
    return headers


def without_zero(properties: dict[str, object]) -> bool:
    """RabbitMQ 3.10 counts the deliveries before the first one too."""
    headers = headers_of(properties)
    if headers.get("x-delivery-count") != 0:
        return False
    del headers["x-delivery-count"]
    return True


def acquired_as_delivered(properties: dict[str, object]) -> bool:
    """RabbitMQ 3.10 has one count, of all returns; RabbitMQ 4.3 and Leveret one of these, and one of failures."""
    headers = headers_of(properties)
    if "x-acquired-count" not in headers:
        return False
    headers["x-delivery-count"] = headers.pop("x-acquired-count")
    return True


def without_last_death(properties: dict[str, object]) -> bool:
    """RabbitMQ 4 and Leveret tell of the last death, RabbitMQ 3.10 of the first only."""
    headers = headers_of(properties)
    last = [key for key in headers if key.startswith("x-last-death-")]
    for key in last:
        del headers[key]
    return bool(last)


def without_copies(rabbitmq: Observation, leveret: Observation) -> bool:
    """RabbitMQ 3.10 takes CC out of a dead letter that gets another routing key."""
    found = False
    pairs = zip(messages(rabbitmq), messages(leveret), strict=False)
    for theirs, ours in ((headers_of(one), headers_of(other)) for one, other in pairs):
        if "x-death" in theirs and "CC" in ours and "CC" not in theirs:
            del ours["CC"]
            found = True
    return found


def same_texts(rabbitmq: Observation, leveret: Observation) -> set[str]:
    """Texts that mean the same."""
    found = set()
    for channel, events in leveret.events.items():
        others = rabbitmq.events.get(channel, [])
        for at, (event, other) in enumerate(zip(events, others, strict=False)):
            name = alike(event, other)
            if name:
                events[at] = other
                found.add(name)
    return found


def alike(event: tuple[object, ...], other: tuple[object, ...]) -> str:
    """The name under which the words of two closes are known to differ."""
    if event == other or event[0] not in CLOSES or other[0] != event[0]:
        return ""
    ours, theirs = dict(event[1]), dict(other[1])  # type: ignore[call-overload]
    if any(ours[key] != theirs[key] for key in ("reply_code", "class_id", "method_id")):
        return ""
    for name, pattern, own in TEXTS:
        first, second = re.search(pattern, theirs["reply_text"]), re.search(own, ours["reply_text"])
        if first and second and first.groups() == second.groups():
            return name
    return ""


def consumers(rabbitmq: Observation, leveret: Observation) -> set[str]:
    """RabbitMQ 3.10 counts the consumers of quorum queues in another way."""
    found = set()
    for queue, (ready, users) in rabbitmq.queues.items():
        own = leveret.queues.get(queue)
        if own is not None and own[0] == ready and own[1] != users and queue in rabbitmq.quorum:
            rabbitmq.queues[queue] = own
            found.add("get-as-consumer" if users > own[1] else "waiting-consumers")
    for channel, events in rabbitmq.events.items():
        for at, (event, other) in enumerate(zip(events, leveret.events.get(channel, []), strict=False)):
            if event[0] == other[0] == "queue.declare-ok" and event != other:
                theirs, ours = dict(event[1]), dict(other[1])  # type: ignore[call-overload]
                if theirs["queue"] in rabbitmq.quorum and {**theirs, "consumer_count": 0} == {**ours, "consumer_count": 0}:
                    events[at] = other
    return found
