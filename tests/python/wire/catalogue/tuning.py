"""C.1, second half: tune, open and the connection's own methods (W33 to W49)."""

from __future__ import annotations

import contextlib
import time

from .. import frames
from ..answers import ConnectionClose, Opens, Silent, Unchecked, Works, X, end_of_connection, reply
from ..client import PATIENCE, Closed, Stage
from ..conversation import Conversation
from ..frames import Argument, ids, method
from ..row import Row, Step, call, row

AUTHENTICATED, TUNED, OPEN, CHANNEL = Stage.AUTHENTICATED, Stage.TUNED, Stage.OPEN, Stage.CHANNEL

SILENT = Silent()
TUNE_OK = ids("connection.tune-ok")


def tune_ok(**values: int) -> Step:
    """tune-ok with these values, and for the rest what the server offered."""

    def step(talk: Conversation) -> None:
        talk.peer.send(talk.peer.tune_ok(**values))

    return step


def refused(pattern: str) -> ConnectionClose:
    """X530, and the server does not wait for our close-ok."""
    return ConnectionClose(530, pattern, TUNE_OK, wait=False)


def bad_tune(number: int, case: str, pattern: str, **values: int) -> Row:
    """A tune-ok that we refuse with a reason and RabbitMQ 3.10 in silence."""
    return row(number, case, tune_ok(**values), refused(pattern), at=AUTHENTICATED, rmq=SILENT)


def good_tune(number: int, case: str, **values: int) -> Row:
    """A tune-ok that is accepted."""
    return row(number, case, tune_ok(**values), Opens(), at=AUTHENTICATED)


LOWER = r"^NOT_ALLOWED - negotiated {} = {} is lower than the minimum allowed value"
HIGHER = r"^NOT_ALLOWED - negotiated {} = {} is higher than the maximum allowed value"

TUNE_ROWS = [
    bad_tune(33, "frame_max 1024", LOWER.format("frame_max", 1024), frame_max=1024),
    bad_tune(33, "frame_max 4095", LOWER.format("frame_max", 4095), frame_max=4095),
    good_tune(34, "frame_max 4096", frame_max=4096),
    bad_tune(35, "frame_max 0", "negotiated frame_max = 0 ", frame_max=0),
    bad_tune(35, "frame_max above the offer", HIGHER.format("frame_max", 131073), frame_max=131073),
    bad_tune(35, "frame_max of 4 GiB", HIGHER.format("frame_max", 2**32 - 1), frame_max=2**32 - 1),
    bad_tune(36, "channel_max 0", "negotiated channel_max = 0 ", channel_max=0),
    bad_tune(36, "channel_max above the offer", HIGHER.format("channel_max", 2048), channel_max=2048),
    bad_tune(36, "channel_max 65535", HIGHER.format("channel_max", 65535), channel_max=65535),
    good_tune(36, "channel_max 1", channel_max=1),
    good_tune(37, "heartbeat 0", heartbeat=0),
    good_tune(38, "heartbeat 65535", heartbeat=65535),
    good_tune(39, "heartbeat above the offer", heartbeat=600),
    row(40, "open before tune-ok", method("connection.open", 0, virtual_host="/"), SILENT, at=AUTHENTICATED),
]


def closes_at_once(talk: Conversation) -> None:
    """close-ok, then FIN without delay."""
    talk.peer.expect("connection.close-ok", 0)
    end_of_connection(talk, talk.peer)


CLOSE = method("connection.close", 0, reply_code=200, reply_text="bye")


def open_vhost(name: str) -> bytes:
    """connection.open for this vhost."""
    return method("connection.open", 0, virtual_host=name)


OPEN_IDS = ids("connection.open")


def limit_of_connections(talk: Conversation) -> None:
    """With a limit of four the fifth connection is refused, and an end makes room again."""
    others = []
    for _ in range(4):
        peer = talk.connect(TUNED)
        peer.send(open_vhost("/"))
        got = peer.method()
        if got.name == "connection.close":
            break
        peer.stage = OPEN
        others.append(peer)
    else:
        raise AssertionError("the limit does not hold")
    assert 1 <= len(others) <= 3
    assert got.args["reply_code"] == 530
    assert "node connection limit (4) is reached" in got.text("reply_text")
    peer.drop()
    others.pop().bye()
    room_again(talk)


def room_again(talk: Conversation) -> None:
    """A new connection is let in soon."""
    deadline = time.monotonic() + PATIENCE
    while True:
        peer = talk.connect(TUNED)
        peer.send(open_vhost("/"))
        if peer.method().name == "connection.open-ok":
            peer.stage = OPEN
            return
        peer.drop()
        assert time.monotonic() < deadline, "the limit stays reached"
        time.sleep(0.05)


