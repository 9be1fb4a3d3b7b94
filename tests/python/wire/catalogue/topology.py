"""C.6, third part: queues, exchanges and bindings (W144 to W164)."""

from __future__ import annotations

from ..answers import C, Reply, Works, X, reply
from ..conversation import Conversation
from ..frames import Argument, Value, method, publish, tagged
from ..row import Row, Step, call, declared, row, unique

Q = unique("topology")
X1 = unique("x1")
X2 = unique("x2")
NONE = unique("none")
NO_QUEUE = f"^NOT_FOUND - no queue '{NONE}' in vhost '/'$"
NO_EXCHANGE = f"^NOT_FOUND - no exchange '{NONE}' in vhost '/'$"
GONE = (("exchange", X1), ("exchange", X2))
BIG = 2**40


def exchange(name: str, kind: str = "direct", **values: Argument) -> tuple[Step, Step]:
    """exchange.declare and its answer."""
    return call("exchange.declare", exchange=name, type=kind, **values)


def declare(**arguments: Value) -> bytes:
    """queue.declare with arguments whose underscores stand for dashes."""
    return method("queue.declare", queue=Q, exclusive=True, arguments=dashed(arguments))


def dashed(arguments: dict[str, Value]) -> dict[str, Value]:
    """x_message_ttl stands for x-message-ttl."""
    return {key.replace("_", "-"): value for key, value in arguments.items()}


DECLARED = reply("queue.declare-ok")
DEFAULT = "^ACCESS_REFUSED - operation not permitted on the default exchange$"

RESERVED_ROWS = [
    row(
        144,
        "passive declare of a missing queue",
        method("queue.declare", queue=NONE, passive=True),
        C(404, NO_QUEUE, "queue.declare"),
    ),
    row(
        144,
        "passive declare of a missing exchange",
        method("exchange.declare", exchange=NONE, passive=True),
        C(404, NO_EXCHANGE, "exchange.declare"),
    ),
    row(
        145,
        "queue amq.x",
        method("queue.declare", queue="amq.x"),
        C(403, r"^ACCESS_REFUSED - queue name 'amq\.x' contains reserved prefix 'amq\.\*'$", "queue.declare"),
    ),
    row(
        145,
        "exchange amq.x",
        method("exchange.declare", exchange="amq.x", type="direct"),
        C(403, r"^ACCESS_REFUSED - exchange name 'amq\.x' contains reserved prefix 'amq\.\*'$", "exchange.declare"),
    ),
    row(145, "exchange amq.direct again", *exchange("amq.direct", "direct", durable=True), Works()),
    row(145, "passive declare of a server-named queue", lambda talk: talk.peer.ready(talk.peer.queue()), Works()),
]


def differs(case: str, first: bytes, second: bytes, argument: str, received: str, current: str) -> Row:
    """A re-declare that is not equivalent."""
    text = f"^PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{Q}' in vhost '/': received {received} but current is {current}$"
    return row(146, case, first, DECLARED, second, C(406, text, "queue.declare"), leaves=(("queue", Q),))


def flags(**values: bool) -> bytes:
    """queue.declare with these flags, not exclusive."""
    return method("queue.declare", queue=Q, **values)


def shared(**arguments: Value) -> bytes:
    """queue.declare with arguments, not exclusive."""
    return method("queue.declare", queue=Q, arguments=dashed(arguments))


INEQUIVALENT_ROWS = [
    differs("durable", flags(), flags(durable=True), "durable", "'true'", "'false'"),
    differs("not durable", flags(durable=True), flags(), "durable", "'false'", "'true'"),
    differs("auto-delete", flags(), flags(auto_delete=True), "auto_delete", "'true'", "'false'"),
    differs(
        "argument missing",
        shared(x_message_ttl=1000),
        shared(),
        "x-message-ttl",
        "none",
        "the value '1000' of type '(signedint|long)'",
    ),
    differs(
        "argument too much",
        shared(),
        shared(x_max_length=5),
        "x-max-length",
        "the value '5' of type '(signedint|long)'",
        "none",
    ),
    differs(
        "other value",
        shared(x_max_length=4),
        shared(x_max_length=5),
        "x-max-length",
        "'5'",
        "'4'",
    ),
    differs(
        "other dead letter exchange",
        shared(x_dead_letter_exchange="a"),
        shared(x_dead_letter_exchange="b"),
        "x-dead-letter-exchange",
        "'b'",
        "'a'",
    ),
    *(
        row(
            146,
            f"exchange {case}",
            *exchange(X1, **first),
            method("exchange.declare", exchange=X1, type="direct", **second),
            C(
                406,
                f"^PRECONDITION_FAILED - inequivalent arg '{argument}' for exchange '{X1}' in vhost '/': received {texts}$",
                "exchange.declare",
            ),
            leaves=GONE,
        )
        for case, first, second, argument, texts in (
            ("durable", {}, {"durable": True}, "durable", "'true' but current is 'false'"),
            ("auto-delete", {}, {"auto_delete": True}, "auto_delete", "'true' but current is 'false'"),
            ("internal", {}, {"internal": True}, "internal", "'true' but current is 'false'"),
            (
                "alternate exchange",
                {},
                {"arguments": {"alternate-exchange": "a"}},
                "alternate-exchange",
                "the value 'a' of type 'longstr' but current is none",
            ),
        )
    ),
]

