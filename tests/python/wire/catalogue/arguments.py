"""C.5: method arguments and field tables (W110 to W130)."""

from __future__ import annotations

import struct

from .. import frames
from ..answers import C, CutOff, Unchecked, Works, X, reply
from ..conversation import Conversation
from ..frames import Ids, Raw, Value, entry, ids, longstr, method, publish, raw_method, shortstr, tagged
from ..row import Row, Step, call, declared, row, unique

Q = unique("args")
DECLARE = ids("queue.declare")
TABLE_ERROR = X(501, "", DECLARE)
CUT_OFF = CutOff()


def declare(table_body: bytes, queue: str = Q) -> bytes:
    """queue.declare, exclusive, whose arguments have this body."""
    return method("queue.declare", queue=queue, exclusive=True, arguments=Raw(table_body))


def nested_tables(depth: int) -> bytes:
    """A table body with this many tables inside each other, built from the inside out."""
    data = b""
    for _ in range(depth):
        data = b"\1tF" + longstr(data)
    return data


def nested_arrays(depth: int) -> bytes:
    """A table body with arrays inside each other."""
    data = b""
    for _ in range(depth):
        data = b"A" + longstr(data)
    return b"\1t" + data


def in_headers(table_body: bytes) -> bytes:
    """A publish whose headers have this body."""
    return publish("nobody", headers=Raw(table_body))


DEEP_HEADERS = X(501)
DECLARED = reply("queue.declare-ok")
NESTING_ROWS = [
    row(110, "tables 60 deep", declare(nested_tables(60)), DECLARED),
    row(110, "tables 70 deep", declare(nested_tables(70)), TABLE_ERROR, rmq=DECLARED),
    row(110, "tables 1000 deep", declare(nested_tables(1000)), TABLE_ERROR, rmq=DECLARED),
    row(110, "tables 18000 deep", declare(nested_tables(18_000)), TABLE_ERROR, rmq=DECLARED),
    row(110, "headers 1000 deep", in_headers(nested_tables(1000)), DEEP_HEADERS, rmq=Works()),
    row(110, "headers 18000 deep", in_headers(nested_tables(18_000)), DEEP_HEADERS, rmq=Works()),
    row(111, "arrays 26000 deep", declare(nested_arrays(26_000)), TABLE_ERROR, rmq=DECLARED),
    row(111, "arrays 26000 deep in headers", in_headers(nested_arrays(26_000)), DEEP_HEADERS, rmq=Works()),
    row(112, "unknown tag Z", declare(b"\1kZabcd"), TABLE_ERROR, rmq=CUT_OFF),
    row(112, "unknown tag 0", declare(b"\1k\0"), TABLE_ERROR, rmq=CUT_OFF),
    row(112, "unknown tag in an array", declare(b"\1kA" + longstr(b"Zabc")), TABLE_ERROR, rmq=CUT_OFF),
]

# tag: a value that lacks its last byte
TRUNCATED = {
    "t": b"",
    "b": b"",
    "B": b"",
    "s": b"\0",
    "u": b"\0",
    "I": b"\0\0\0",
    "i": b"\0\0\0",
    "l": bytes(7),
    "L": bytes(7),
    "f": bytes(3),
    "d": bytes(7),
    "D": bytes(4),
    "S": longstr("abc")[:-1],
    "x": longstr("abc")[:-1],
    "T": bytes(7),
    "A": longstr(b"t\1")[:-1],
    "F": longstr(b"\1kt\1")[:-1],
}


def case_of(tag: str) -> str:
    """A tag in words that differ without case."""
    return f"{'small' if tag.islower() else 'big'} {tag}"


TRUNCATED_ROWS = [
    *(
        row(113, f"truncated {case_of(tag)}", declare(b"\1k" + tag.encode() + data), TABLE_ERROR, rmq=CUT_OFF)
        for tag, data in TRUNCATED.items()
    ),
    row(113, "name without a value", declare(b"\1k"), TABLE_ERROR, rmq=CUT_OFF),
    *(
        row(
            113, f"length of {case_of(tag)} cut off", declare(b"\1k" + tag.encode() + b"\0\0"), TABLE_ERROR, rmq=CUT_OFF
        )
        for tag in "SxAF"
    ),
    row(114, "name length past the end", declare(b"\xf0abc"), TABLE_ERROR, rmq=CUT_OFF),
    row(114, "value length past the end", declare(b"\1kS\xff\xff\xff\xffabc"), TABLE_ERROR, rmq=CUT_OFF),
    row(
        114,
        "nested table longer than its outer one",
        declare(b"\1aF" + longstr(b"\1bF\0\0\1\0") + b"\1ct\1"),
        TABLE_ERROR,
        rmq=CUT_OFF,
    ),
    row(
        114,
        "array longer than its outer table",
        declare(b"\1aF" + longstr(b"\1bA\0\0\0\5t") + b"\1ct\1"),
        TABLE_ERROR,
        rmq=CUT_OFF,
    ),
]

