"""Long queues: publishes many numbered messages, and takes them again faster than the wire suite's client would.

Every byte of a message follows from its number, so each delivery is compared with what was sent.
"""

import os
import struct
import time
from collections import deque
from contextlib import suppress
from typing import NamedTuple

from durability import message
from durability.link import Gone
from wire import frames

MIB = 1024 * 1024
BATCH = MIB
"""Bytes that are published before the confirms of those before are waited for."""

DELIVER, GET_OK, GET_EMPTY, ACK = (60, 60), (60, 71), (60, 72), (60, 80)


class Delivery(NamedTuple):
    """A message that came; `uid` is None where a basic.get found nothing."""

    tag: int
    redelivered: bool
    uid: int | None
    raw: bytes
    body: bytes


def mixed(uid):
    """The size of a message: mostly about 1 KiB, some of 100 KiB and 1 MiB, some of nothing."""
    if uid % 1000 == 500:
        return MIB
    if uid % 100 == 50:
        return 100 * 1024
    return 0 if uid % 37 == 0 else 900 + uid % 200


def kilobyte(_uid):
    """The size of every message of an even backlog."""
    return 1024


class Backlog:
    """Messages `first` to `last`, all in one queue or in several."""

    def __init__(self, size=mixed, mode=None):
        self.size = size
        self.mode = mode or (lambda uid: 2)
        self.last = 0

    def publish(self, link, total, queue="q", exchange=""):
        """Publishes at least `total` bytes more, with confirms. The channel is in confirm mode after it."""
        link.call("confirm.select")
        missing = 0
        while total > 0:
            out, bytes_in_batch, count = [], 0, 0
            while bytes_in_batch < min(BATCH, total):
                self.last += 1
                size = self.size(self.last)
                out.append(message.publish(exchange, queue, self.last, size, mode=self.mode(self.last)))
                bytes_in_batch += size
                count += 1
            link.send(b"".join(out))
            confirms(link, missing)
            total -= bytes_in_batch
            missing = count
        confirms(link, missing)

    def check(self, deliveries, uids, redelivered=False):
        """These are the messages `uids`, in order and intact, and all flagged alike (None: does not matter)."""
        uids = list(uids)
        found = [delivery.uid for delivery in deliveries]
        assert found == uids, f"{len(found)} messages instead of {len(uids)}: {first_difference(found, uids)}"
        for delivery in deliveries:
            self.check_content(delivery)
            if redelivered is not None:
                assert delivery.redelivered == redelivered, (
                    f"message {delivery.uid}: redelivered is {delivery.redelivered}"
                )

    def check_content(self, delivery):
        """It is what was sent, byte for byte."""
        uid = delivery.uid
        assert 1 <= uid <= self.last, f"message {uid} was never sent"
        assert delivery.body == message.body(uid, self.size(uid)), f"the body of message {uid} is not what was sent"
        expected = frames.properties(message.properties(uid, self.mode(uid)))
        assert delivery.raw == expected, f"the properties of message {uid} are not what was sent"


def first_difference(found, expected):
    """Where two lists differ first, for failure messages."""
    for at, pair in enumerate(zip(found, expected)):
        if pair[0] != pair[1]:
            return f"at {at} {found[at : at + 5]}, not {expected[at : at + 5]}"
    return f"after {min(len(found), len(expected))}: {found[len(expected) :][:5]}, not {expected[len(found) :][:5]}"


def confirms(link, count):
    """Waits for the confirms of so many more messages."""
    link.tag, singles = getattr(link, "tag", 0), link.__dict__.setdefault("single_confirms", set())
    link.wanted = wanted = getattr(link, "wanted", 0) + count
    while link.tag < wanted:
        method, _ = link.next(patience=30)
        if method.name in ("connection.blocked", "connection.unblocked"):
            continue
        assert method.name == "basic.ack", method
        tag = method.number("delivery_tag")
        if method.args["multiple"]:
            link.tag = max(link.tag, tag)
        else:
            singles.add(tag)
        while link.tag + 1 in singles:
            link.tag += 1
            singles.remove(link.tag)


def take(link, count, patience=30.0):
    """The next `count` deliveries or answers to gets."""
    found = []
    reader = _Reader(link, patience)
    while len(found) < count:
        found.append(reader.next())
    reader.give_back()
    return found


