"""C.2: frames on a running connection (W50 to W65)."""

from __future__ import annotations

import select
import socket
import struct
import time

from .. import frames
from ..answers import NO_IDS, Unchecked, Works, X
from ..client import Handshake, Peer
from ..conversation import Canary, Conversation
from ..frames import BODY, HEADER, METHOD, body, frame, header, method, publish, raw_header
from ..row import Row, row, unique

FRAME_MAX = 131072


def head(kind: int, channel: int, size: int) -> bytes:
    """The seven bytes before a payload that never comes."""
    return struct.pack(">BHI", kind, channel, size)


def largest_body(talk: Conversation) -> None:
    """A body frame whose payload is exactly frame_max, eight over the rule, is taken."""
    queue = talk.peer.queue()
    data = bytes(FRAME_MAX)
    talk.peer.send(method("basic.publish", routing_key=queue) + header(FRAME_MAX) + body(data))
    assert talk.peer.get(queue)[1].body == data


FORM_ROWS = [
    row(50, "wrong frame end", frame(METHOD, 1, frames.method_payload("basic.qos"), 0xCD), X(501, "", NO_IDS)),
    row(50, "wrong frame end says which", frame(BODY, 1, b"x", 0xCD), X(501, "205|0xCD|0xcd")),
    *(row(51, f"frame type {kind}", frame(kind, 1, b"abcd"), X(501, "", NO_IDS)) for kind in (0, 4, 9, 255)),
    row(51, "frame type 7 on channel 0", frame(7, 0, b""), X(501, "", NO_IDS)),
    row(52, "payload of frame_max", largest_body),
    row(53, "payload over frame_max", head(BODY, 1, FRAME_MAX + 1), X(501, "", NO_IDS)),
    row(53, "method over frame_max", head(METHOD, 1, FRAME_MAX + 1), X(501, "", NO_IDS)),
    row(
        53,
        "payload over a small frame_max",
        head(METHOD, 1, 4097),
        X(501, "", NO_IDS),
        options=Handshake(frame_max=4096),
    ),
    row(54, "payload of 4 GiB", head(METHOD, 1, 2**32 - 1), X(501, "", NO_IDS)),
    row(54, "payload of 4 GiB on channel 0", head(METHOD, 0, 2**32 - 1), X(501, "", NO_IDS)),
    *(row(55, f"method frame of {n} bytes", frame(METHOD, 1, bytes(n)), X(501)) for n in range(4)),
    row(55, "method frame of 2 bytes on channel 0", frame(METHOD, 0, bytes(2)), X(501)),
    row(56, "heartbeat on channel 1", frame(8, 1, b""), X(505)),
    row(57, "heartbeat with payload", frame(8, 0, b"x"), X(501)),
    row(58, "header on channel 0", frame(HEADER, 0, raw_header(0)), X(505)),
    row(59, "body on channel 0", frame(BODY, 0, b"x"), X(505)),
    row(60, "queue.declare on channel 0", method("queue.declare", 0, queue="x"), X(504, "", "queue.declare")),
    row(60, "basic.publish on channel 0", method("basic.publish", 0), X(504, "", "basic.publish")),
    row(60, "channel.open on channel 0", method("channel.open", 0), X(504, "", "channel.open")),
    row(60, "tx.select on channel 0", method("tx.select", 0), X(504, "", "tx.select")),
    row(
        61,
        "connection.close on channel 1",
        method("connection.close", 1),
        X(503, "^COMMAND_INVALID - unimplemented method$", "connection.close"),
    ),
    row(
        61,
        "connection.open on channel 1",
        method("connection.open", 1),
        X(503, "^COMMAND_INVALID - unimplemented method$", "connection.open"),
    ),
]


def wait_ready(peer: Peer, queue: str) -> None:
    """Until a message is ready."""
    deadline = time.monotonic() + 5
    while peer.ready(queue) == 0:
        assert time.monotonic() < deadline, "no message is ready"
        time.sleep(0.02)


def truncated_then_fin(talk: Conversation) -> None:
    """Half a frame, then FIN: unacked messages go back and exclusive queues go."""
    shared, other = unique("w62"), talk.connect()
    other.queue(shared, exclusive=False, auto_delete=False)
    private = talk.peer.queue()
    other.send(publish(shared))
    wait_ready(other, shared)
    talk.peer.get(shared, no_ack=False)
    talk.peer.send(method("queue.declare", queue="x" * 200)[:50])
    talk.peer.sock.shutdown(socket.SHUT_WR)
    talk.peer.rest(5)
    talk.peer.drop()
    wait_ready(other, shared)
    got, _ = other.get(shared)
    assert got.args["redelivered"] is True
    other.send(method("queue.declare", queue=private, passive=True))
    refused = other.expect("channel.close")
    assert refused.args["reply_code"] == 404, "the exclusive queue is still there"


def whole_session(talk: Conversation) -> None:
    """A session in one byte segments: declare, publish, consume, ack, close."""
    peer = talk.peer
    queue = peer.queue()
    peer.call("confirm.select")
    peer.send(publish(queue, b"a body", content_type="text/plain", headers={"a": [1, {"b": None}]}))
    peer.expect("basic.ack", delivery_tag=1)
    peer.call("basic.consume", queue=queue, consumer_tag="t")
    peer.expect("basic.deliver", delivery_tag=1, routing_key=queue)
    assert peer.content().body == b"a body"
    peer.send(method("basic.ack", delivery_tag=1))
    peer.call("basic.cancel", consumer_tag="t")
    assert peer.ready(queue) == 0
    peer.call("channel.close", reply_code=200)


def many_heartbeats(talk: Conversation) -> None:
    """Heartbeats as fast as they can be sent neither stop others nor harm their own connection."""
    talk.peer.split = False
    other = Canary(talk.target)
    block = frames.HEARTBEAT * 10_000
    slowest = 0.0
    for _ in range(30):
        talk.peer.send(block)
        begin = time.monotonic()
        other.check()
        slowest = max(slowest, time.monotonic() - begin)
    other.bye()
    assert slowest < 2.0, f"others waited {slowest:.1f} s"
    Works()(talk)


def stops_reading(talk: Conversation) -> None:
    """The server gives a client that does not read five seconds to take our close, then aborts."""
    queue = talk.peer.queue()
    talk.peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(160):
        talk.peer.send(publish(queue, bytes(100_000)))
    talk.peer.send(method("basic.consume", queue=queue, consumer_tag="t", no_ack=True))
    time.sleep(0.5)
    talk.peer.send(frame(9, 1, b"x"))
    poll = select.poll()
    poll.register(talk.peer.sock, select.POLLERR | select.POLLHUP)
    begin = time.monotonic()
    events = poll.poll(12_000)
    took = time.monotonic() - begin
    assert events, "the connection is still there"
    assert took > 2, f"aborted after {took:.1f} s already"
    talk.peer.ended = "RST"


LIFE_ROWS = [
    row(62, "half a frame then fin", truncated_then_fin, leaves=(("queue", unique("w62")),)),
    row(63, "a session byte by byte", whole_session, options=Handshake(split=True)),
    row(64, "300000 heartbeats", many_heartbeats),
    row(65, "client does not read our close", stops_reading, rmq=Unchecked("it waits 30 s")),
]

ROWS: list[Row] = FORM_ROWS + LIFE_ROWS
