"""C.6, first part: acknowledgements, prefetch, confirms and transactions (W131 to W137, W165 to W167)."""

from __future__ import annotations

from ..answers import C, ChannelClose, Content, Nothing, Works, X, reply
from ..conversation import Conversation
from ..frames import method, publish
from ..row import Row, Step, call, declared, row, unique

Q = unique("settling")
READY = (*declared(Q), publish(Q))
GET = method("basic.get", queue=Q)
GOT = (*READY, GET, reply("basic.get-ok", delivery_tag=1), Content())


def unknown(tag: int, name: str) -> ChannelClose:
    """C406 for a delivery tag that is not outstanding."""
    return C(406, f"^PRECONDITION_FAILED - unknown delivery tag {tag}$", name)


def settle(name: str, tag: int, **values: bool) -> bytes:
    """ack, reject or nack."""
    return method(name, delivery_tag=tag, **values)


SETTLING = ("basic.ack", "basic.reject", "basic.nack")

TAG_ROWS = [
    *(row(131, f"{name} of an unknown tag", settle(name, 5), unknown(5, name)) for name in SETTLING),
    *(row(131, f"{name} of tag 0", settle(name, 0), unknown(0, name)) for name in SETTLING),
    *(row(131, f"{name} twice", *GOT, settle(name, 1) * 2, unknown(1, name)) for name in SETTLING),
    *(
        row(131, f"{name} of the largest tag", *GOT, settle(name, 2**64 - 1), unknown(2**64 - 1, name))
        for name in SETTLING
    ),
    row(131, "ack of tag 0 with a message out", *GOT, settle("basic.ack", 0), unknown(0, "basic.ack")),
    row(
        131,
        "ack of another channel's tag",
        *GOT,
        *call("channel.open", 2),
        method("basic.ack", 2, delivery_tag=1),
        C(406, "^PRECONDITION_FAILED - unknown delivery tag 1$", "basic.ack", on=2),
        settle("basic.ack", 1),
        Works(),
    ),
    row(
        131,
        "ack after a get that needs none",
        *READY,
        method("basic.get", queue=Q, no_ack=True),
        reply("basic.get-ok", delivery_tag=1),
        Content(),
        settle("basic.ack", 1),
        unknown(1, "basic.ack"),
    ),
    row(
        131,
        "unknown tag in a transaction",
        *call("tx.select"),
        settle("basic.ack", 9),
        unknown(9, "basic.ack"),
    ),
    row(
        131,
        "twice in a transaction",
        *GOT,
        *call("tx.select"),
        settle("basic.ack", 1) * 2,
        unknown(1, "basic.ack"),
    ),
    row(
        131,
        "ack after multiple",
        *GOT,
        settle("basic.ack", 1, multiple=True),
        settle("basic.ack", 1),
        unknown(1, "basic.ack"),
    ),
    row(132, "all of nothing", settle("basic.ack", 0, multiple=True), Works()),
    row(132, "nack all of nothing", settle("basic.nack", 0, multiple=True, requeue=True), Works()),
    row(132, "all twice", *GOT, settle("basic.ack", 0, multiple=True) * 2, Works()),
    row(133, "up to 5 of nothing", settle("basic.ack", 5, multiple=True), unknown(5, "basic.ack")),
    row(133, "nack up to 5 of nothing", settle("basic.nack", 5, multiple=True), unknown(5, "basic.nack")),
    row(133, "up to 5 of one", *GOT, settle("basic.ack", 5, multiple=True), unknown(5, "basic.ack")),
]

AGAIN = (GET, reply("basic.get-ok", delivery_tag=2, redelivered=True), Content())
RECOVER_ROWS = [
    row(134, "recover without requeue", method("basic.recover"), X(540, "^NOT_IMPLEMENTED", "basic.recover")),
    row(
        134,
        "recover-async without requeue",
        method("basic.recover-async"),
        X(540, "^NOT_IMPLEMENTED", "basic.recover-async"),
    ),
    row(135, "recover", *GOT, *call("basic.recover", requeue=True), *AGAIN),
    row(135, "recover-async", *GOT, method("basic.recover-async", requeue=True), *AGAIN),
    row(135, "recover nothing", *call("basic.recover", requeue=True), Works()),
    row(135, "recover-async nothing", method("basic.recover-async", requeue=True), Nothing(0.2), Works()),
    row(
        136,
        "prefetch size",
        method("basic.qos", prefetch_size=100),
        X(540, r"^NOT_IMPLEMENTED - prefetch_size!=0 \(100\)$", "basic.qos"),
    ),
    row(
        137,
        "cancel of an unknown tag",
        method("basic.cancel", consumer_tag="nobody"),
        reply("basic.cancel-ok", consumer_tag="nobody"),
    ),
    row(137, "cancel of an empty tag", method("basic.cancel"), reply("basic.cancel-ok", consumer_tag="")),
    row(137, "cancel without an answer", method("basic.cancel", consumer_tag="x", no_wait=True), Nothing(0.2), Works()),
]