class _Reader:
    """Reads deliveries from a link's socket, a large piece at a time."""

    def __init__(self, link, patience):
        self.peer = link.peer
        self.patience = patience
        self.data = bytearray(self.peer.buffer)
        self.at = 0
        self.peer.buffer = b""

    def give_back(self):
        """What was read too much is the link's again."""
        self.peer.buffer = bytes(self.data[self.at :])

    def _fill(self, count):
        while len(self.data) - self.at < count:
            if self.at > 4 * MIB:
                del self.data[: self.at]
                self.at = 0
            self.peer.sock.settimeout(self.patience)
            try:
                piece = self.peer.sock.recv(MIB)
            except TimeoutError:
                left = bytes(self.data[self.at : self.at + 60])
                raise AssertionError(f"the broker is silent for {self.patience} s; {left!r} came") from None
            except ConnectionError:
                raise Gone from None
            if not piece:
                raise Gone
            self.data += piece

    def _frame(self):
        """Kind and payload of the next frame."""
        while True:
            self._fill(7)
            kind, _, size = struct.unpack_from(">BHI", self.data, self.at)
            self._fill(size + 8)
            begin = self.at + 7
            assert self.data[begin + size] == frames.FRAME_END, "a wrong frame end"
            self.at = begin + size + 1
            if kind != frames.HEARTBEAT_TYPE:
                return kind, bytes(self.data[begin : begin + size])

    def next(self):
        """The next delivery."""
        kind, payload = self._frame()
        assert kind == frames.METHOD, f"a method was expected, not {payload[:60]!r}"
        ids = struct.unpack_from(">HH", payload)
        if ids == GET_EMPTY:
            return Delivery(0, False, None, b"", b"")
        if ids == DELIVER:
            after_name = 5 + payload[4]
        else:
            assert ids == GET_OK, frames.decode_method(frames.Frame(kind, 1, payload))
            after_name = 4
        tag, redelivered = struct.unpack_from(">QB", payload, after_name)
        _, head = self._frame()
        (size,) = struct.unpack_from(">Q", head, 4)
        raw = head[12:]
        parts, missing = [], size
        while missing > 0:
            kind, part = self._frame()
            assert kind == frames.BODY, f"a body was expected, not {part[:60]!r}"
            parts.append(part)
            missing -= len(part)
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        assert len(body) == size, "the body is longer than announced"
        uid = int(body[:16], 16) if size >= 16 else int(frames.decode_header(head)[2]["message_id"])
        return Delivery(tag, bool(redelivered), uid, raw, body)


def ack(link, tag, multiple=True):
    """Acknowledges a delivery, and all before it."""
    link.send(frames.method("basic.ack", delivery_tag=tag, multiple=multiple))


def count(link, queue="q"):
    """How many messages are ready."""
    return link.call("queue.declare", queue=queue, passive=True).number("message_count")


def drain(link, total, queue="q", prefetch=1000, no_ack=False):
    """Consumes and acknowledges so many messages, a prefetch window at a time; answers them."""
    if prefetch:
        link.call("basic.qos", prefetch_count=prefetch)
    link.call("basic.consume", queue=queue, consumer_tag="drain", no_ack=no_ack)
    step = max(1, (prefetch or 1000) // 2)
    found = []
    while len(found) < total:
        some = take(link, min(step, total - len(found)))
        found += some
        if not no_ack:
            ack(link, some[-1].tag)
    link.call("basic.cancel", consumer_tag="drain")
    return found


def drain_by_get(link, total, queue="q", pipelined=1):
    """Takes so many messages by basic.get, several asked for at a time; answers them."""
    one = frames.method("basic.get", queue=queue)
    found, asked = deque(), 0
    while len(found) < total:
        more = min(pipelined, total - asked)
        link.send(one * more)
        asked += more
        some = take(link, more)
        found += some
        if some[-1].uid is not None:
            ack(link, some[-1].tag)
    return list(found)


def resident(broker):
    """Bytes of memory that the broker has."""
    for line in open(f"/proc/{broker.process.pid}/status", encoding="ascii"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def read_bytes(broker):
    """Bytes that the broker has read with system calls, from disk or from memory."""
    for line in open(f"/proc/{broker.process.pid}/io", encoding="ascii"):
        if line.startswith("rchar:"):
            return int(line.split()[1])
    raise AssertionError("no rchar")


def disk_bytes(directory):
    """Bytes that the files take on disk, but for the reserve. Files may go while they are counted."""
    total = 0
    for path in directory.iterdir():
        with suppress(FileNotFoundError):
            total += path.stat().st_blocks * 512 if path.name != "reserve" else 0
    return total


def segments(directory):
    """The names of the segment files."""
    return sorted(name for name in os.listdir(directory) if name.startswith("segment-"))


def segment_bytes(directory):
    """How long all segment files are together."""
    total = 0
    for name in segments(directory):
        with suppress(FileNotFoundError):
            total += os.path.getsize(os.path.join(directory, name))
    return total


def wait_for_segments(directory, seconds=20):
    """Waits until a checkpoint has written a segment."""
    end = time.monotonic() + seconds
    while not segments(directory):
        assert time.monotonic() < end, f"no segment was written: {sorted(os.listdir(directory))}"
        time.sleep(0.02)
