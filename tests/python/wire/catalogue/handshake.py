"""C.1, first half: the protocol header and the login (W1 to W32)."""

from __future__ import annotations

import re
import struct
import time

from .. import frames
from ..answers import NO_IDS, ConnectionClose, Ends, OwnHeader, Silent, X, reply
from ..client import CAPABILITIES, PATIENCE, Handshake, Stage, plain
from ..conversation import Conversation
from ..frames import BODY, HEADER, PROTOCOL_HEADER, Raw, frame, longstr, method, shortstr
from ..row import Row, Step, row

RAW, STARTED, AUTHENTICATED, TUNED = Stage.RAW, Stage.STARTED, Stage.AUTHENTICATED, Stage.TUNED

SILENT = Silent()
HTTP = b"GET / HTTP/1.1\r\nHost: leveret\r\n\r\n"
CLIENT_HELLO = bytes.fromhex("16030100a5010000a10303") + bytes(range(32)) + bytes(122)

SHORT_DEADLINE = {"amqp.handshake_timeout": "2s"}
AT_DEADLINE = Ends(1.5, 5.0)
AT_RABBITMQS_DEADLINE = Ends(8.0, 12.0)

LOGIN = Handshake()
NOT_CAPABLE = {**CAPABILITIES, "authentication_failure_close": False}
REFUSED = (
    r"^ACCESS_REFUSED - Login was refused using authentication mechanism {}\. For details see the broker logfile\.$"
)


def refused(mechanism: str = "PLAIN") -> ConnectionClose:
    """X403 after the delay for failed logins."""
    return ConnectionClose(403, REFUSED.format(mechanism), NO_IDS, before=(0.8, PATIENCE))


def refused_by_rabbitmq(mechanism: str = "PLAIN") -> ConnectionClose:
    """The same at once."""
    return ConnectionClose(403, REFUSED.format(mechanism), NO_IDS)


def logged(pattern: str) -> Step:
    """The broker's log must have a line that matches, when the log can be read."""

    def check(talk: Conversation) -> None:
        log = talk.target.log
        deadline = time.monotonic() + 3
        while log is not None and not any(re.search(pattern, line) for line in log):
            assert time.monotonic() < deadline, f"no line matches {pattern!r}: {log[-5:]}"
            time.sleep(0.05)

    return check


def start_ok_of(payload: int) -> bytes:
    """A correct start-ok whose payload has this many bytes."""

    def padded(count: int) -> bytes:
        return LOGIN.start_ok(client_properties={"capabilities": CAPABILITIES, "pad": "p" * count})

    overhead = len(frame(BODY, 0, b""))
    return padded(payload - len(padded(0)) + overhead)


def reply_start(talk: Conversation) -> None:
    """connection.start for 0-9."""
    talk.peer.expect("connection.start", 0, version_major=0, version_minor=9)


def speaks_0_8(talk: Conversation) -> None:
    """RabbitMQ 3.10 still speaks 0-8, whose start has the same form."""
    talk.peer.expect("connection.start", 0, version_major=8, version_minor=0)


def goes_on(talk: Conversation) -> None:
    """From a received start to an open connection."""
    talk.peer.stage = STARTED
    talk.peer.advance(Stage.CHANNEL)


def trickle(talk: Conversation) -> None:
    """One byte now and then does not move the deadline."""
    pause, least, most = (1.5, 8.0, 13.0) if talk.target.rabbitmq else (0.3, 1.5, 5.0)
    begin = time.monotonic()
    talk.peer.send(PROTOCOL_HEADER)
    talk.peer.expect("connection.start", 0)
    for byte in LOGIN.start_ok():
        talk.peer.send(bytes([byte]))
        try:
            talk.peer.nothing(pause)
        except AssertionError:
            break
        assert time.monotonic() - begin < most, "a trickle keeps the connection"
    assert talk.peer.ended
    assert time.monotonic() - begin >= least, "closed before the deadline"


PIPELINED = (
    PROTOCOL_HEADER
    + LOGIN.start_ok()
    + method("connection.tune-ok", 0, channel_max=2047, frame_max=131072)
    + method("connection.open", 0, virtual_host="/")
)


def answers_in_order(talk: Conversation) -> None:
    """start, tune and open-ok come one after the other."""
    for name in ("connection.start", "connection.tune", "connection.open-ok"):
        talk.peer.expect(name, 0)
    talk.peer.stage = Stage.OPEN
    talk.peer.open_channel()


