"""A raw AMQP client: it sends what a row says and reads frames with a deadline."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

from . import frames
from .frames import Argument, Content, Frame, Method

PATIENCE = 10.0
"""Seconds to wait for something that must come; long, since the machine may be busy."""

SPLIT = os.environ.get("WIRE_SPLIT") == "1"
"""Send every row's bytes one by one, each in a segment of its own."""

SPLIT_AT_MOST = 32 * 1024
"""Longer sends are split only up to here."""


class Stage(IntEnum):
    """How far the handshake has gone before a row's first step."""

    RAW = 0
    STARTED = 1  # header sent, connection.start received
    AUTHENTICATED = 2  # start-ok sent, tune received
    TUNED = 3  # tune-ok sent
    OPEN = 4  # open sent, open-ok received
    CHANNEL = 5  # and channel 1 is open


CAPABILITIES = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "publisher_confirms": True,
    "exchange_exchange_bindings": True,
}


def plain(user: str = "guest", password: str = "guest") -> bytes:
    """A PLAIN response."""
    return f"\0{user}\0{password}".encode()


@dataclass(frozen=True)
class Handshake:
    """What a client says during the handshake; None takes what the server offers."""

    user: str = "guest"
    password: str = "guest"
    capabilities: dict[str, bool] = field(default_factory=lambda: dict(CAPABILITIES))
    channel_max: int | None = None
    frame_max: int | None = None
    heartbeat: int = 0
    vhost: str = "/"
    split: bool = False

    def start_ok(self, **changes: Argument) -> bytes:
        """The start-ok frame; ``changes`` replace single arguments."""
        values: dict[str, Argument] = {
            "client_properties": {"product": "wire catalogue", "capabilities": self.capabilities},
            "mechanism": "PLAIN",
            "response": plain(self.user, self.password),
            "locale": "en_US",
        }
        return frames.method("connection.start-ok", 0, **(values | changes))


class Closed(Exception):
    """The server ended the connection."""

    def __init__(self, how: Literal["FIN", "RST"]) -> None:
        super().__init__(f"closed with {how}")
        self.how = how


class Silence(Exception):
    """Nothing came before the deadline."""


