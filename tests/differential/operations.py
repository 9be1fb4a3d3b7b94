"""One operation of a sequence, as data and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wire import frames


@dataclass(frozen=True)
class Typed:
    """A field value of exactly this AMQP type."""

    tag: str
    value: float

    def __repr__(self) -> str:
        return f"{self.value}:{self.tag}"


def encode(value: object) -> frames.Value:
    """A value as the encoder takes it."""
    if isinstance(value, Typed):
        return frames.tagged(value.tag, value.value)
    if isinstance(value, Mapping):
        return {key: encode(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [encode(inner) for inner in value]
    return value  # type: ignore[return-value]


@dataclass(frozen=True)
class Operation:
    """A method on a channel. Channels are called by connection and number: A1, A2, B1, B2.

    ``tag`` is an acknowledgement's tag: an int as it is, or "first", "last", "middle" of the channel's outstanding
    ones. ``pause`` are milliseconds to wait before anyone looks at the queues.
    """

    channel: str
    method: str
    args: dict[str, object] = field(default_factory=dict)
    properties: dict[str, object] = field(default_factory=dict)
    body: bytes = b""
    tag: int | str | None = None
    pause: int = 0

    def encoded(self, number: int, tag: int | None) -> bytes:
        """The frames to send."""
        values = {key: encode(value) for key, value in self.args.items()}
        if tag is not None:
            values["delivery_tag"] = tag
        start = frames.method(self.method, number, **values)  # type: ignore[arg-type]
        if self.method != "basic.publish":
            return start
        properties = {key: encode(value) for key, value in self.properties.items()}
        head = frames.header(len(self.body), number, **properties)  # type: ignore[arg-type]
        return start + head + (frames.body(self.body, number) if self.body else b"")

    def text(self) -> str:
        """The operation in one line."""
        if self.method == "wait":
            return f"wait {self.pause} ms"
        words = [self.channel, self.method]
        if self.tag is not None:
            words.append(f"tag={self.tag}")
        for key, value in self.args.items():
            if value is True:
                words.append(key)
            elif value is not False and value != {}:
                words.append(f"{key}={value!r}")
        words += [f"{key}={value!r}" for key, value in self.properties.items()]
        if self.method == "basic.publish":
            words.append(f"body={self.body!r}" if len(self.body) < 40 else f"body of {len(self.body)} bytes")
        if self.pause:
            words.append(f"then wait {self.pause} ms")
        return " ".join(words)
