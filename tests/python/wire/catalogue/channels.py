"""C.3: the life of a channel (W66 to W79)."""

from __future__ import annotations

from ..answers import NO_IDS, C, Nothing, Reply, Unchecked, Works, X, reply
from ..client import Handshake, Stage
from ..conversation import Conversation
from ..frames import BODY, HEADER, body, frame, header, ids, method, publish, raw_header
from ..row import Row, Step, call, declared, row, unique

OPEN = Stage.OPEN

SECOND = "^CHANNEL_ERROR - second 'channel.open' seen$"
NOT_OPEN = "^CHANNEL_ERROR - expected 'channel.open'$"
MISSING = unique("missing")
MISS = method("queue.declare", queue=MISSING, passive=True)
CLOSE = method("channel.close", reply_code=200, reply_text="bye")
CLOSE_OK = method("channel.close-ok")


def closed_by_server(talk: Conversation) -> None:
    """A channel.close 404 that the client does not answer yet."""
    talk.peer.send(MISS)
    talk.peer.expect("channel.close", reply_code=404)


def closes_then_opens(talk: Conversation) -> None:
    """Only now close-ok: it is taken, and the channel can be opened again."""
    talk.peer.nothing(0.3)
    talk.peer.send(CLOSE_OK)
    talk.peer.open_channel()
    Works()(talk)


JUNK = (
    method("queue.declare", queue=unique("never"))
    + method("basic.ack", delivery_tag=77)
    + method("basic.nack", delivery_tag=78)
    + publish(unique("never"), b"discarded")
    + method("basic.consume", queue=MISSING)
    + method("tx.commit")
)

LONE = header(100) + body(b"x" * 50) + body(b"y" * 50_000)

OPEN_ROWS = [
    row(66, "channel.open twice", method("channel.open"), X(504, SECOND, "channel.open")),
    *(
        row(67, f"{name} on a channel never opened", method(name, 5), X(504, NOT_OPEN, name))
        for name in (
            "queue.declare",
            "basic.ack",
            "channel.close",
            "channel.close-ok",
            "channel.flow",
            "tx.select",
        )
    ),
    row(67, "publish on a channel never opened", publish("x", on=5), X(504, NOT_OPEN, "basic.publish")),
    row(
        67,
        "publish without content on a channel never opened",
        method("basic.publish", 5),
        X(504, NOT_OPEN, "basic.publish"),
        rmq=Nothing(),
        note="RabbitMQ waits for the content",
    ),
    row(68, "header on a channel never opened", frame(HEADER, 5, raw_header(1)), X(505)),
    row(68, "body on a channel never opened", frame(BODY, 5, b"x"), X(505)),
    *(row(69, f"channel {n} of 2047", *call("channel.open", n), Works(n)) for n in (2048, 3000, 65535)),
    row(
        70,
        "more channels than agreed",
        *call("channel.open", 1),
        *call("channel.open", 2),
        method("channel.open", 3),
        X(
            530,
            r"^NOT_ALLOWED - number of channels opened \(2\) has reached the negotiated channel_max \(2\)$",
            (NO_IDS, ids("channel.open")),
        ),
        at=OPEN,
        options=Handshake(channel_max=2),
    ),
    row(
        70,
        "a closed channel makes room",
        *call("channel.open", 1),
        *call("channel.open", 2),
        *call("channel.close", 1),
        *call("channel.open", 30),
        Works(30),
        at=OPEN,
        options=Handshake(channel_max=2),
    ),
]

