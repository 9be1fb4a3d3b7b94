"""One broker during a sequence: runs operations and says what came of each."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from wire import frames

from .link import Event, Link
from .observation import Observation, observation
from .operations import Operation

PATIENCE = 10.0
CONFIRM_SECONDS = 2.0
FIRST_POLL = 100
WITHOUT_REPLY = ("basic.publish", "basic.ack", "basic.nack", "basic.reject", "basic.recover-async")
OTHER_REPLIES = {"basic.get": ("basic.get-ok", "basic.get-empty")}


@dataclass
class Channel:
    """What the client of a channel knows."""

    outstanding: list[int] = field(default_factory=list)
    in_transaction: list[int] = field(default_factory=list)
    without_ack: dict[str, bool] = field(default_factory=dict)
    confirming: bool = False
    transactional: bool = False
    published: int = 0
    unconfirmed: set[int] = field(default_factory=set)

    def tag(self, which: int | str | None) -> int | None:
        """The delivery tag that an operation means; None when there is none."""
        if isinstance(which, int):
            return which
        if not self.outstanding:
            return None
        places = {"first": 0, "last": -1, "middle": len(self.outstanding) // 2}
        return self.outstanding[places[str(which)]]

    def settle(self, tag: int, multiple: bool) -> None:
        """Note that tags were acknowledged or rejected."""
        gone = [t for t in self.outstanding if t == tag or (multiple and (t < tag or tag == 0))]
        self.outstanding = [t for t in self.outstanding if t not in gone]
        if self.transactional:
            self.in_transaction += gone

    def sent(self, operation: Operation, tag: int | None) -> None:
        """Note what an operation without reply does."""
        if operation.method == "basic.publish" and self.confirming:
            self.published += 1
            self.unconfirmed.add(self.published)
        elif tag is not None:
            self.settle(tag, bool(operation.args.get("multiple")))
        elif operation.method.startswith("basic.recover") and operation.args["requeue"]:
            self.outstanding = []
        elif operation.method == "basic.consume":
            self.without_ack[str(operation.args["consumer_tag"])] = bool(operation.args.get("no_ack"))

    def confirmed(self, tag: int, multiple: bool) -> list[int]:
        """The sequence numbers that a confirm means."""
        if not multiple:
            self.unconfirmed.discard(tag)
            return [tag]
        gone = sorted(s for s in self.unconfirmed if s <= tag or tag == 0)
        self.unconfirmed -= set(gone)
        return gone


class Side:
    """The connections of one sequence to one broker."""

    def __init__(self, address: tuple[str, int], user: str, password: str, quiet: float) -> None:
        self.address, self.user, self.password, self.quiet = address, user, password, quiet
        self.links: dict[str, Link] = {"C": self._connect()}
        self.channels: dict[str, Channel] = {}
        self.queues: dict[str, str] = {}
        self.poll_numbers: dict[str, int] = {}
        self.made: set[tuple[str, str]] = set()
        self.events: list[tuple[str, Event]] = []
        self.confirms: dict[str, set[tuple[int, str]]] = {}
        self.counts: dict[str, tuple[int, int]] = {}
        self.aliases: dict[str, str] = {}
        self.skipped = False
        self.quorum: frozenset[str] = frozenset()

    def _connect(self) -> Link:
        return Link(self.address, self.user, self.password)

    # ---------------------------------------------------------------------------------------- operations

    def run(self, operation: Operation) -> None:
        """Run one operation, up to its reply."""
        self.events, self.confirms, self.skipped = [], {}, False
        if operation.method != "wait":
            self._send(operation)

    def observe(self) -> Observation:
        """What came of the operation that was run last."""
        return observation(self.events, self.confirms, self.counts, self.aliases, self.skipped, self.quorum)

    def _link(self, name: str) -> Link:
        link = self.links.get(name)
        if link is None or link.dead:
            link = self.links[name] = self._connect()
        return link

    def _send(self, operation: Operation) -> None:
        name, number = operation.channel[0], int(operation.channel[1])
        link = self._link(name)
        link.open_channel(number)
        channel = self.channels.setdefault(operation.channel, Channel())
        tag = channel.tag(operation.tag) if operation.tag is not None else None
        if operation.tag is not None and tag is None:
            self.skipped = True
            return
        if operation.method in ("queue.declare", "exchange.declare") and not operation.args.get("passive"):
            kind = operation.method.partition(".")[0]
            self.made.add((kind, str(operation.args[kind])))
        link.send(operation.encoded(number, tag))
        channel.sent(operation, tag)
        if operation.method in WITHOUT_REPLY or operation.args.get("no_wait"):
            self._sync(name, number)
            return
        wanted = OTHER_REPLIES.get(operation.method, (operation.method + "-ok",))
        event = self._until(name, number, wanted)
        if event is not None:
            self._replied(operation, channel, event)

    def _sync(self, name: str, number: int) -> None:
        self.links[name].send(frames.method("channel.flow", number, active=True))
        self._until(name, number, ("channel.flow-ok",))

    def _until(self, name: str, number: int, wanted: tuple[str, ...]) -> Event | None:
        """Take events until one of these comes on the channel, or the channel ends."""
        link = self.links[name]
        while True:
            event = link.next(PATIENCE)
            if event is None:
                self.events.append((f"{name}{number}", Event(number, "silence", {"wanted": wanted[0]})))
                link.dead = True
                link.peer.drop()
                self._lost(name)
                return None
            self._take(name, event)
            if event.channel == number and event.name in wanted:
                return event
            if link.dead or number not in link.open:
                return None

    # -------------------------------------------------------------------------------------------- events

    def _take(self, name: str, event: Event) -> None:
        if event.name == "channel.flow-ok" or (event.channel >= FIRST_POLL):
            return
        label = f"{name}{event.channel}"
        channel = self.channels.setdefault(label, Channel())
        match event.name:
            case "basic.ack" | "basic.nack":
                seqs = channel.confirmed(int(event.args["delivery_tag"]), bool(event.args["multiple"]))  # type: ignore[arg-type]
                self.confirms.setdefault(label, set()).update((seq, event.name) for seq in seqs)
                return
            case "channel.close" | "channel.close-ok":
                del self.channels[label]
            case "connection.close" | "lost":
                self._lost(name)
            case "basic.deliver":
                if not channel.without_ack.get(str(event.args["consumer_tag"])):
                    channel.outstanding.append(int(event.args["delivery_tag"]))  # type: ignore[arg-type]
        self.events.append((label, event))

    def _lost(self, name: str) -> None:
        """A connection is gone, with its channels and exclusive queues."""
        for label in [label for label in self.channels if label[0] == name]:
            del self.channels[label]
        for queue in [queue for queue, owner in self.queues.items() if owner == name]:
            self.queues[queue] = "C"

    def _replied(self, operation: Operation, channel: Channel, event: Event) -> None:
        match event.name:
            case "queue.declare-ok":
                queue = str(event.args["queue"])
                if operation.args.get("queue") == "" and queue.startswith("amq."):
                    self.aliases.setdefault(queue, f"generated-{len(self.aliases)}")
                    self.made.add(("queue", queue))
                owner = operation.channel[0] if operation.args.get("exclusive") else "C"
                self.queues.setdefault(queue, owner)
            case "basic.get-ok":
                if not operation.args.get("no_ack"):
                    channel.outstanding.append(int(event.args["delivery_tag"]))  # type: ignore[arg-type]
            case "basic.consume-ok":
                channel.without_ack[str(event.args["consumer_tag"])] = bool(operation.args.get("no_ack"))
            case "confirm.select-ok":
                channel.confirming = True
            case "tx.select-ok":
                channel.transactional = True
            case "tx.commit-ok":
                channel.in_transaction = []
            case "tx.rollback-ok":
                channel.outstanding = sorted(channel.outstanding + channel.in_transaction)
                channel.in_transaction = []

    # ------------------------------------------------------------------------------------------- settling

    def settle(self) -> None:
        """Poll until nothing changes from one round to the next and all confirms are there."""
        before: dict[str, tuple[int, int]] | None = None
        end = time.monotonic() + CONFIRM_SECONDS
        for _ in range(200):
            known = len(self.events)
            self._poll_queues()
            for name, link in list(self.links.items()):
                for number in sorted(n for n in link.open if n < FIRST_POLL):
                    if not link.dead and number in link.open:
                        self._sync(name, number)
            waiting = any(channel.unconfirmed for channel in self.channels.values())
            if self.counts == before and len(self.events) == known and (not waiting or time.monotonic() > end):
                return
            before = self.counts
            time.sleep(self.quiet)

    def _poll_queues(self) -> None:
        counts: dict[str, tuple[int, int]] = {}
        asked: dict[str, dict[int, str]] = {}
        for queue, owner in self.queues.items():
            link = self._link(owner)
            number = self.poll_numbers.setdefault(queue, FIRST_POLL + len(self.poll_numbers))
            link.open_channel(number)
            link.send(frames.method("queue.declare", number, queue=queue, passive=True))
            asked.setdefault(owner, {})[number] = queue
        for owner, waiting in asked.items():
            self._collect(owner, waiting, counts)
        self.queues = {queue: owner for queue, owner in self.queues.items() if queue in counts}
        self.counts = counts

    def _collect(self, owner: str, waiting: dict[int, str], counts: dict[str, tuple[int, int]]) -> None:
        """Take the answers to polls, in any order."""
        link = self.links[owner]
        while waiting and not link.dead:
            event = link.next(PATIENCE)
            if event is None:
                raise AssertionError(f"no answer about {sorted(waiting.values())}")
            self._take(owner, event)
            if event.channel in waiting:
                queue = waiting.pop(event.channel)
                if event.name == "queue.declare-ok":
                    counts[queue] = (int(event.args["message_count"]), int(event.args["consumer_count"]))  # type: ignore[arg-type]

    # --------------------------------------------------------------------------------------------- the end

    def finish(self) -> None:
        """Close the connections and delete what was made."""
        for name in ("A", "B"):
            if name in self.links:
                self.links[name].close()
        control = self._link("C")
        for kind, name in sorted(self.made):
            if name and not (kind == "exchange" and name.startswith("amq.")):
                control.open_channel(99)
                control.send(frames.method(f"{kind}.delete", 99, **{kind: name}))
                self._until("C", 99, (f"{kind}.delete-ok",))
        control.close()
