"""Every operation of AMQP 0-9-1 with the rights it needs: (right, kind, name), in the order they are looked at."""

from support.messages import Consumer

GENERATED = "amq.gen-"


class Operation:
    """What a channel does, what rights that needs, and whether any one of the first's is enough."""

    def __init__(self, do, *needs, any_right=False):
        self.do = do
        self._needs = needs
        self.any_right = any_right

    def needs(self, names):
        """The rights with the names of a case."""
        return [(right, kind, getattr(names, name, name)) for right, kind, name in self._needs]


def purge(channel, names):
    """queue.purge."""
    channel.queue_purge(names.queue)


def consume(channel, names):
    """basic.consume, and what comes is acknowledged."""
    Consumer(channel, names.queue, each=lambda on, delivery: on.basic_ack(delivery.tag))


def get_and_settle(channel, names):
    """basic.get, and what was got is acknowledged."""
    method, _, _ = channel.basic_get(names.queue)
    channel.basic_ack(method.delivery_tag)


def commit_a_publish(channel, names):
    """A publish in a transaction."""
    channel.tx_select()
    channel.basic_publish(names.exchange, "k", b"x")
    channel.tx_commit()


def reply(channel, names):
    """A reply to a requester."""
    channel.basic_publish("", names.reply_to, b"x")


def request(channel, _):
    """Consuming direct replies, and asking whether one may."""
    Consumer(channel, "amq.rabbitmq.reply-to", auto_ack=True)
    channel.queue_declare("amq.rabbitmq.reply-to", passive=True)


def settle_nothing(channel, _):
    """What needs no right at all."""
    channel.basic_qos(prefetch_count=1)
    channel.basic_recover(requeue=True)
    channel.basic_cancel("nobody")
    channel.tx_select()
    channel.tx_commit()
    channel.tx_rollback()


def confirm(channel, _):
    """confirm.select."""
    channel.confirm_delivery()


def bind_exchange(channel, names):
    """exchange.bind of a new binding."""
    channel.exchange_bind(names.exchange, names.source, "new")


def unbind_exchange(channel, names):
    """exchange.unbind."""
    channel.exchange_unbind(names.exchange, names.source, "k")


CONFIGURE_X = ("configure", "exchange", "exchange")
CONFIGURE_Q = ("configure", "queue", "queue")
NEW_X = ("configure", "exchange", "new")
NEW_Q = ("configure", "queue", "new")
WRITE_DEFAULT = ("write", "exchange", "amq.default")

OPERATIONS = {
    "exchange.declare": Operation(lambda c, n: c.exchange_declare(n.new, "fanout"), NEW_X),
    "exchange.declare of a topic exchange": Operation(lambda c, n: c.exchange_declare(n.new, "topic"), NEW_X),
    "exchange.declare, with an alternate exchange": Operation(
        lambda c, n: c.exchange_declare(n.new, "fanout", arguments={"alternate-exchange": n.alternate}),
        NEW_X,
        ("read", "exchange", "new"),
        ("write", "exchange", "alternate"),
    ),
    "exchange.declare, again": Operation(
        lambda c, n: c.exchange_declare(n.exchange, "direct", arguments={"alternate-exchange": n.alternate}),
        CONFIGURE_X,
    ),
    "exchange.declare, passive": Operation(
        lambda c, n: c.exchange_declare(n.exchange, passive=True), CONFIGURE_X, any_right=True
    ),
    "exchange.delete": Operation(lambda c, n: c.exchange_delete(n.exchange), CONFIGURE_X),
    "exchange.delete of a missing one": Operation(lambda c, n: c.exchange_delete(n.new), NEW_X),
    "exchange.bind": Operation(bind_exchange, ("write", "exchange", "exchange"), ("read", "exchange", "source")),
    "exchange.unbind": Operation(unbind_exchange, ("write", "exchange", "exchange"), ("read", "exchange", "source")),
    "queue.declare": Operation(lambda c, n: c.queue_declare(n.new), NEW_Q),
    "queue.declare, server-named": Operation(
        lambda c, n: c.queue_declare("", exclusive=True), ("configure", "queue", GENERATED)
    ),
    "queue.declare, with dead letters": Operation(
        lambda c, n: c.queue_declare(n.new, arguments={"x-dead-letter-exchange": n.alternate}),
        NEW_Q,
        ("read", "queue", "new"),
        ("write", "exchange", "alternate"),
    ),
    "queue.declare, with dead letters by the default exchange": Operation(
        lambda c, n: c.queue_declare(n.new, arguments={"x-dead-letter-exchange": ""}),
        NEW_Q,
        ("read", "queue", "new"),
        WRITE_DEFAULT,
    ),
    "queue.declare, again": Operation(
        lambda c, n: c.queue_declare(n.queue, arguments={"x-dead-letter-exchange": n.alternate}), CONFIGURE_Q
    ),
    "queue.declare, passive": Operation(lambda c, n: c.queue_declare(n.queue, passive=True), CONFIGURE_Q, any_right=True),
    "queue.delete": Operation(lambda c, n: c.queue_delete(n.queue), CONFIGURE_Q),
    "queue.delete of a missing one": Operation(lambda c, n: c.queue_delete(n.new), NEW_Q),
    "queue.bind": Operation(
        lambda c, n: c.queue_bind(n.queue, n.source, "new"), ("write", "queue", "queue"), ("read", "exchange", "source")
    ),
    "queue.bind to a topic exchange": Operation(
        lambda c, n: c.queue_bind(n.queue, n.topic, "#"), ("write", "queue", "queue"), ("read", "exchange", "topic")
    ),
    "queue.unbind": Operation(
        lambda c, n: c.queue_unbind(n.queue, n.source, "k"), ("write", "queue", "queue"), ("read", "exchange", "source")
    ),
    "queue.purge": Operation(purge, ("read", "queue", "queue")),
    "basic.publish": Operation(lambda c, n: c.basic_publish(n.exchange, "k", b"x"), ("write", "exchange", "exchange")),
    "basic.publish to a topic exchange": Operation(
        lambda c, n: c.basic_publish(n.topic, "k", b"x"), ("write", "exchange", "topic")
    ),
    "basic.publish by the default exchange": Operation(lambda c, n: c.basic_publish("", n.queue, b"x"), WRITE_DEFAULT),
    "basic.publish in a transaction": Operation(commit_a_publish, ("write", "exchange", "exchange")),
    "basic.publish of a reply": Operation(reply, WRITE_DEFAULT),
    "basic.get, basic.ack": Operation(get_and_settle, ("read", "queue", "queue")),
    "basic.consume, basic.ack": Operation(consume, ("read", "queue", "queue")),
    "basic.consume of direct replies": Operation(request),
    "basic.qos, basic.recover, basic.cancel, tx": Operation(settle_nothing),
    "confirm.select": Operation(confirm),
}
