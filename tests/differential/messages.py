"""Random messages."""

from __future__ import annotations

from random import Random

from .arguments import LONG_TTL, PAUSE, SHORT_TTL, Profile
from .operations import Operation, Typed

BAD_EXPIRATIONS = ("", "abc", "-1", "1.5", " 1", "+5000000", "99999999999999")
BAD_COPIES = ("key", 5, [5], ["a", 5], {"a": 1}, [])


def publish(
    random: Random,
    about: Profile,
    channel: str,
    exchange: str,
    key: str,
    queues: list[str],
    number: int,
) -> Operation:
    """A message with properties by what the sequence is about. Its body tells which one it is."""
    properties: dict[str, object] = {}
    headers: dict[str, object] = {}
    if random.random() < 0.4:
        properties["delivery_mode"] = random.choice([1, 2, 2])
    # Not in quorum queues: those of RabbitMQ before 4.3 know two priorities.
    if not about.has("quorum") and random.random() < (0.7 if about.has("priority") else 0.05):
        properties["priority"] = random.choice([0, 1, 2, 5, 9, 200])
    if random.random() < 0.2:
        properties |= {"message_id": f"id{number}", "timestamp": 1, "type": "t"}
    if random.random() < (0.3 if about.has("ttl") else 0.02):
        properties["expiration"] = random.choice(["0", str(SHORT_TTL)]) if about.short else str(LONG_TTL)
    if about.has("headers") and random.random() < 0.7:
        headers["h"] = random.choice([1, "1", True, Typed("l", 1), Typed("b", 1), None, 2.5])
        if random.random() < 0.4:
            headers["x-h"] = "x"
    if about.has("headers") and random.random() < 0.3:
        headers[random.choice(["CC", "BCC"])] = random.sample([*queues, "a", "b"], random.randint(0, 2))
    if about.has("errors") and random.random() < 0.1:
        _spoil(random, properties, headers)
    if headers or random.random() < 0.05:
        properties["headers"] = headers
    values = {"exchange": exchange, "routing_key": key, "mandatory": random.random() < 0.25}
    body = f"m{number}".encode() + b"." * random.choice([0, 0, 0, 3, 10])
    return Operation(channel, "basic.publish", values, properties, body, pause=PAUSE if about.short else 0)


def _spoil(random: Random, properties: dict[str, object], headers: dict[str, object]) -> None:
    """One thing that a broker may refuse."""
    match random.randint(0, 2):
        case 0:
            properties["expiration"] = random.choice(BAD_EXPIRATIONS)
        case 1:
            headers[random.choice(["CC", "BCC"])] = random.choice(BAD_COPIES)
        case _:
            properties["user_id"] = random.choice(["guest", "another", ""])