INVALID = f"^PRECONDITION_FAILED - invalid arg '{{}}' for queue '{Q}' in vhost '/'"


def invalid(case: str, key: str, value: Value, **others: Value) -> Row:
    """An argument of wrong type or range."""
    return row(
        147,
        f"{key[2:]} {case}",
        method("queue.declare", queue=Q, exclusive=True, arguments={key: value, **dashed(others)}),
        C(406, INVALID.format(key), "queue.declare"),
    )


def accepted(case: str, **arguments: Value) -> Row:
    """Arguments that are taken."""
    return row(147, case, declare(**arguments), DECLARED, Works())


ARGUMENT_ROWS = [
    invalid("of minus 1", "x-message-ttl", -1),
    invalid("that is a string", "x-message-ttl", "1000"),
    invalid("of 2 to the 40", "x-message-ttl", BIG),
    invalid("that is a float", "x-message-ttl", 1.5),
    invalid("that is void", "x-message-ttl", None),
    invalid("that is a boolean", "x-message-ttl", True),
    invalid("of 0", "x-expires", 0),
    invalid("of minus 1", "x-expires", -1),
    invalid("that is a string", "x-expires", "1000"),
    invalid("of 2 to the 40", "x-expires", BIG),
    invalid("of minus 1", "x-max-length", -1),
    invalid("that is a string", "x-max-length", "5"),
    invalid("of minus 1", "x-max-length-bytes", -1),
    invalid("of 256", "x-max-priority", 256),
    invalid("of minus 1", "x-max-priority", -1),
    invalid("that is a string", "x-max-priority", "5"),
    invalid("of zzz", "x-overflow", "zzz"),
    invalid("that is a number", "x-overflow", 1),
    invalid("without an exchange", "x-dead-letter-routing-key", "k"),
    invalid("that is a number", "x-dead-letter-routing-key", 5, x_dead_letter_exchange=""),
    row(
        147,
        "dead letter exchange that is a number",
        declare(x_dead_letter_exchange=5),
        C(406, "x-dead-letter-exchange", "queue.declare"),
    ),
    row(
        147,
        "single active consumer that is a string",
        declare(x_single_active_consumer="x"),
        C(406, "x-single-active-consumer"),
    ),
    row(147, "queue type that is unknown", declare(x_queue_type="zzz"), C(406)),
    accepted("max-priority 0", x_max_priority=0),
    accepted("max-priority 255", x_max_priority=255),
    accepted("message-ttl 0", x_message_ttl=0),
    accepted("message-ttl at the limit", x_message_ttl=315_360_000_000),
    accepted("expires 1 hour", x_expires=3_600_000),
    accepted("max-length 0", x_max_length=0),
    accepted("overflow drop-head", x_overflow="drop-head"),
    accepted("overflow reject-publish", x_overflow="reject-publish"),
    accepted("dead letter exchange that is missing", x_dead_letter_exchange=NONE, x_dead_letter_routing_key="k"),
    accepted("queue type classic", x_queue_type="classic"),
    accepted("queue mode", x_queue_mode="lazy"),
    *(
        row(
            147,
            f"message-ttl of type {'small' if tag.islower() else 'big'} {tag}",
            declare(x_message_ttl=tagged(tag, 100)),
            DECLARED,
        )
        for tag in "bBsuIilL"
    ),
    row(148, "unknown argument", declare(x_unknown="a"), DECLARED, Works()),
    row(148, "unknown argument differs", declare(x_unknown="a"), DECLARED, declare(x_unknown=5), DECLARED),
    row(148, "unknown argument missing", declare(x_unknown="a"), DECLARED, declare(), DECLARED),
    row(148, "argument without x", declare(alpha=[1, {"b": None}]), DECLARED),
]


def deleted(count: int) -> Reply:
    """delete-ok with this many messages."""
    return reply("queue.delete-ok", message_count=count)