OPEN_ROWS = [
    row(41, "close during tuning", CLOSE, closes_at_once, at=AUTHENTICATED, rmq=SILENT),
    row(41, "close after tune-ok", CLOSE, closes_at_once, at=TUNED, rmq=X(504, "connection state opening")),
    row(42, "unknown vhost", open_vhost("nope"), X(530, "^NOT_ALLOWED - vhost nope not found$", OPEN_IDS), at=TUNED),
    row(42, "vhost without permission", at=TUNED, later="needs users with permissions"),
    row(43, "empty vhost", open_vhost(""), X(530, "^NOT_ALLOWED - vhost  not found$", OPEN_IDS), at=TUNED),
    row(
        45,
        "limit of connections",
        limit_of_connections,
        at=Stage.RAW,
        rmq=Unchecked("it would need a configuration of its own"),
        settings={"limits.connections": "4"},
    ),
    row(45, "limit of a vhost", at=TUNED, later="needs limits per vhost"),
    row(45, "limit of a user", at=TUNED, later="needs limits per user"),
]

NOT_NOW = "^CHANNEL_ERROR - unexpected method in connection state running$"


def wrong_when_running(name: str, **values: Argument) -> Row:
    """A connection method that has no place when the connection runs."""
    return row(44, f"{name} when running", method(name, 0, **values), X(504, NOT_NOW, name), at=CHANNEL)


STATE_ROWS = [
    wrong_when_running("connection.open", virtual_host="/"),
    wrong_when_running("connection.start-ok", mechanism="PLAIN", response="\0guest\0guest"),
    wrong_when_running("connection.tune-ok", channel_max=1, frame_max=4096),
    wrong_when_running("connection.secure-ok"),
    wrong_when_running("connection.start"),
    wrong_when_running("connection.secure"),
    wrong_when_running("connection.tune"),
    wrong_when_running("connection.open-ok"),
    wrong_when_running("connection.blocked"),
    wrong_when_running("connection.unblocked"),
    wrong_when_running("connection.update-secret-ok"),
]


def close_ok_then_end(talk: Conversation) -> None:
    """close-ok, then the end of the connection, and nothing else."""
    talk.peer.expect("connection.close-ok", 0)
    end_of_connection(talk, talk.peer)


def leaves_its_socket_open(talk: Conversation) -> None:
    """Waiting for the client to close its side costs nothing."""
    talk.peer.expect("connection.close-ok", 0)
    used = talk.target.cpu_seconds()
    time.sleep(1.5)
    used = talk.target.cpu_seconds() - used
    assert used < 0.15, f"waiting for the client's end took {used:.1f} s of processor time"
    end_of_connection(talk, talk.peer)


BAD = method("connection.open-ok", 0)
FLOOD = frames.publish("nobody", bytes(100_000)) * 40


def discards_after_our_close(talk: Conversation) -> None:
    """What follows our close is discarded: no answer, no reset."""
    got = talk.peer.expect("connection.close", 0)
    assert got.args["reply_code"] == 504
    talk.peer.send(FLOOD)
    talk.peer.send(method("connection.close-ok", 0))
    end_of_connection(talk, talk.peer)


def forgets_us(talk: Conversation) -> None:
    """Without a close-ok the socket is closed for good after five seconds."""
    begin = time.monotonic()
    used = talk.target.cpu_seconds()
    talk.peer.expect("connection.close", 0)
    while time.monotonic() - begin < 9:
        with contextlib.suppress(ConnectionError):
            talk.peer.sock.sendall(frames.HEARTBEAT)
            time.sleep(0.25)
            continue
        break
    else:
        raise AssertionError("the socket is still there after 9 s")
    assert time.monotonic() - begin >= 3, "the client had no time to answer"
    used = talk.target.cpu_seconds() - used
    assert used < 0.5, f"waiting for a close-ok took {used:.1f} s of processor time"
    with contextlib.suppress(Closed):
        talk.peer.frame(0.1)


END_ROWS = [
    row(
        46,
        "close with the longest text",
        method("connection.close", 0, reply_text="\x01\n" * 127 + "x"),
        close_ok_then_end,
    ),
    row(
        46,
        "close with ids of nothing",
        method("connection.close", 0, reply_code=65535, class_id=9999),
        close_ok_then_end,
    ),
    row(47, "frames after our close", BAD, discards_after_our_close),
    row(47, "no close-ok after our close", BAD, forgets_us, rmq=Unchecked("waits 30 s")),
    row(48, "client leaves its socket open", CLOSE, leaves_its_socket_open),
    row(48, "frames after the client's close", CLOSE + method("queue.declare", queue="x") * 50, closes_at_once),
    row(
        48,
        "close twice",
        CLOSE * 2,
        closes_at_once,
        rmq=(reply("connection.close-ok", 0), closes_at_once),
        note="RabbitMQ answers both",
    ),
    row(49, "update-secret", *call("connection.update-secret", 0, new_secret="new", reason="test"), Works()),
]

ROWS = TUNE_ROWS + OPEN_ROWS + STATE_ROWS + END_ROWS
