"""C.6, second part: consumers, exclusive queues, direct reply-to and heartbeats."""

from __future__ import annotations

import time

from .. import frames
from ..answers import C, Works, X
from ..client import CAPABILITIES, Closed, Handshake, Silence
from ..conversation import Conversation
from ..frames import Argument, Value, method, publish
from ..row import Row, Step, call, declared, row, unique

Q = unique("consuming")
NONE = unique("no-queue")
NO_QUEUE = f"^NOT_FOUND - no queue '{NONE}' in vhost '/'$"


def consume(queue: str = Q, tag: str = "t", **values: Argument) -> tuple[Step, Step]:
    """basic.consume and its answer."""
    return call("basic.consume", queue=queue, consumer_tag=tag, **values)


def consume_with(**arguments: Value) -> bytes:
    """basic.consume with arguments."""
    return method("basic.consume", queue=Q, consumer_tag="t", arguments=arguments)


IN_USE = f"^ACCESS_REFUSED - queue '{Q}' in vhost '/' in exclusive use$"


def exclusive_second(talk: Conversation) -> None:
    """An exclusive consumer is refused next to another connection's consumer."""
    refused_consumer(talk, first=False, second=True)


def exclusive_first(talk: Conversation) -> None:
    """Nobody may consume next to an exclusive consumer."""
    refused_consumer(talk, first=True, second=False)


def refused_consumer(talk: Conversation, *, first: bool, second: bool) -> None:
    """The second consumer, on another connection, is refused."""
    talk.peer.queue(Q, exclusive=False, auto_delete=True)
    talk.peer.call("basic.consume", queue=Q, consumer_tag="t", exclusive=first)
    other = talk.connect()
    other.send(method("basic.consume", queue=Q, consumer_tag="t", exclusive=second))
    got = other.expect("channel.close", reply_code=403, class_id=60, method_id=20)
    assert got.text("reply_text") == IN_USE[1:-1]
    other.send(method("channel.close-ok"))


def cancelled(talk: Conversation) -> None:
    """When its queue is deleted a consumer is told, if it can be."""
    peer = talk.peer
    peer.queue(Q)
    peer.call("basic.consume", queue=Q, consumer_tag="t")
    peer.open_channel(2)
    peer.send(method("queue.delete", 2, queue=Q))
    told = {(peer.method().name), (peer.method().name)}
    assert told == {"basic.cancel", "queue.delete-ok"}, told


def cancelled_by_another(talk: Conversation) -> None:
    """The same when another connection deletes it."""
    talk.peer.queue(Q, exclusive=False, auto_delete=True)
    talk.peer.call("basic.consume", queue=Q, consumer_tag="t")
    talk.connect().call("queue.delete", queue=Q)
    talk.peer.expect("basic.cancel", consumer_tag="t", no_wait=True)
    Works()(talk)


def not_told(talk: Conversation) -> None:
    """A client without the capability hears nothing."""
    talk.peer.queue(Q, exclusive=False, auto_delete=True)
    talk.peer.call("basic.consume", queue=Q, consumer_tag="t")
    talk.connect().call("queue.delete", queue=Q)
    talk.peer.nothing(0.4)
    Works()(talk)


NO_CANCEL = Handshake(capabilities={**CAPABILITIES, "consumer_cancel_notify": False})

CONSUME_ROWS = [
    row(138, "consume a missing queue", method("basic.consume", queue=NONE), C(404, NO_QUEUE, "basic.consume")),
    row(138, "get from a missing queue", method("basic.get", queue=NONE), C(404, NO_QUEUE, "basic.get")),
    row(
        139,
        "tag used twice",
        *declared(Q),
        *consume(),
        method("basic.consume", queue=Q, consumer_tag="t"),
        X(530, "^NOT_ALLOWED - attempt to reuse consumer tag 't'$", "basic.consume"),
    ),
    row(
        139,
        "tag used again after cancel",
        *declared(Q),
        *consume(),
        *call("basic.cancel", consumer_tag="t"),
        *consume(),
    ),
    row(
        139,
        "tag of another channel",
        *declared(Q),
        *consume(),
        *call("channel.open", 2),
        *call("basic.consume", 2, queue=Q, consumer_tag="t"),
        Works(2),
    ),
    *(
        row(
            140,
            f"{name} without a queue",
            method(name),
            C(404, "^NOT_FOUND - no previously declared queue$", name),
        )
        for name in ("basic.consume", "basic.get", "queue.purge", "queue.delete")
    ),
    row(
        140,
        "queue.bind without a queue",
        method("queue.bind", exchange="amq.direct", routing_key="k"),
        C(404, "^NOT_FOUND - no previously declared queue$", "queue.bind"),
    ),
    row(140, "the queue declared last", *declared(Q), *call("basic.consume"), *call("queue.purge"), Works()),
    row(141, "exclusive next to a consumer", exclusive_second),
    row(141, "a consumer next to an exclusive one", exclusive_first),
    *(
        row(
            142,
            f"priority that is {name}",
            *declared(Q),
            consume_with(**{"x-priority": value}),
            C(406, "x-priority", "basic.consume"),
        )
        for name, value in (("a string", "high"), ("a float", 1.5), ("a table", {}))
    ),
    row(142, "priority that is negative", *declared(Q), *consume(arguments={"x-priority": -5}), Works()),
    row(143, "own queue deleted", cancelled),
    row(143, "queue deleted by another", cancelled_by_another),
    row(143, "queue deleted, client without the capability", not_told, options=NO_CANCEL),
]