def missing(name: str) -> str:
    """The text for a queue that is not there."""
    return f"^NOT_FOUND - no queue '{name}' in vhost '/'$"


NONE = unique("no-queue")
NO_X = unique("no-exchange")
NO_WAIT: tuple[tuple[bytes, ChannelClose], ...] = (
    (method("queue.bind", queue=NONE, exchange="amq.direct", no_wait=True), C(404, missing(NONE), "queue.bind")),
    (method("queue.purge", queue=NONE, no_wait=True), C(404, missing(NONE), "queue.purge")),
    (method("basic.consume", queue=NONE, no_wait=True), C(404, missing(NONE), "basic.consume")),
    (method("queue.declare", queue="amq.x", no_wait=True), C(403, "reserved prefix", "queue.declare")),
    (
        method("exchange.declare", exchange=NO_X, passive=True, no_wait=True),
        C(404, f"^NOT_FOUND - no exchange '{NO_X}' in vhost '/'$", "exchange.declare"),
    ),
    (method("exchange.delete", exchange="amq.topic", no_wait=True), C(403, "", "exchange.delete")),
)


def quiet(name: str, *before: Step, **values: str) -> Row:
    """A no-wait method that goes well has no answer."""
    return row(165, f"{name} without an answer", *before, method(name, no_wait=True, **values), Nothing(0.2), Works())


NO_WAIT_ROWS = [
    *(row(165, f"error {n} of a method without an answer", *steps) for n, steps in enumerate(NO_WAIT, 1)),
    quiet("queue.declare", queue=""),
    quiet("confirm.select"),
    quiet("queue.bind", *declared(Q), queue=Q, exchange="amq.direct"),
    quiet("basic.consume", *declared(Q), queue=Q, consumer_tag="t"),
    quiet("queue.purge", *declared(Q), queue=Q),
    quiet("queue.delete", *declared(Q), queue=Q),
]

NOT_TX = "^PRECONDITION_FAILED - channel is not transactional$"
TX_ROWS = [
    row(166, "commit outside", method("tx.commit"), C(406, NOT_TX, "tx.commit")),
    row(166, "rollback outside", method("tx.rollback"), C(406, NOT_TX, "tx.rollback")),
    row(
        166,
        "transaction on a confirm channel",
        *call("confirm.select"),
        method("tx.select"),
        C(406, "^PRECONDITION_FAILED - cannot switch from confirm to tx mode$", "tx.select"),
    ),
    row(
        166,
        "confirms on a transactional channel",
        *call("tx.select"),
        method("confirm.select"),
        C(406, "^PRECONDITION_FAILED - cannot switch from tx to confirm mode$", "confirm.select"),
    ),
    row(167, "tx.select twice", *call("tx.select") * 2, *call("tx.commit"), Works()),
    row(167, "confirm.select twice", *call("confirm.select") * 2, publish(NONE), reply("basic.ack", delivery_tag=1)),
    row(
        167,
        "numbers go on after a second confirm.select",
        *call("confirm.select"),
        publish(NONE),
        reply("basic.ack", delivery_tag=1),
        *call("confirm.select"),
        publish(NONE),
        reply("basic.ack", delivery_tag=2),
    ),
]


def rolled_back(talk: Conversation) -> None:
    """After a rollback the publish is gone and the acked message is out again."""
    peer = talk.peer
    peer.call("tx.select")
    peer.send(publish(Q, b"gone") + settle("basic.ack", 1))
    peer.call("tx.rollback")
    peer.send(settle("basic.ack", 1))
    peer.call("tx.commit")
    peer.get_nothing(Q)


TX_ROWS.append(row(167, "rollback", *GOT, rolled_back))

ROWS: list[Row] = TAG_ROWS + RECOVER_ROWS + NO_WAIT_ROWS + TX_ROWS
