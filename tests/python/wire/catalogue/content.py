"""C.4: publishes, content headers and bodies (W80 to W109)."""

from __future__ import annotations

import struct
from typing import Any

from .. import frames
from ..answers import NO_IDS, C, Content, Nothing, Works, X, reply
from ..conversation import Conversation
from ..frames import HEADER, body, frame, header, ids, method, publish, raw_header
from ..row import Row, Step, call, declared, row, unique

Q = unique("content")
PUBLISH = method("basic.publish", routing_key=Q)
PUBLISH_IDS = ids("basic.publish")
MAX = 16 * 1024 * 1024

NO_METHOD = "^UNEXPECTED_FRAME - expected method frame, got non method frame instead$"
NO_HEADER = "^UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead$"
NO_BODY = "^UNEXPECTED_FRAME - expected content body, got non content body frame instead$"
OTHER_CLASS = "^UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead$"

INTERNAL = X(541)
EITHER = (NO_IDS, PUBLISH_IDS)


def too_large(size: int) -> Step:
    """C406 at the header; the body that still comes is discarded."""

    def step(talk: Conversation) -> None:
        talk.peer.split = False
        got = talk.peer.expect("channel.close", reply_code=406)
        text = f"PRECONDITION_FAILED - message size {size} is larger than configured max size {MAX}"
        assert got.text("reply_text") == text
        assert (got.args["class_id"], got.args["method_id"]) == PUBLISH_IDS
        for _ in range(20):
            talk.peer.send(body(bytes(100_000)))
        talk.peer.nothing(0.2)
        talk.peer.send(method("channel.close-ok"))
        talk.peer.open_channel()
        Works()(talk)

    return step


def delivered(talk: Conversation) -> None:
    """The message of ten bytes is in the queue."""
    assert talk.peer.get(Q)[1].body == b"0123456789"


def nobody_else_waits(talk: Conversation) -> None:
    """While a body is due, other channels of the connection go on."""
    talk.peer.open_channel(2)
    Works(2)(talk)


SIZE_ROWS = [
    row(80, "size of 2^63", PUBLISH + frame(HEADER, 1, raw_header(2**63)), X(501, "", EITHER), rmq=Nothing()),
    row(80, "size of 2^64-1", PUBLISH + frame(HEADER, 1, raw_header(2**64 - 1)), X(501, "", EITHER), rmq=Nothing()),
    row(
        80,
        "size over 512 MiB",
        PUBLISH + frame(HEADER, 1, raw_header(512 * 1024 * 1024 + 1)),
        X(501, "", EITHER),
        rmq=Nothing(),
    ),
    row(
        81,
        "size over the limit",
        PUBLISH + header(MAX + 1),
        too_large(MAX + 1),
        rmq=Nothing(),
        note="RabbitMQ judges 128 MiB, and after the body",
    ),
    row(
        81,
        "size of 512 MiB",
        PUBLISH + header(512 * 1024 * 1024),
        too_large(512 * 1024 * 1024),
        rmq=Nothing(),
    ),
    row(
        82,
        "body comes late",
        *declared(Q),
        PUBLISH + header(10),
        Nothing(),
        nobody_else_waits,
        body(b"01234"),
        Nothing(0.2),
        body(b"56789"),
        delivered,
    ),
    row(
        83,
        "body longer than announced",
        PUBLISH + header(4) + body(b"12345678"),
        X(501, "content body frame exceeds remaining content size", EITHER),
        rmq=Nothing(),
    ),
    row(
        83,
        "second body frame too long",
        PUBLISH + header(4) + body(b"123") + body(b"45"),
        X(501, "content body frame exceeds remaining content size", EITHER),
        rmq=Nothing(),
    ),
]

ORDER_ROWS = [
    row(84, "header without publish", header(0), X(505, NO_METHOD)),
    row(84, "body without publish", body(b"x"), X(505, NO_METHOD)),
    row(85, "method after publish", PUBLISH + method("basic.qos"), X(505, NO_HEADER, "basic.publish")),
    row(85, "publish after publish", PUBLISH * 2, X(505, NO_HEADER, "basic.publish")),
    row(85, "close after publish", PUBLISH + method("channel.close"), X(505, NO_HEADER, "basic.publish")),
    row(86, "body after publish", PUBLISH + body(b"x"), X(505, NO_HEADER, "basic.publish")),
    row(87, "method after header", PUBLISH + header(4) + method("basic.qos"), X(505, NO_BODY, "basic.publish")),
    row(87, "second header", PUBLISH + header(4) * 2, X(505, NO_BODY, "basic.publish")),
    row(
        87,
        "method in the midst of a body",
        PUBLISH + header(4) + body(b"12") + method("basic.qos"),
        X(505, NO_BODY, "basic.publish"),
    ),
    row(
        88,
        "header of class 50",
        PUBLISH + frame(HEADER, 1, raw_header(4, class_id=50)),
        X(505, OTHER_CLASS, "basic.publish"),
    ),
    row(89, "weight 1", PUBLISH + frame(HEADER, 1, raw_header(4, weight=1)), X(505)),
    row(
        90,
        "size 0 and a body",
        *call("confirm.select"),
        PUBLISH + header(0),
        reply("basic.ack", delivery_tag=1),
        body(b""),
        X(505, NO_METHOD),
    ),
    row(
        91,
        "empty body frames between",
        *declared(Q),
        PUBLISH + header(10) + body(b"") * 3 + body(b"01234") + body(b"") * 900 + body(b"56789"),
        delivered,
    ),
    row(
        91,
        "too many empty body frames",
        PUBLISH + header(10) + body(b"") * 1100,
        X(501, "", EITHER),
        rmq=Nothing(),
    ),
    row(92, "header of 13 bytes", PUBLISH + frame(HEADER, 1, raw_header(4)[:13]), X(501), rmq=Nothing()),
    row(92, "header of no bytes", PUBLISH + frame(HEADER, 1, b""), X(501)),
    row(92, "header of 4 bytes", PUBLISH + frame(HEADER, 1, raw_header(4)[:4]), X(501)),
]