class Peer:
    """One connection to the broker."""

    def __init__(self, address: tuple[str, int], options: Handshake | None = None) -> None:
        self.options = options or Handshake()
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.stage = Stage.RAW
        self.ended: str = ""
        self.start: Method | None = None
        self.tune: Method | None = None
        self.split = SPLIT or self.options.split

    # ------------------------------------------------------------------------------------------ bytes

    def send(self, data: bytes) -> None:
        """Send bytes. A connection that the server has closed shows when reading, not here."""
        with contextlib.suppress(ConnectionError):
            if not self.split:
                self.sock.sendall(data)
                return
            for byte in data[:SPLIT_AT_MOST]:
                self.sock.sendall(bytes([byte]))
            self.sock.sendall(data[SPLIT_AT_MOST:])

    def fill(self, count: int, deadline: float) -> None:
        """Read until the buffer has at least ``count`` bytes."""
        while len(self.buffer) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Silence(f"{len(self.buffer)} of {count} bytes came: {self.buffer[:80]!r}")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                continue
            except ConnectionError:
                self.ended = "RST"
                raise Closed("RST") from None
            if not data:
                self.ended = "FIN"
                raise Closed("FIN")
            self.buffer += data

    def read(self, count: int, timeout: float = PATIENCE) -> bytes:
        """Exactly this many bytes."""
        self.fill(count, time.monotonic() + timeout)
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def frame(self, timeout: float = PATIENCE, *, heartbeats: bool = False) -> Frame:
        """The next frame; heartbeats are skipped unless asked for."""
        deadline = time.monotonic() + timeout
        while True:
            self.fill(7, deadline)
            kind, channel, size = struct.unpack(">BHI", self.buffer[:7])
            assert kind in (1, 2, 3, 8), f"not a frame: {self.buffer[:80]!r}"
            self.fill(size + 8, deadline)
            assert self.buffer[size + 7] == frames.FRAME_END, "the server sent a wrong frame end"
            payload, self.buffer = self.buffer[7 : size + 7], self.buffer[size + 8 :]
            if heartbeats or kind != frames.HEARTBEAT_TYPE:
                return Frame(kind, channel, payload)

    def method(self, timeout: float = PATIENCE) -> Method:
        """The next frame, which must be a method."""
        got = self.frame(timeout)
        assert got.kind == frames.METHOD, f"a method was expected, not {got.describe()}"
        return frames.decode_method(got)

    def expect(self, name: str, on: int = 1, /, **args: object) -> Method:
        """The next frame must be this method, with these arguments among others."""
        try:
            got = self.method()
        except (Closed, Silence) as error:
            raise AssertionError(f"{name} was expected: {error}") from error
        assert (got.name, got.channel) == (name, on), f"{name} on channel {on} was expected, not {got}"
        wrong = {key: got.args[key] for key, value in args.items() if got.args[key] != value}
        assert not wrong, f"{name} with {args} was expected, not {wrong}"
        return got

    def content(self, on: int = 1, timeout: float = PATIENCE) -> Content:
        """The header and body that follow a deliver, get-ok or return."""
        head = self.frame(timeout)
        assert (head.kind, head.channel) == (frames.HEADER, on), f"not a header: {head.describe()}"
        size, raw, values = frames.decode_header(head.payload)
        data = b""
        while len(data) < size:
            part = self.frame(timeout)
            assert (part.kind, part.channel) == (frames.BODY, on), f"not a body: {part.describe()}"
            data += part.payload
        assert len(data) == size, "the body is longer than announced"
        return Content(raw, values, data)

    def nothing(self, seconds: float) -> None:
        """No frame may come and the connection must stay."""
        try:
            got = self.frame(seconds)
        except Silence:
            return
        except Closed as error:
            raise AssertionError(f"the connection was {error}") from error
        raise AssertionError(f"nothing was expected, not {got.describe()}")

    def rest(self, seconds: float) -> list[Frame]:
        """All frames until nothing comes for this long or the connection ends."""
        got = []
        with contextlib.suppress(Silence, Closed):
            while True:
                got.append(self.frame(seconds))
        return got

    def closed(self, timeout: float) -> float:
        """The server must close without another frame; returns the seconds it took."""
        begin = time.monotonic()
        try:
            got = self.frame(timeout)
        except Closed:
            return time.monotonic() - begin
        except Silence as error:
            raise AssertionError(f"still open after {timeout:.1f} s: {error}") from error
        raise AssertionError(f"the connection should be closed, not {got.describe()}")

    def drop(self) -> None:
        """Close the socket, whatever state it is in."""
        self.sock.close()

    # -------------------------------------------------------------------------------------- handshake

    def advance(self, stage: Stage) -> None:
        """Take the handshake on to this stage."""
        steps = [self._begin, self._authenticate, self._agree, self._open, self.open_channel]
        while self.stage < stage:
            steps[self.stage]()
            self.stage = Stage(self.stage + 1)

    def _begin(self) -> None:
        self.send(frames.PROTOCOL_HEADER)
        self.start = self.expect("connection.start", 0)

    def _authenticate(self) -> None:
        self.send(self.options.start_ok())
        self.tune = self.expect("connection.tune", 0)

    def tune_ok(self, **changes: int | None) -> bytes:
        """The tune-ok frame by the options; ``changes`` replace single values."""
        assert self.tune is not None
        values: dict[str, Argument] = {
            "channel_max": self.tune.number("channel_max"),
            "frame_max": self.tune.number("frame_max"),
        }
        given = {
            "channel_max": self.options.channel_max,
            "frame_max": self.options.frame_max,
            "heartbeat": self.options.heartbeat,
        }
        for key, value in (given | changes).items():
            if value is not None:
                values[key] = value
        return frames.method("connection.tune-ok", 0, **values)

    def _agree(self) -> None:
        self.send(self.tune_ok())

    def _open(self) -> None:
        self.send(frames.method("connection.open", 0, virtual_host=self.options.vhost))
        self.expect("connection.open-ok", 0)

    def open_channel(self, number: int = 1) -> None:
        """Open a channel."""
        self.send(frames.method("channel.open", number))
        self.expect("channel.open-ok", number)

    def call(self, name: str, on: int = 1, /, **args: Argument) -> Method:
        """Send a method and return its answer, which must be its -ok."""
        self.send(frames.method(name, on, **args))
        return self.expect(name + "-ok", on)

    def queue(self, name: str = "", **args: Argument) -> str:
        """Declare a queue, exclusive unless said otherwise; returns its name."""
        values: dict[str, Argument] = {"queue": name, "exclusive": True}
        return self.call("queue.declare", **(values | args)).text("queue")

    def get(self, queue: str, *, no_ack: bool = True, on: int = 1) -> tuple[Method, Content]:
        """Get a message that must be there."""
        self.send(frames.method("basic.get", on, queue=queue, no_ack=no_ack))
        return self.expect("basic.get-ok", on), self.content(on)

    def get_nothing(self, queue: str) -> None:
        """The queue must be empty."""
        self.send(frames.method("basic.get", queue=queue, no_ack=True))
        self.expect("basic.get-empty")

    def ready(self, queue: str) -> int:
        """How many messages are ready, by a passive declare."""
        self.send(frames.method("queue.declare", queue=queue, passive=True))
        return self.expect("queue.declare-ok").number("message_count")

    def bye(self) -> None:
        """Close in order; any frame that was not read yet is an error. W48 judges the end of the socket."""
        self.send(frames.method("connection.close", 0, reply_code=200, reply_text="bye"))
        self.expect("connection.close-ok", 0)
        self.ended = "us"
        self.drop()