def amqplain(table: bytes) -> bytes:
    """A start-ok with this AMQPLAIN response: a table body without its length."""
    return LOGIN.start_ok(mechanism="AMQPLAIN", response=table)


def fields(**values: frames.Value) -> bytes:
    """A table body without its length."""
    return b"".join(frames.entry(key, value) for key, value in values.items())


BAD_END = LOGIN.start_ok()[:-1] + b"\xcd"
BAD_TABLE = LOGIN.start_ok(client_properties=Raw(shortstr("key") + b"Z123"))
CUT_TABLE = LOGIN.start_ok(client_properties=Raw(shortstr("key") + b"S" + struct.pack(">I", 500) + b"x"))


def on_channel_1(data: bytes) -> bytes:
    """The same frame on channel 1."""
    return data[:1] + b"\0\1" + data[3:]


def _login(number: int, case: str, response: bytes, mechanism: str = "PLAIN") -> Row:
    """A login that ends the connection silently."""
    step = LOGIN.start_ok(mechanism=mechanism, response=response)
    return row(number, case, step, SILENT, at=STARTED, fresh=True)


HEADER_ROWS = [
    row(1, "http request", HTTP, OwnHeader(), at=RAW),
    row(1, "http request is logged", HTTP, OwnHeader(), logged("HTTP"), at=RAW, fresh=True),
    row(2, "random bytes", bytes.fromhex("9f3c00e1ffaa0172"), OwnHeader(), at=RAW),
    row(2, "zeros", bytes(8), OwnHeader(), at=RAW),
    row(2, "a frame", method("connection.open", 0), OwnHeader(), at=RAW),
    row(3, "header of 0-9", b"AMQP\1\1\0\x09", reply_start, goes_on, at=RAW),
    row(4, "header of 0-8", b"AMQP\1\1\x08\0", OwnHeader(), at=RAW, rmq=speaks_0_8, note="3.10 speaks 0-8"),
    row(5, "header of 0-10", b"AMQP\1\1\0\x0a", OwnHeader(), at=RAW),
    row(5, "header of 0-10 in the new form", b"AMQP\0\0\x0a\0", OwnHeader(), at=RAW),
    row(6, "header of 1.0 with sasl", b"AMQP\3\1\0\0", OwnHeader(), at=RAW),
    row(6, "header of 1.0", b"AMQP\0\1\0\0", OwnHeader(), at=RAW),
    row(7, "tls client hello", CLIENT_HELLO, OwnHeader(), at=RAW),
    row(7, "tls client hello is logged", CLIENT_HELLO, OwnHeader(), logged("TLS"), at=RAW, fresh=True),
    row(8, "plain amqp on the tls port", at=RAW, later="is in tests/python/tls, which has a TLS listener"),
]

DEADLINE_ROWS = [
    row(
        number,
        case,
        *steps,
        AT_DEADLINE,
        at=stage,
        rmq=AT_RABBITMQS_DEADLINE,
        settings=SHORT_DEADLINE,
        note="RabbitMQ's deadline is 10 s",
    )
    for number, case, stage, steps in (
        (9, "nothing sent", RAW, ()),
        (10, "half a header", RAW, (b"AMQP",)),
        (10, "nothing after start", STARTED, ()),
        (10, "nothing after tune", AUTHENTICATED, ()),
        (10, "no open", TUNED, ()),
    )
] + [row(11, "one byte now and then", trickle, at=RAW, settings=SHORT_DEADLINE)]