def raw(flags: int, data: bytes) -> bytes:
    """A publish of an empty body whose properties are these bytes."""
    return PUBLISH + frame(HEADER, 1, raw_header(0, struct.pack(">H", flags) + data))


def bad_properties(number: int, case: str, flags: int, data: bytes, rmq: Step = INTERNAL) -> Row:
    """Properties that do not decode: we say so, RabbitMQ says 541."""
    return row(number, case, raw(flags, data), X(501, "", EITHER), rmq=rmq)


FLAG = {name: flag for name, (flag, _) in frames.PROPERTIES.items()}
SHORT_TABLE = struct.pack(">I", 100) + b"\1kS"
PROPERTY_ROWS = [
    bad_properties(93, "content type missing", FLAG["content_type"], b""),
    bad_properties(93, "content type cut off", FLAG["content_type"], b"\x0aabc"),
    bad_properties(93, "timestamp cut off", FLAG["timestamp"], b"\0\0\0"),
    bad_properties(93, "second property missing", FLAG["delivery_mode"] | FLAG["priority"], b"\2"),
    bad_properties(93, "all properties missing", 0xFFFC, b""),
    bad_properties(94, "bytes after the properties", FLAG["delivery_mode"], b"\2junk"),
    bad_properties(94, "bytes after no properties", 0, b"junk"),
    bad_properties(95, "continuation flag", 0x0001, b"\0\0"),
    bad_properties(96, "header of unknown tag", FLAG["headers"], frames.longstr(b"\1kZabc")),
    bad_properties(96, "headers cut off", FLAG["headers"], SHORT_TABLE),
    bad_properties(96, "header value past the table", FLAG["headers"], frames.longstr(b"\1kS\0\0\0\x09ab")),
    bad_properties(96, "header name past the table", FLAG["headers"], frames.longstr(b"\x50abc")),
]


def taken(number: int, case: str, rmq: Step | None = None, **values: Any) -> Row:
    """A publish with properties that is accepted and comes back with the same bytes."""

    def comes_back(talk: Conversation) -> None:
        got = talk.peer.get(Q)[1]
        assert got.raw == frames.properties(values), f"properties changed: {got.raw!r}"

    return row(number, case, *declared(Q), publish(Q, **values), comes_back, rmq=rmq)


def refused(number: int, case: str, text: str, **values: Any) -> Row:
    """A publish with properties that ends the channel with 406."""
    return row(number, case, publish(Q, **values), C(406, text, "basic.publish"))


def higher_first(talk: Conversation) -> None:
    """Priority 255 counts as the queue's highest."""
    assert talk.peer.get(Q)[1].body == b"high"
    assert talk.peer.get(Q)[1].body == b"low"


MODE_406 = C(406, "delivery_mode_unknown", "basic.publish")
USER = "^PRECONDITION_FAILED - user_id property set to 'mallory' but authenticated user was 'guest'$"
IN_HEADER = "unacceptable_type_in_header"


def one_more_without_bcc(talk: Conversation) -> None:
    """CC and BCC are routed, others than strings in them ignored; BCC does not arrive."""
    for queue in (Q, f"{Q}.cc", f"{Q}.bcc"):
        headers = talk.peer.get(queue)[1].headers
        assert headers == {"CC": [f"{Q}.cc", 5], "other": "x"}, headers
        talk.peer.get_nothing(queue)