CANNOT = "^FRAME_ERROR - cannot decode"
HEAD = bytes(2) + shortstr(Q) + b"\0"
QOS = frames.arguments("basic.qos", {})
LONGEST = (unique("longest") + "n" * 255)[:255]


def echoes(name: str) -> Step:
    """declare-ok names the queue like this."""
    return reply("queue.declare-ok", queue=name)


DECODE_ROWS = [
    row(115, "table longer than the frame", raw_method(DECLARE, HEAD + b"\0\1\0\0"), X(501, CANNOT, "queue.declare")),
    row(
        115,
        "table length of 4 GiB",
        raw_method(DECLARE, HEAD + b"\xff\xff\xff\xff"),
        X(501, CANNOT, "queue.declare"),
    ),
    row(115, "short string past the end", raw_method(DECLARE, b"\0\0\xffabc"), X(501, CANNOT, "queue.declare")),
    row(115, "method cut off", raw_method(ids("basic.qos"), QOS[:-1]), X(501, CANNOT, "basic.qos")),
    row(115, "method without arguments", raw_method(DECLARE), X(501, CANNOT, "queue.declare")),
    row(115, "ack cut off", raw_method(ids("basic.ack"), bytes(8)), X(501, CANNOT, "basic.ack")),
    row(116, "bytes after the arguments", raw_method(ids("basic.qos"), QOS + b"junk"), X(501, "", "basic.qos")),
    row(116, "bytes after no arguments", raw_method(ids("tx.select"), b"\0"), X(501, "", "tx.select")),
    row(116, "bytes after a table", raw_method(DECLARE, HEAD + bytes(5)), X(501, "", "queue.declare")),
    row(
        117,
        "name that is not utf-8",
        method("queue.declare", queue=b"a\xff\xfe"),
        X(501, "Malformed UTF-8 in shortstr"),
    ),
    row(
        117,
        "exchange that is not utf-8",
        method("basic.publish", exchange=b"\xc0\x80") + frames.header(0),
        X(501, "Malformed UTF-8 in shortstr"),
        rmq=C(404),
        note="RabbitMQ does not look at the names of a publish",
    ),
]


def longest_name_end_to_end(talk: Conversation) -> None:
    """A queue and an exchange of 255 bytes carry messages."""
    peer = talk.peer
    peer.call("exchange.declare", exchange=LONGEST, type="topic")
    peer.queue(LONGEST)
    peer.call("queue.bind", queue=LONGEST, exchange=LONGEST, routing_key=LONGEST)
    peer.send(publish(LONGEST, exchange=LONGEST))
    got, _ = peer.get(LONGEST)
    assert (got.text("exchange"), got.text("routing_key")) == (LONGEST, LONGEST)
    peer.call("basic.consume", queue=LONGEST, consumer_tag=LONGEST)
    peer.send(publish(LONGEST, reply_to=LONGEST, message_id=LONGEST))
    peer.expect("basic.deliver", consumer_tag=LONGEST, routing_key=LONGEST)
    assert peer.content().properties == {"reply_to": LONGEST, "message_id": LONGEST}


def longest_name_by_dead_letter(talk: Conversation) -> None:
    """They do for dead letters."""
    peer = talk.peer
    peer.call("exchange.declare", exchange=LONGEST, type="fanout")
    peer.queue(LONGEST)
    peer.call("queue.bind", queue=LONGEST, exchange=LONGEST, routing_key=LONGEST)
    source = peer.queue(arguments={"x-dead-letter-exchange": LONGEST, "x-dead-letter-routing-key": LONGEST})
    peer.send(publish(source))
    got, _ = peer.get(source, no_ack=False)
    peer.send(method("basic.reject", delivery_tag=got.number("delivery_tag")))
    wait_for_one(talk, LONGEST)
    got, content = peer.get(LONGEST)
    assert (got.text("exchange"), got.text("routing_key")) == (LONGEST, LONGEST)
    assert content.headers["x-first-death-queue"] == source


def wait_for_one(talk: Conversation, queue: str) -> None:
    """Until the dead letter has arrived."""
    for _ in range(100):
        if talk.peer.ready(queue):
            return
        talk.peer.nothing(0.02)
    raise AssertionError(f"nothing came to {queue}")


FIRST = entry("x-max-length", 1)
SECOND = entry("x-max-length", 5)
TWICE = FIRST + SECOND


def holds_one(talk: Conversation) -> None:
    """The first of two equal keys counts."""
    talk.peer.send(publish(Q, b"1") + publish(Q, b"2"))
    assert talk.peer.get(Q)[1].body == b"2"
    talk.peer.get_nothing(Q)