BINDING: dict[str, Argument] = {"queue": Q, "exchange": X1, "routing_key": "k"}
DELETE_ROWS = [
    row(151, "delete a missing queue", method("queue.delete", queue=NONE), deleted(0)),
    row(151, "delete a missing exchange", *call("exchange.delete", exchange=NONE)),
    row(
        151,
        "delete if unused a missing queue",
        method("queue.delete", queue=NONE, if_unused=True, if_empty=True),
        deleted(0),
    ),
    row(151, "delete says how many", *declared(Q), publish(Q) * 3, method("queue.delete", queue=Q), deleted(3)),
    row(
        152,
        "delete if unused with a consumer",
        *declared(Q),
        *call("basic.consume", queue=Q, consumer_tag="t"),
        method("queue.delete", queue=Q, if_unused=True),
        C(406, f"^PRECONDITION_FAILED - queue '{Q}' in vhost '/' in use$", "queue.delete"),
    ),
    row(
        152,
        "delete if empty with a message",
        *declared(Q),
        publish(Q),
        method("queue.delete", queue=Q, if_empty=True),
        C(406, f"^PRECONDITION_FAILED - queue '{Q}' in vhost '/' not empty$", "queue.delete"),
    ),
    row(
        152,
        "delete if unused an exchange with a binding",
        *declared(Q),
        *exchange(X1),
        *call("queue.bind", **BINDING),
        method("exchange.delete", exchange=X1, if_unused=True),
        C(406, f"^PRECONDITION_FAILED - exchange '{X1}' in vhost '/' in use$", "exchange.delete"),
        leaves=GONE,
    ),
    row(
        152,
        "delete if unused without consumers",
        *declared(Q),
        method("queue.delete", queue=Q, if_unused=True, if_empty=True),
        deleted(0),
    ),
    row(153, "purge a missing queue", method("queue.purge", queue=NONE), C(404, NO_QUEUE, "queue.purge")),
    row(
        153,
        "purge says how many",
        *declared(Q),
        publish(Q) * 3,
        method("queue.purge", queue=Q),
        reply("queue.purge-ok", message_count=3),
    ),
]

AMQ = "amq.direct"
BIND_ROWS = [
    row(154, "bind a missing queue", method("queue.bind", queue=NONE, exchange=AMQ), C(404, NO_QUEUE, "queue.bind")),
    row(
        154,
        "bind to a missing exchange",
        *declared(Q),
        method("queue.bind", queue=Q, exchange=NONE),
        C(404, NO_EXCHANGE, "queue.bind"),
    ),
    row(
        154,
        "bind a missing exchange as destination",
        method("exchange.bind", destination=NONE, source=AMQ),
        C(404, NO_EXCHANGE, "exchange.bind"),
    ),
    row(
        154,
        "bind a missing exchange as source",
        method("exchange.bind", destination=AMQ, source=NONE),
        C(404, NO_EXCHANGE, "exchange.bind"),
    ),
    *(
        row(155, case, *before, send, C(403, DEFAULT, name))
        for case, before, send, name in (
            ("bind the default exchange", declared(Q), method("queue.bind", queue=Q), "queue.bind"),
            (
                "unbind the default exchange",
                declared(Q),
                method("queue.unbind", queue=Q, routing_key=Q),
                "queue.unbind",
            ),
            ("default exchange as source", (), method("exchange.bind", destination=AMQ), "exchange.bind"),
            ("default exchange as destination", (), method("exchange.bind", source=AMQ), "exchange.bind"),
            ("unbind the default exchange from another", (), method("exchange.unbind", source=AMQ), "exchange.unbind"),
            ("declare the default exchange", (), method("exchange.declare", type="direct"), "exchange.declare"),
            (
                "passive declare of the default exchange",
                (),
                method("exchange.declare", passive=True),
                "exchange.declare",
            ),
            ("delete the default exchange", (), method("exchange.delete"), "exchange.delete"),
        )
    ),
    row(156, "unbind what is not bound", *declared(Q), *call("queue.unbind", queue=Q, exchange=AMQ, routing_key="no")),
    row(156, "unbind a missing exchange", *declared(Q), *call("queue.unbind", queue=Q, exchange=NONE)),
    row(156, "unbind a missing queue", *call("queue.unbind", queue=NONE, exchange=AMQ)),
    row(156, "unbind a missing destination", *call("exchange.unbind", destination=NONE, source=AMQ)),
    row(156, "unbind a missing source", *call("exchange.unbind", destination=AMQ, source=NONE)),
    *(
        row(
            157,
            f"delete {name}",
            method("exchange.delete", exchange=name),
            C(
                403,
                f"^ACCESS_REFUSED - deletion of system exchange '{name}' in vhost '/' not allowed$",
                "exchange.delete",
            ),
        )
        for name in ("amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match")
    ),
]


