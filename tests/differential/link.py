"""A connection to one broker that gives whole methods and messages, whatever order channels come in."""

from __future__ import annotations

import time
from dataclasses import dataclass

from wire import frames
from wire.client import Closed, Handshake, Peer, Silence, Stage

CONTENT = ("basic.deliver", "basic.get-ok", "basic.return")


@dataclass(frozen=True)
class Event:
    """A method from the broker, with its message if it carries one."""

    channel: int
    name: str
    args: dict[str, frames.Decoded]
    content: frames.Content | None = None


class Link:
    """A connection with what is half read of each channel."""

    def __init__(self, address: tuple[str, int], user: str, password: str) -> None:
        self.peer = Peer(address, Handshake(user=user, password=password))
        self.peer.advance(Stage.OPEN)
        self.open: set[int] = set()
        self.dead = False
        self.partial: dict[int, tuple[frames.Method, int, bytes, dict[str, frames.Decoded], bytes]] = {}

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.peer.send(data)

    def open_channel(self, number: int) -> None:
        """Open a channel if it is not open."""
        if number in self.open:
            return
        self.send(frames.method("channel.open", number))
        self.open.add(number)

    def next(self, timeout: float) -> Event | None:
        """The next event, None when nothing came in time. The end of the connection is an event too."""
        end = time.monotonic() + timeout
        while True:
            try:
                got = self.peer.frame(max(0.0005, end - time.monotonic()))
            except Silence:
                return None
            except Closed:
                self.dead = True
                return Event(0, "lost", {})
            event = self._assemble(got)
            if event is not None and event.name != "channel.open-ok":
                return self._answer(event)

    def close(self) -> None:
        """End the connection in order, as far as it will."""
        if not self.dead:
            self.send(frames.method("connection.close", 0, reply_code=200, reply_text="bye"))
            end = time.monotonic() + 5
            while time.monotonic() < end:
                event = self.next(5)
                if event is None or event.name in ("lost", "connection.close-ok"):
                    break
        self.dead = True
        self.peer.drop()

    def _answer(self, event: Event) -> Event:
        if event.name == "channel.close":
            self.send(frames.method("channel.close-ok", event.channel))
            self.open.discard(event.channel)
        elif event.name == "channel.close-ok":
            self.open.discard(event.channel)
        elif event.name == "connection.close":
            self.send(frames.method("connection.close-ok", 0))
            self.peer.drop()
            self.dead = True
        return event

    def _assemble(self, got: frames.Frame) -> Event | None:
        if got.kind == frames.METHOD:
            method = frames.decode_method(got)
            if method.name not in CONTENT:
                return Event(got.channel, method.name, method.args)
            self.partial[got.channel] = (method, -1, b"", {}, b"")
            return None
        method, size, raw, values, data = self.partial.pop(got.channel)
        if got.kind == frames.HEADER:
            size, raw, values = frames.decode_header(got.payload)
        else:
            data += got.payload
        if len(data) < size:
            self.partial[got.channel] = (method, size, raw, values, data)
            return None
        return Event(got.channel, method.name, method.args, frames.Content(raw, values, data))