NAME_ROWS = [
    row(118, "nul in a name", *declared(f"{Q}\0z"), publish(f"{Q}\0z"), lambda talk: talk.peer.get(f"{Q}\0z")),
    row(
        119,
        "cr and lf in a queue's name",
        method("queue.declare", queue=f"\r{Q}\n\r\nz\n", exclusive=True),
        echoes(f"{Q}z"),
    ),
    row(
        119,
        "cr and lf in an exchange's name",
        *call("exchange.declare", exchange=f"{Q}\r\nx", type="direct"),
        *call("exchange.declare", exchange=f"{Q}x", passive=True),
        leaves=(("exchange", f"{Q}x"),),
    ),
    row(120, "name of 255 bytes", longest_name_end_to_end, leaves=(("exchange", LONGEST),)),
    row(
        120,
        "name of 255 bytes for dead letters",
        longest_name_by_dead_letter,
        leaves=(("exchange", LONGEST),),
        later="dead-lettering comes later",
    ),
    row(120, "name of 255 bytes that are no letters", *declared(unique("é" * 122 + "x"))),
    row(121, "two equal keys", declare(TWICE), DECLARED, holds_one, later="x-max-length comes later"),
    row(121, "two equal keys, re-declared by the first", declare(TWICE), DECLARED, declare(FIRST), DECLARED),
    row(
        121,
        "two equal keys, re-declared by the second",
        declare(TWICE),
        DECLARED,
        declare(SECOND),
        C(406, "inequivalent arg 'x-max-length'", "queue.declare"),
    ),
    *(
        row(
            122,
            f"re-declare {case_of(one)} as {case_of(other)}",
            declare(entry("x-max-length", tagged(one, 100))),
            DECLARED,
            declare(entry("x-max-length", tagged(other, 100))),
            DECLARED,
        )
        for one, other in (("l", "L"), ("I", "l"), ("l", "s"), ("b", "I"), ("s", "u"), ("i", "B"))
    ),
]


def round_trip(number: int, case: str, value: Value, rmq: Step | None = None) -> Row:
    """A header and a declare argument of this value; the header comes back with the same bytes."""
    headers = entry("v", value) + entry("after", 1)

    def comes_back(talk: Conversation) -> None:
        got = talk.peer.get(Q)[1]
        assert got.raw == frames.properties({"headers": Raw(headers)}), f"headers changed: {got.raw!r}"

    return row(
        number, case, declare(entry("some", value)), DECLARED, publish(Q, headers=Raw(headers)), comes_back, rmq=rmq
    )


NOT_A_NUMBER = struct.pack(">d", float("nan"))
VALUE_ROWS = [
    *(
        row(
            123,
            f"{name} in headers",
            *declared(Q),
            publish(Q, headers=Raw(entry("v", Raw(data)))),
            Works(),
            rmq=X(541),
        )
        for name, data in (("nan 64", b"d" + NOT_A_NUMBER), ("infinity 32", b"f\x7f\x80\0\0"))
    ),
    round_trip(123, "nan comes back", Raw(b"d" + NOT_A_NUMBER), rmq=Unchecked("its reader crashes")),
    round_trip(123, "infinity comes back", tagged("d", float("-inf")), rmq=Unchecked("its reader crashes")),
    round_trip(124, "decimal of scale 255", frames.decimal(255, 2**31)),
    round_trip(125, "negative timestamp", Raw(b"T" + struct.pack(">q", -5))),
    *(round_trip(125, f"a value of {case_of(tag)}", tagged(tag, 1)) for tag in "tbBsuIilLfdT"),
    round_trip(125, "void, bytes, array, table", [None, b"\0\xff", ["x", {"k": 1.5}]]),
]

UNKNOWN: list[Ids] = [(70, 10), (99, 10), (50, 99), (50, 11 + 100), (0, 0), (65535, 65535)]


def unknown(method_ids: Ids, on: int) -> Row:
    """A class or method that does not exist: we say so, RabbitMQ cuts us off."""
    case = f"method {method_ids[0]} {method_ids[1]} on channel {on}"
    return row(126, case, raw_method(method_ids, b"", on), X(540, "", method_ids), rmq=CUT_OFF)


FROM_SERVER = [
    "queue.declare-ok",
    "basic.deliver",
    "basic.get-empty",
    "channel.open-ok",
    "basic.return",
    "tx.select-ok",
]
# RabbitMQ judges a method with content when the content is complete.
CONTENT = {"basic.deliver": frames.header(0), "basic.return": frames.header(0)}
METHOD_ROWS = [
    *(unknown(method_ids, on) for method_ids in UNKNOWN for on in (0, 1)),
    *(
        row(
            127,
            f"{name} from a client",
            method(name) + CONTENT.get(name, b""),
            X(503, "", name),
        )
        for name in FROM_SERVER
    ),
    row(128, "access.request", method("access.request", realm="/data"), reply("access.request-ok", ticket=1)),
    row(
        129,
        "basic.cancel-ok from a client",
        method("basic.cancel-ok", consumer_tag="t"),
        Works(),
        rmq=X(503, "", "basic.cancel-ok"),
    ),
    row(
        130,
        "basic.credit",
        method("basic.credit", consumer_tag="t", credit=5),
        X(540, "", "basic.credit"),
        rmq=C(406),
        note="RabbitMQ has an extension of this id",
    ),
]

ROWS: list[Row] = NESTING_ROWS + TRUNCATED_ROWS + DECODE_ROWS + NAME_ROWS + VALUE_ROWS + METHOD_ROWS