def unknown_type(kind: str) -> Row:
    """An exchange type that does not exist."""
    text = f"(unknown|invalid) exchange type '{kind}'$"
    return row(
        158,
        f"exchange type {kind or 'empty'}",
        method("exchange.declare", exchange=X1, type=kind),
        C(406, f"^PRECONDITION_FAILED - {text}", "exchange.declare"),
        rmq=X(503, f"^COMMAND_INVALID - {text}", "exchange.declare"),
    )


EXCHANGE_ROWS = [
    unknown_type("zzz"),
    unknown_type(""),
    row(
        159,
        "exchange of another type",
        *exchange(X1, "direct"),
        method("exchange.declare", exchange=X1, type="fanout"),
        C(
            406,
            f"^PRECONDITION_FAILED - inequivalent arg 'type' for exchange '{X1}' in vhost '/': received 'fanout' but current is 'direct'$",
            "exchange.declare",
        ),
        leaves=GONE,
    ),
    row(160, "passive declare with another type", *exchange(X1), *exchange(X1, "fanout", passive=True), leaves=GONE),
    row(160, "passive declare with an unknown type", *exchange(X1), *exchange(X1, "zzz", passive=True), leaves=GONE),
    row(160, "passive declare without a type", *exchange(X1), *exchange(X1, "", passive=True), leaves=GONE),
    row(
        161,
        "alternate exchange that is a number",
        method("exchange.declare", exchange=X1, type="direct", arguments={"alternate-exchange": 5}),
        C(406, "alternate-exchange", "exchange.declare"),
    ),
    row(161, "alternate exchange that is missing", *exchange(X1, arguments={"alternate-exchange": NONE}), leaves=GONE),
    *(
        row(
            162,
            f"x-match that is {case}",
            *declared(Q),
            method("queue.bind", queue=Q, exchange="amq.headers", arguments={"x-match": value}),
            C(406, "x-match|Invalid", "queue.bind"),
        )
        for case, value in (("zzz", "zzz"), ("a number", 5), ("empty", ""), ("void", None))
    ),
    *(
        row(
            162,
            f"x-match {value}",
            *declared(Q),
            *call("queue.bind", queue=Q, exchange="amq.headers", arguments={"x-match": value}),
        )
        for value in ("all", "any")
    ),
]


def one_copy(talk: Conversation) -> None:
    """The queue behind a cycle has one message."""
    talk.peer.send(publish("k", b"once", exchange=X1))
    assert talk.peer.get(Q)[1].body == b"once"
    talk.peer.get_nothing(Q)


CYCLE: tuple[Step, ...] = (
    *declared(Q),
    *exchange(X1, "fanout"),
    *exchange(X2, "fanout"),
    *call("exchange.bind", destination=X2, source=X1),
    *call("exchange.bind", destination=X1, source=X2),
    *call("exchange.bind", destination=X1, source=X1),
)

LOOP_ROWS = [
    row(163, "exchanges in a cycle", *CYCLE, *call("queue.bind", queue=Q, exchange=X2), one_copy, leaves=GONE),
    row(
        163,
        "queue bound twice behind a cycle",
        *CYCLE,
        *call("queue.bind", queue=Q, exchange=X1),
        *call("queue.bind", queue=Q, exchange=X2),
        one_copy,
        leaves=GONE,
    ),
    row(
        163,
        "dead letters to the queue itself",
        *declared(Q, arguments={"x-message-ttl": 0, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": Q}),
        *call("confirm.select"),
        publish(Q),
        reply("basic.ack"),
        lambda talk: talk.peer.nothing(0.3),
        lambda talk: talk.peer.get_nothing(Q),
        later="dead-lettering comes later",
    ),
    row(
        164,
        "reject-publish at the limit",
        *declared(Q, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}),
        *call("confirm.select"),
        publish(Q),
        reply("basic.ack", delivery_tag=1),
        publish(Q),
        reply("basic.nack", delivery_tag=2),
        lambda talk: talk.peer.get(Q),
        later="reject-publish comes later",
    ),
]

ROWS: list[Row] = (
    RESERVED_ROWS + INEQUIVALENT_ROWS + ARGUMENT_ROWS + DELETE_ROWS + BIND_ROWS + EXCHANGE_ROWS + LOOP_ROWS
)