FORM_ROWS = [
    row(12, "everything at once", PIPELINED, answers_in_order, at=RAW),
    row(13, "start-ok of 8200 bytes", start_ok_of(8200), SILENT, at=STARTED),
    row(13, "start-ok one byte too long", start_ok_of(8193), SILENT, at=STARTED),
    row(13, "start-ok of exactly 8192", start_ok_of(8192), reply("connection.tune", 0), at=STARTED, rmq=SILENT),
    row(14, "start-ok of 4200 bytes", start_ok_of(4200), reply("connection.tune", 0), at=STARTED, rmq=SILENT),
    row(15, "start-ok with a wrong frame end", BAD_END, SILENT, at=STARTED),
    row(16, "client properties with an unknown tag", BAD_TABLE, SILENT, at=STARTED),
    row(16, "client properties cut off", CUT_TABLE, SILENT, at=STARTED),
    row(17, "start-ok on channel 1", on_channel_1(LOGIN.start_ok()), SILENT, at=STARTED),
    *(
        row(18, f"{name} frame on channel {channel} before login", frame(kind, channel, bytes(14)), SILENT, at=STARTED)
        for name, kind in (("header", HEADER), ("body", BODY))
        for channel in (0, 1)
    ),
    row(18, "frame that claims 4 GiB before login", struct.pack(">BHI", 1, 0, 2**32 - 1), SILENT, at=STARTED),
    row(19, "heartbeats before login", frames.HEARTBEAT * 9, goes_on, at=STARTED),
    row(
        19,
        "too many heartbeats before login",
        frames.HEARTBEAT * 30,
        SILENT,
        at=STARTED,
        rmq=goes_on,
        note="we allow ten",
    ),
    row(20, "tune-ok before start-ok", method("connection.tune-ok", 0), SILENT, at=STARTED),
    row(20, "open before start-ok", method("connection.open", 0, virtual_host="/"), SILENT, at=STARTED),
    row(21, "channel open before start-ok", method("channel.open"), SILENT, at=STARTED),
    row(21, "channel open before tune-ok", method("channel.open"), SILENT, at=AUTHENTICATED),
    row(21, "channel open before open", method("channel.open"), SILENT, at=TUNED, rmq=X(505, "type 1")),
    row(22, "start-ok twice", LOGIN.start_ok(), SILENT, at=AUTHENTICATED),
    row(22, "start-ok after tune-ok", LOGIN.start_ok(), SILENT, at=TUNED, rmq=X(504, "connection state opening")),
]

LOGIN_ROWS = [
    _login(23, "unknown mechanism", plain(), "SCRAM-SHA-256"),
    _login(23, "no mechanism", plain(), ""),
    _login(23, "mechanism in lower case", plain(), "plain"),
    _login(24, "plain without the leading nul", b"guest\0guest"),
    _login(24, "plain that is empty", b""),
    _login(24, "plain with four fields", b"\0guest\0guest\0guest"),
    _login(24, "plain with one field", b"\0guest"),
    *(
        row(25, case, options.start_ok(), refused(), at=STARTED, rmq=refused_by_rabbitmq(), fresh=True)
        for case, options in (
            ("wrong password", Handshake(password="wrong")),
            ("unknown user", Handshake(user="nobody-here", password="wrong")),
        )
    ),
    row(
        25,
        "wrong password by amqplain",
        amqplain(fields(LOGIN="guest", PASSWORD="wrong")),
        refused("AMQPLAIN"),
        at=STARTED,
        rmq=refused_by_rabbitmq("AMQPLAIN"),
        fresh=True,
    ),
    row(
        26,
        "wrong password without the capability",
        Handshake(password="wrong", capabilities=NOT_CAPABLE).start_ok(),
        SILENT,
        at=STARTED,
        fresh=True,
    ),
    row(
        26,
        "wrong password without capabilities",
        Handshake(password="wrong").start_ok(client_properties={}),
        SILENT,
        at=STARTED,
        fresh=True,
    ),
    row(
        27,
        "empty password",
        Handshake(password="").start_ok(),
        refused(),
        at=STARTED,
        rmq=refused_by_rabbitmq(),
        fresh=True,
    ),
    _login(28, "amqplain without a password", fields(LOGIN="guest"), "AMQPLAIN"),
    _login(28, "amqplain without a login", fields(PASSWORD="guest"), "AMQPLAIN"),
    _login(28, "amqplain with numbers", fields(LOGIN=1, PASSWORD=2), "AMQPLAIN"),
    _login(28, "amqplain that is no table", b"\xff\xff\xff\xff", "AMQPLAIN"),
    _login(28, "amqplain that is empty", b"", "AMQPLAIN"),
    row(
        28,
        "amqplain in good order",
        amqplain(fields(LOGIN="guest", PASSWORD="guest")),
        reply("connection.tune", 0),
        at=STARTED,
    ),
    row(29, "guest from afar", at=RAW, later="needs a peer whose address is not loopback"),
    row(29, "guest from mapped loopback", at=Stage.CHANNEL, host="::ffff:127.0.0.1"),
    row(30, "external on a plain port", LOGIN.start_ok(mechanism="EXTERNAL", response=""), SILENT, at=STARTED),
    row(30, "external without a certificate", at=RAW, later="needs a TLS listener"),
    row(31, "unknown locale", LOGIN.start_ok(locale="xx_YY"), reply("connection.tune", 0), at=STARTED),
    row(
        32,
        "secure-ok that nobody asked for",
        method("connection.secure-ok", 0, response=longstr("x")),
        SILENT,
        at=STARTED,
    ),
]

ROWS = HEADER_ROWS + DEADLINE_ROWS + FORM_ROWS + LOGIN_ROWS