LOCKED = (
    "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{}' in vhost '/'. It could be originally "
    "declared on another connection or the exclusive property value does not match that of the original declaration."
)


def locked(name: str, **values: Argument) -> Row:
    """A method on an exclusive queue of another connection."""

    def refused(talk: Conversation) -> None:
        queue = talk.peer.queue(Q)
        talk.peer.call("queue.bind", queue=Q, exchange="amq.direct", routing_key="k")
        other = talk.connect()
        argument = {"exclusive": True} if name == "queue.declare" else {}
        other.send(method(name, queue=queue, **(argument | values)))
        got = other.expect("channel.close", reply_code=405)
        assert (got.args["class_id"], got.args["method_id"]) == frames.ids(name)
        assert got.text("reply_text").startswith(LOCKED.format(queue)[:200])
        other.send(method("channel.close-ok"))

    suffix = " ".join(values)
    return row(149, f"{name} {suffix} of a locked queue", refused)


def publish_to_locked(talk: Conversation) -> None:
    """A publish to another connection's exclusive queue arrives."""
    talk.peer.queue(Q)
    other = talk.connect()
    other.call("confirm.select")
    other.send(publish(Q, b"from afar", mandatory=True))
    other.expect("basic.ack")
    assert talk.peer.get(Q)[1].body == b"from afar"


EXCLUSIVE_ROWS = [
    locked("queue.declare"),
    locked("queue.declare", passive=True),
    locked("basic.consume"),
    locked("basic.get"),
    locked("queue.delete"),
    locked("queue.purge"),
    locked("queue.bind", exchange="amq.direct", routing_key="k"),
    locked("queue.unbind", exchange="amq.direct", routing_key="k"),
    row(149, "publish to a locked queue", publish_to_locked),
    row(149, "own queue on another channel", *declared(Q), *call("channel.open", 2), *declared(Q, 2), Works(2)),
    row(
        150,
        "exclusive queue as a common one",
        *declared(Q),
        method("queue.declare", queue=Q),
        C(405, "^RESOURCE_LOCKED - cannot obtain exclusive access to locked queue", "queue.declare"),
    ),
    row(
        150,
        "common queue as an exclusive one",
        *declared(unique("common"), exclusive=False),
        method("queue.declare", queue=unique("common"), exclusive=True),
        C(405, "^RESOURCE_LOCKED - cannot obtain exclusive access to locked queue", "queue.declare"),
        leaves=(("queue", unique("common")),),
    ),
]

REPLY_TO = "amq.rabbitmq.reply-to"
REPLY_ROWS = [
    row(
        168,
        "reply-to without a consumer",
        publish("x", reply_to=REPLY_TO),
        C(406, "^PRECONDITION_FAILED - fast reply consumer does not exist$", "basic.publish"),
    ),
    row(
        168,
        "reply consumer with acks",
        method("basic.consume", queue=REPLY_TO),
        C(406, "^PRECONDITION_FAILED - reply consumer cannot acknowledge$", "basic.consume"),
    ),
    row(
        168,
        "reply consumer twice",
        *call("basic.consume", queue=REPLY_TO, consumer_tag="a", no_ack=True),
        method("basic.consume", queue=REPLY_TO, consumer_tag="b", no_ack=True),
        C(406, "^PRECONDITION_FAILED - reply consumer already set$", "basic.consume"),
    ),
]

ONE_SECOND = Handshake(heartbeat=1)


def cut_when_silent(talk: Conversation) -> None:
    """Heartbeats come every half to one second, and the silent client is cut off without a close."""
    begin = time.monotonic()
    times = []
    while True:
        try:
            got = talk.peer.frame(5, heartbeats=True)
        except Closed:
            break
        assert got.kind == frames.HEARTBEAT_TYPE, got.describe()
        times.append(time.monotonic() - begin)
    took = time.monotonic() - begin
    assert 1.8 <= took <= 3.8, f"cut off after {took:.2f} s"
    gaps = [later - earlier for earlier, later in zip([0.0, *times], times, strict=False)]
    assert len(times) >= 2, times
    assert max(gaps) <= 1.4, gaps


def only_data(talk: Conversation) -> None:
    """Frames that are no heartbeats keep the connection as well."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        Works()(talk)
        time.sleep(0.8)


def only_bytes(talk: Conversation) -> None:
    """Even single bytes of a frame do."""
    for byte in method("basic.qos"):
        talk.peer.nothing(0.25)
        talk.peer.send(bytes([byte]))
    talk.peer.expect("basic.qos-ok")


def only_heartbeats(talk: Conversation) -> None:
    """Heartbeats alone do."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        talk.peer.send(frames.HEARTBEAT)
        talk.peer.nothing(0.8)


def no_heartbeats(talk: Conversation) -> None:
    """With heartbeat 0 nothing comes and nobody is cut off."""
    try:
        got = talk.peer.frame(4, heartbeats=True)
    except Silence:
        return
    raise AssertionError(got.describe())


HEARTBEAT_ROWS = [
    row(169, "silent client", cut_when_silent, options=ONE_SECOND),
    row(169, "no heartbeats agreed", no_heartbeats),
    row(170, "data instead of heartbeats", only_data, options=ONE_SECOND),
    row(170, "single bytes instead of heartbeats", only_bytes, options=ONE_SECOND),
    row(170, "heartbeats alone", only_heartbeats, options=ONE_SECOND),
]

ROWS: list[Row] = CONSUME_ROWS + EXCLUSIVE_ROWS + REPLY_ROWS + HEARTBEAT_ROWS
