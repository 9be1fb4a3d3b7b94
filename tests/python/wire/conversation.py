"""One run of a row: the target, the connections it uses and what must be taken away after it."""

from __future__ import annotations

import contextlib

from . import frames
from .broker_process import Target
from .client import Handshake, Peer, Stage


class Conversation:
    """Connections to one broker; ``peer`` is the one that a row's steps speak to."""

    def __init__(self, target: Target, options: Handshake) -> None:
        self.target = target
        self.options = options
        self.peers: list[Peer] = []
        self.peer = self.connect(Stage.RAW, options)

    def connect(self, stage: Stage = Stage.CHANNEL, options: Handshake | None = None) -> Peer:
        """Another connection, taken to this stage of the handshake."""
        peer = Peer(self.target.address, options or Handshake())
        self.peers.append(peer)
        peer.advance(stage)
        return peer

    def finish(self) -> None:
        """Every connection that still runs must close in order and have nothing unread."""
        for peer in self.peers:
            if peer.stage >= Stage.OPEN and not peer.ended and peer.sock.fileno() >= 0:
                peer.bye()

    def drop(self) -> None:
        """Close all sockets."""
        for peer in self.peers:
            peer.drop()


class Canary:
    """A connection that was there before the rows: nothing that a row sends may hurt it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.peer = Peer(target.address)
        self.peer.split = False
        self.peer.advance(Stage.CHANNEL)
        self.queue = self.peer.queue()

    def check(self) -> None:
        """The old connection and a new one both pass a message through a queue."""
        self.round_trip(self.peer, self.queue)
        fresh = Peer(self.target.address)
        fresh.split = False
        try:
            fresh.advance(Stage.CHANNEL)
            self.round_trip(fresh, fresh.queue())
            fresh.bye()
        finally:
            fresh.drop()

    @staticmethod
    def round_trip(peer: Peer, queue: str) -> None:
        """Publish and get one message."""
        peer.send(frames.publish(queue, b"canary", message_id="m"))
        got, content = peer.get(queue)
        assert (got.args["message_count"], content.body) == (0, b"canary")

    def remove(self, leaves: tuple[tuple[str, str], ...]) -> None:
        """Delete queues and exchanges that a row left behind: ("queue", name) or ("exchange", name)."""
        for kind, name in leaves:
            self.peer.send(frames.method(f"{kind}.delete", **{kind: name}))
            self.peer.expect(f"{kind}.delete-ok")

    def bye(self) -> None:
        """Close in order."""
        with contextlib.suppress(Exception):
            self.peer.bye()
        self.peer.drop()
