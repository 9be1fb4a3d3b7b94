"""What a row expects of the broker. An answer is called with the conversation and asserts.

The names follow the catalogue: ``X501`` is a connection.close with that code, ``C406`` a channel.close,
silent is a close without any frame after a fixed delay.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import frames
from .client import PATIENCE, Peer, Stage
from .frames import Ids, Method

if TYPE_CHECKING:
    from .conversation import Conversation

NO_IDS: Ids = (0, 0)

NAMES = {
    311: "CONTENT_TOO_LARGE",
    312: "NO_ROUTE",
    320: "CONNECTION_FORCED",
    402: "INVALID_PATH",
    403: "ACCESS_REFUSED",
    404: "NOT_FOUND",
    405: "RESOURCE_LOCKED",
    406: "PRECONDITION_FAILED",
    501: "FRAME_ERROR",
    502: "SYNTAX_ERROR",
    503: "COMMAND_INVALID",
    504: "CHANNEL_ERROR",
    505: "UNEXPECTED_FRAME",
    506: "RESOURCE_ERROR",
    530: "NOT_ALLOWED",
    540: "NOT_IMPLEMENTED",
    541: "INTERNAL_ERROR",
}


def check_close(got: Method, code: int, pattern: str, method: Ids | tuple[Ids, ...] | None) -> None:
    """A close method must have this code, a text that begins with its name and matches, and these ids."""
    assert got.args["reply_code"] == code, f"{code} was expected, not {got}"
    text = got.text("reply_text")
    assert text.startswith(NAMES[code]), f"the text should begin with {NAMES[code]}: {text!r}"
    assert re.search(pattern, text), f"the text should match {pattern!r}: {text!r}"
    if method is None:
        return
    allowed = method if isinstance(method[0], tuple) else (method,)
    ids = (got.number("class_id"), got.number("method_id"))
    assert ids in allowed, f"ids {allowed} were expected, not {ids}: {text!r}"


@dataclass(frozen=True)
class ConnectionClose:
    """connection.close on channel 0, then FIN; the client answers close-ok unless the server must not wait."""

    code: int
    text: str = ""
    ids: Ids | tuple[Ids, ...] | None = None
    wait: bool = True
    before: tuple[float, float] = (0.0, PATIENCE)

    def __call__(self, talk: Conversation) -> None:
        begin = time.monotonic()
        got = talk.peer.expect("connection.close", 0)
        took = time.monotonic() - begin
        check_close(got, self.code, self.text, self.ids)
        assert self.before[0] <= took <= self.before[1], f"the close came after {took:.2f} s"
        if self.wait:
            talk.peer.send(frames.method("connection.close-ok", 0))
        end_of_connection(talk, talk.peer)


def end_of_connection(talk: Conversation, peer: Peer) -> None:
    """No further frame, and the connection ends at once with FIN. RabbitMQ leaves the socket open for long."""
    if not talk.target.rabbitmq:
        peer.closed(2.5)
        assert peer.ended == "FIN", "the connection should end with FIN"
        return
    left = [got.describe() for got in peer.rest(0.2)]
    assert not left, f"frames after the end: {left}"
    peer.ended = peer.ended or "left open"


@dataclass(frozen=True)
class ChannelClose:
    """channel.close; the connection goes on and the channel can be opened again."""

    code: int
    text: str = ""
    ids: Ids | tuple[Ids, ...] | None = None
    on: int = 1
    reopen: bool = True

    def __call__(self, talk: Conversation) -> None:
        check_close(talk.peer.expect("channel.close", self.on), self.code, self.text, self.ids)
        if self.reopen:
            talk.peer.send(frames.method("channel.close-ok", self.on))
            talk.peer.open_channel(self.on)


def X(code: int, text: str = "", ids: str | Ids | tuple[Ids, ...] | None = None) -> ConnectionClose:  # noqa: N802
    """``X(501, "pattern", "queue.declare")``: the catalogue's X501."""
    return ConnectionClose(code, text, frames.ids(ids) if isinstance(ids, str) else ids)


def C(code: int, text: str = "", ids: str | Ids | None = None, on: int = 1) -> ChannelClose:  # noqa: N802
    """``C(406, "pattern", "basic.ack")``: the catalogue's C406."""
    return ChannelClose(code, text, frames.ids(ids) if isinstance(ids, str) else ids, on)


@dataclass(frozen=True)
class Silent:
    """No frame, and the connection ends after the fixed delay for silent closes."""

    def __call__(self, talk: Conversation) -> None:
        least, most = talk.target.silent
        took = talk.peer.closed(most)
        assert took >= least, f"closed after {took:.2f} s, which tells a guesser too much"
        assert talk.target.rabbitmq or talk.peer.ended == "FIN", "the connection should end with FIN"


@dataclass(frozen=True)
class OwnHeader:
    """The server's own protocol header and nothing else."""

    def __call__(self, talk: Conversation) -> None:
        assert talk.peer.read(8) == frames.PROTOCOL_HEADER
        talk.peer.closed(3.0)


@dataclass(frozen=True)
class Ends:
    """No frame, and the connection ends within these seconds."""

    least: float
    most: float

    def __call__(self, talk: Conversation) -> None:
        took = talk.peer.closed(self.most)
        assert took >= self.least, f"closed after {took:.2f} s already"


@dataclass(frozen=True)
class CutOff:
    """RabbitMQ only: its reader crashes, so the connection ends without a frame."""

    def __call__(self, talk: Conversation) -> None:
        talk.peer.closed(5.0)


@dataclass(frozen=True)
class Reply:
    """The next frame is this method, with these arguments among others."""

    name: str
    on: int = 1
    args: dict[str, object] = field(default_factory=dict)

    def __call__(self, talk: Conversation) -> None:
        talk.peer.expect(self.name, self.on, **self.args)


def reply(name: str, on: int = 1, **args: object) -> Reply:
    """A reply with some arguments."""
    return Reply(name, on, args)


@dataclass(frozen=True)
class Content:
    """The header and body that follow a deliver, get-ok or return."""

    body: bytes = b"hello"
    on: int = 1

    def __call__(self, talk: Conversation) -> None:
        got = talk.peer.content(self.on)
        assert got.body == self.body, f"body {got.body[:60]!r}"


@dataclass(frozen=True)
class Nothing:
    """No frame for a while, and the connection stays."""

    seconds: float = 0.4

    def __call__(self, talk: Conversation) -> None:
        talk.peer.nothing(self.seconds)


@dataclass(frozen=True)
class Works:
    """The channel still answers."""

    on: int = 1

    def __call__(self, talk: Conversation) -> None:
        talk.peer.send(frames.method("basic.qos", self.on))
        talk.peer.expect("basic.qos-ok", self.on)


@dataclass(frozen=True)
class Opens:
    """The handshake goes through from here and the connection works."""

    def __call__(self, talk: Conversation) -> None:
        talk.peer.send(frames.method("connection.open", 0, virtual_host="/"))
        talk.peer.expect("connection.open-ok", 0)
        talk.peer.open_channel()
        Works()(talk)
        talk.peer.stage = Stage.CHANNEL


@dataclass(frozen=True)
class Unchecked:
    """RabbitMQ is known or thought to answer differently here, and the row is not run against it."""

    why: str

    def __call__(self, talk: Conversation) -> None:
        raise NotImplementedError(self.why)