VALUE_ROWS = [
    taken(97, "delivery mode 0", MODE_406, delivery_mode=0),
    taken(97, "delivery mode 77", MODE_406, delivery_mode=77),
    taken(98, "priority 255", priority=255),
    row(
        98,
        "priority 255 in a queue of 5",
        *declared(Q, arguments={"x-max-priority": 5}),
        publish(Q, b"low", priority=4) + publish(Q, b"high", priority=255),
        higher_first,
        later="priorities come later",
    ),
    *(
        refused(99, f"expiration {name}", "^PRECONDITION_FAILED - invalid expiration", expiration=text)
        for name, text in (
            ("abc", "abc"),
            ("empty", ""),
            ("minus 1", "-1"),
            ("1 point 5", "1.5"),
            ("space 5", " 5"),
            ("5 space", "5 "),
            ("not utf-8", b"\xff\xfe"),
        )
    ),
    taken(99, "expiration plus 50000", expiration="+50000"),
    refused(100, "expiration above the limit", "invalid expiration|value_too_large", expiration="315360000001"),
    refused(100, "expiration of 30 digits", "invalid expiration|value_too_large", expiration="9" * 30),
    taken(100, "expiration at the limit", expiration="315360000000"),
    taken(100, "expiration of 2^32", expiration="4294967296"),
    refused(101, "user id of another", USER, user_id="mallory"),
    taken(101, "user id of our own", user_id="guest"),
    taken(102, "timestamp of all ones", timestamp=2**64 - 1),
    taken(102, "timestamp 0", timestamp=0),
    *(
        refused(103, f"{key} that is {name}", IN_HEADER, headers={key: value})
        for key in ("CC", "BCC")
        for name, value in (("a string", "x"), ("a number", 5))
    ),
    row(
        103,
        "CC and BCC",
        *declared(Q),
        *declared(f"{Q}.cc"),
        *declared(f"{Q}.bcc"),
        publish(Q, headers={"CC": [f"{Q}.cc", 5], "BCC": [f"{Q}.bcc"], "other": "x"}),
        one_more_without_bcc,
    ),
]

IMMEDIATE = method("basic.publish", routing_key=Q, immediate=True)
LOST = publish(unique("nowhere"), b"lost", mandatory=True)
NO_EXCHANGE = f"^NOT_FOUND - no exchange '{unique('none')}' in vhost '/'$"
TO_NONE = publish("k", exchange=unique("none"))
INTERNAL_X = unique("internal")
TICKETED = frames.shortstr("") + frames.shortstr(Q)


def both_arrive(talk: Conversation) -> None:
    """The bodies of two channels are not mixed."""
    bodies = {talk.peer.get(Q)[1].body for _ in range(2)}
    assert bodies == {b"aaaaaaaa", b"bbbbbbbb"}


ROUTING_ROWS = [
    row(
        104,
        "immediate",
        IMMEDIATE + header(0),
        X(540, "^NOT_IMPLEMENTED - immediate=true$", "basic.publish"),
    ),
    row(
        105,
        "mandatory without a route",
        *call("confirm.select"),
        LOST,
        reply("basic.return", reply_code=312, reply_text="NO_ROUTE", exchange="", routing_key=unique("nowhere")),
        Content(b"lost"),
        reply("basic.ack", delivery_tag=1),
    ),
    row(
        105,
        "mandatory without a route in a transaction",
        *call("tx.select"),
        LOST,
        Nothing(0.2),
        method("tx.commit"),
        reply("basic.return", reply_code=312),
        Content(b"lost"),
        reply("tx.commit-ok"),
    ),
    row(106, "unknown exchange", TO_NONE, C(404, NO_EXCHANGE, "basic.publish")),
    row(106, "unknown exchange with confirms", *call("confirm.select"), TO_NONE, C(404, NO_EXCHANGE, "basic.publish")),
    row(
        106,
        "unknown exchange in a transaction",
        *call("tx.select"),
        TO_NONE,
        C(404, NO_EXCHANGE, "basic.publish"),
    ),
    row(
        107,
        "internal exchange",
        *call("exchange.declare", exchange=INTERNAL_X, type="fanout", internal=True),
        publish("k", exchange=INTERNAL_X),
        C(403, f"^ACCESS_REFUSED - cannot publish to internal exchange '{INTERNAL_X}' in vhost '/'$", "basic.publish"),
        leaves=(("exchange", INTERNAL_X),),
    ),
    row(
        108,
        "ticket and reserved bits",
        *declared(Q),
        frames.raw_method(PUBLISH_IDS, struct.pack(">H", 0xFFFF) + TICKETED + b"\xfc") + header(5) + body(b"hello"),
        lambda talk: talk.peer.get(Q),
    ),
    row(
        108,
        "reserved bits of queue.declare",
        frames.raw_method(ids("queue.declare"), b"\xff\xff" + frames.shortstr(Q) + b"\xe4" + bytes(4)),
        reply("queue.declare-ok"),
    ),
    row(
        109,
        "content of two channels interleaved",
        *declared(Q),
        *call("channel.open", 2),
        PUBLISH + method("basic.publish", 2, routing_key=Q),
        header(8, 2) + header(8) + body(b"aaaa") + body(b"bbbb", 2) + body(b"aaaa") + body(b"bbbb", 2),
        Works(2),
        Works(),
        both_arrive,
    ),
]

ROWS: list[Row] = SIZE_ROWS + ORDER_ROWS + PROPERTY_ROWS + VALUE_ROWS + ROUTING_ROWS