CLOSE_ROWS = [
    row(
        71,
        "methods after the client's close",
        CLOSE + method("queue.declare", queue="x") + method("basic.ack", delivery_tag=3) + publish("x"),
        reply("channel.close-ok"),
        Nothing(),
        *call("channel.open"),
        Works(),
        rmq=Unchecked("it discards them or answers 504, as they race with the end of the channel"),
    ),
    row(71, "close and open", CLOSE, reply("channel.close-ok"), *call("channel.open"), Works()),
    row(72, "everything after our close", closed_by_server, JUNK, closes_then_opens),
    row(72, "everything at once after our close", MISS + JUNK, C(404, MISSING, "queue.declare")),
    row(
        72,
        "headers and bodies after our close",
        closed_by_server,
        LONE,
        closes_then_opens,
        rmq=X(505, "", NO_IDS),
        note="RabbitMQ discards whole messages only",
    ),
    row(
        73,
        "client's close crosses ours",
        closed_by_server,
        CLOSE,
        reply("channel.close-ok"),
        CLOSE_OK,
        *call("channel.open"),
        Works(),
    ),
    row(
        73,
        "client's close after our close",
        closed_by_server,
        CLOSE,
        reply("channel.close-ok"),
        method("channel.open"),
        reply("channel.open-ok"),
        rmq=X(504, SECOND),
        note="RabbitMQ still waits for close-ok",
    ),
    row(
        74,
        "open before close-ok",
        closed_by_server,
        method("channel.open"),
        X(504, SECOND, "channel.open"),
    ),
    row(75, "open after close-ok", closed_by_server, CLOSE_OK, *call("channel.open"), Works()),
    row(
        75,
        "open in one go with close-ok",
        closed_by_server,
        CLOSE_OK + method("channel.open"),
        reply("channel.open-ok"),
    ),
    row(76, "close-ok that nobody asked for", CLOSE_OK, X(503, "", "channel.close-ok")),
    row(76, "flow-ok that nobody asked for", method("channel.flow-ok", active=True), X(503, "", "channel.flow-ok")),
]

FLOW_Q = unique("w77")


def stops_and_goes_on(talk: Conversation) -> None:
    """flow-ok, no deliveries while inactive, and then all of them."""
    peer = talk.peer
    peer.expect("channel.flow-ok", active=False)
    peer.send(publish(FLOW_Q, b"held"))
    peer.nothing(0.4)
    peer.send(method("channel.flow", active=True))
    names = []
    for _ in range(2):
        got = peer.method()
        names.append(got.name)
        if got.name == "basic.deliver":
            assert peer.content().body == b"held"
    assert sorted(names) == ["basic.deliver", "channel.flow-ok"]


def confirms_before_close_ok(talk: Conversation) -> None:
    """All publishes are confirmed before close-ok."""
    confirmed = 0
    while confirmed < 20:
        got = talk.peer.expect("basic.ack")
        tag = got.number("delivery_tag")
        confirmed = tag if got.args["multiple"] else confirmed + 1
    talk.peer.expect("channel.close-ok")
    talk.peer.open_channel()


def publish_and_close(*queue: Step, name: str) -> tuple[Step, ...]:
    """Twenty publishes in confirm mode and close in one go."""
    send = b"".join(publish(name, b"%d" % n, delivery_mode=2) for n in range(20))
    return (*queue, *call("confirm.select"), send + CLOSE, confirms_before_close_ok)


UNSURE = Unchecked("it may close the channel with publishes unconfirmed")

FLOW_ROWS = [
    row(
        77,
        "flow off",
        *declared(FLOW_Q),
        *call("basic.consume", queue=FLOW_Q, consumer_tag="t", no_ack=True),
        method("channel.flow", active=False),
        stops_and_goes_on,
        rmq=X(540, "^NOT_IMPLEMENTED - active=false$", "channel.flow"),
    ),
    row(78, "flow on", method("channel.flow", active=True), Reply("channel.flow-ok", args={"active": True})),
    row(79, "publish and close", *publish_and_close(*declared(unique("w79")), name=unique("w79")), rmq=UNSURE),
    row(
        79,
        "durable publish and close",
        *publish_and_close(*declared(unique("w79d"), durable=True, exclusive=False), name=unique("w79d")),
        leaves=(("queue", unique("w79d")),),
        rmq=UNSURE,
    ),
    row(79, "unroutable publish and close", *publish_and_close(name=unique("nowhere"))),
]

ROWS: list[Row] = OPEN_ROWS + CLOSE_ROWS + FLOW_ROWS
