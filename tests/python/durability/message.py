"""Messages whose every byte follows from their number, so that a delivery proves itself."""

import random

from wire import frames

LARGEST = 1024 * 1024
_NOISE = random.Random(1).randbytes(LARGEST + 4096)


def body(uid, size):
    """The body of message `uid`."""
    start = uid * 31 % 4096
    return b"%016x" % uid + _NOISE[start : start + size - 16] if size >= 16 else _NOISE[start : start + size]


def properties(uid, mode=2):
    """The properties of message `uid`. The number is in the message id, since a body may be empty."""
    values = {"delivery_mode": mode, "message_id": str(uid)}
    if uid % 3 == 0:
        values["headers"] = {"n": uid, "text": "ö" * (uid % 40), "inner": {"list": [1, "two", None, 3.0]}}
    if uid % 5 == 0:
        values |= {"content_type": "text/plain", "timestamp": uid, "priority": uid % 10, "app_id": "a" * (uid % 200)}
    return values


def publish(exchange, key, uid, size, mandatory=False, mode=2):
    """The frames of a publish."""
    data = body(uid, size)
    head = frames.method("basic.publish", exchange=exchange, routing_key=key, mandatory=mandatory)
    head += frames.header(size, 1, **properties(uid, mode))
    step = 128 * 1024 - 8
    return head + b"".join(frames.body(data[at : at + step]) for at in range(0, size, step))


def any_size(rng):
    """Mostly small, sometimes nothing, sometimes all that fits."""
    kind = rng.random()
    if kind < 0.05:
        return 0
    if kind < 0.65:
        return rng.randrange(1, 300)
    if kind < 0.92:
        return rng.randrange(300, 8_000)
    if kind < 0.985:
        return rng.randrange(8_000, 80_000)
    return rng.randrange(80_000, LARGEST + 1)


def number_of(content):
    """Which message the content says it is."""
    return int(content.properties["message_id"])


def is_intact(content, uid, size):
    """Whether body and properties are, byte for byte, those that were published."""
    return content.raw == frames.properties(properties(uid)) and content.body == body(uid, size)
