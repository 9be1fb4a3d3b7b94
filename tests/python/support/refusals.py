"""What a pika client can do wrong: each wrong call with the reply code and words it must get."""

import pika

from support.messages import Consumer, publish


class Scene:
    """What an erroneous call may need: a connection with two channels, another connection, names."""

    def __init__(self, connect, name):
        self.connect = connect
        self.name = name
        self.connection = connect()
        self.channel = self.connection.channel()

    def stranger(self):
        """A channel on another connection."""
        return self.connect().channel()

    def queue(self, **options):
        """A fresh queue."""
        queue = self.name("q")
        self.channel.queue_declare(queue, **options)
        return queue

    def exchange(self, kind="direct", **options):
        """A fresh exchange."""
        exchange = self.name("x")
        self.channel.exchange_declare(exchange, kind, **options)
        return exchange

    def exclusive(self):
        """A queue that is exclusive to another connection."""
        queue = self.name("exclusive")
        self.stranger().queue_declare(queue, exclusive=True)
        return queue


def sync_publish(channel, exchange, routing_key, properties=None):
    """Publishes with confirm, so that the refusal arrives in the call."""
    channel.confirm_delivery()
    channel.basic_publish(exchange, routing_key, b"x", properties)


def redeclared(scene, first, second, **what):
    """A queue declared twice, differently."""
    queue = scene.queue(**first)
    scene.channel.queue_declare(queue, **second, **what)


def unacknowledged(scene, count=1):
    """Tags of messages got and not acknowledged."""
    queue = scene.queue()
    publish(scene.channel, "", queue, *["m"] * count)
    return [scene.channel.basic_get(queue)[0].delivery_tag for _ in range(count)]


def then_sync(call):
    """A call without reply, then one with a reply in which the refusal arrives."""

    def both(scene):
        call(scene)
        scene.channel.queue_declare("", exclusive=True)

    return both


def acked_twice(scene):
    """The same tag acknowledged twice."""
    (tag,) = unacknowledged(scene)
    scene.channel.basic_ack(tag)
    scene.channel.basic_ack(tag)


def tag_of_another_channel(scene):
    """A tag that another channel was given."""
    tags = unacknowledged(scene)
    scene.channel = scene.connection.channel()
    scene.channel.basic_ack(tags[0])


def exclusive_after_ordinary(scene):
    """An exclusive consumer where there is one already."""
    queue = scene.queue()
    Consumer(scene.stranger(), queue)
    Consumer(scene.channel, queue, exclusive=True)


def ordinary_after_exclusive(scene):
    """A consumer beside an exclusive one."""
    queue = scene.queue()
    Consumer(scene.stranger(), queue, exclusive=True)
    Consumer(scene.channel, queue)


def delete_not_empty(scene):
    """if-empty on a queue with a message."""
    queue = scene.queue()
    publish(scene.channel, "", queue, "m")
    scene.channel.queue_delete(queue, if_empty=True)


def delete_in_use(scene):
    """if-unused on a queue with a consumer."""
    queue = scene.queue()
    Consumer(scene.stranger(), queue)
    scene.channel.queue_delete(queue, if_unused=True)


def get_beside_single_active(scene):
    """basic.get from a quorum queue that is for one consumer."""
    arguments = {"x-queue-type": "quorum", "x-single-active-consumer": True}
    scene.channel.basic_get(scene.queue(durable=True, arguments=arguments))


def confirm_then_tx(scene):
    """Confirm mode, then a transaction."""
    scene.channel.confirm_delivery()
    scene.channel.tx_select()


def tx_then_confirm(scene):
    """A transaction, then confirm mode."""
    scene.channel.tx_select()
    scene.channel.confirm_delivery()


def second_reply_consumer(scene):
    """Two consumers of the reply pseudo queue on one channel."""
    for _ in range(2):
        Consumer(scene.channel, "amq.rabbitmq.reply-to", auto_ack=True)


def unbind_of_an_exclusive_queue(scene):
    """Removing a binding that exists; a missing one would be no error."""
    queue = scene.name("exclusive")
    owner = scene.stranger()
    owner.queue_declare(queue, exclusive=True)
    owner.queue_bind(queue, "amq.direct", "k")
    scene.channel.queue_unbind(queue, "amq.direct", "k")


def bind_exchange_in_use(scene):
    """if-unused on an exchange that has a binding."""
    exchange = scene.exchange()
    scene.channel.queue_bind(scene.queue(), exchange, "k")
    scene.channel.exchange_delete(exchange, if_unused=True)


def reused_tag(scene):
    """The same consumer tag twice on a channel. pika refuses that itself, so its own list is emptied between."""
    queue = scene.queue()
    impl = scene.channel._impl
    for _ in range(2):
        impl._send_method(pika.spec.Basic.Consume(queue=queue, consumer_tag="t"))
    scene.channel.queue_declare("", exclusive=True)


def immediate(scene):
    """A publish with the immediate bit, which pika's own call no longer sets."""
    method = pika.spec.Basic.Publish(exchange="", routing_key=scene.queue(), immediate=True)
    scene.channel._impl._send_method(method, (pika.BasicProperties(), b"x"))
    scene.channel.queue_declare("", exclusive=True)


# name: (reply code, words of the reply text, where {} is a name the call made, the call)
CHANNEL_ERRORS = {
    # 403
    "declare the default exchange": (
        403,
        "operation not permitted on the default exchange",
        lambda s: s.channel.exchange_declare("", "direct"),
    ),
    "delete the default exchange": (
        403,
        "operation not permitted on the default exchange",
        lambda s: s.channel.exchange_delete(""),
    ),
    "bind to the default exchange": (
        403,
        "operation not permitted on the default exchange",
        lambda s: s.channel.queue_bind(s.queue(), "", "k"),
    ),
    "unbind from the default exchange": (
        403,
        "operation not permitted on the default exchange",
        lambda s: s.channel.queue_unbind(s.queue(), "", "k"),
    ),
    "declare an exchange amq.*": (
        403,
        "exchange name 'amq.mine' contains reserved prefix 'amq.*'",
        lambda s: s.channel.exchange_declare("amq.mine", "direct"),
    ),
    "declare a queue amq.*": (
        403,
        "queue name 'amq.mine' contains reserved prefix 'amq.*'",
        lambda s: s.channel.queue_declare("amq.mine"),
    ),
    "delete amq.direct": (
        403,
        "deletion of system exchange 'amq.direct' in vhost '/' not allowed",
        lambda s: s.channel.exchange_delete("amq.direct"),
    ),
    "publish to an internal exchange": (
        403,
        "cannot publish to internal exchange",
        lambda s: sync_publish(s.channel, s.exchange("fanout", internal=True), "k"),
    ),
    "exclusive after ordinary consumer": (403, "in exclusive use", exclusive_after_ordinary),
    "ordinary after exclusive consumer": (403, "in exclusive use", ordinary_after_exclusive),
    # 404
    "passive declare of a missing queue": (
        404,
        "no queue '{}' in vhost '/'",
        lambda s: s.channel.queue_declare(s.name("missing"), passive=True),
    ),
    "passive declare of a missing exchange": (
        404,
        "no exchange '{}' in vhost '/'",
        lambda s: s.channel.exchange_declare(s.name("missing"), passive=True),
    ),
    "publish to a missing exchange": (
        404,
        "no exchange '{}' in vhost '/'",
        lambda s: sync_publish(s.channel, s.name("missing"), "k"),
    ),
    "consume from a missing queue": (
        404,
        "no queue '{}' in vhost '/'",
        lambda s: Consumer(s.channel, s.name("missing")),
    ),
    "get from a missing queue": (404, "no queue '{}' in vhost '/'", lambda s: s.channel.basic_get(s.name("missing"))),
    "purge a missing queue": (404, "no queue '{}' in vhost '/'", lambda s: s.channel.queue_purge(s.name("missing"))),
    "bind a missing queue": (
        404,
        "no queue '{}' in vhost '/'",
        lambda s: s.channel.queue_bind(s.name("missing"), "amq.direct", "k"),
    ),
    "bind to a missing exchange": (
        404,
        "no exchange '{}' in vhost '/'",
        lambda s: s.channel.queue_bind(s.queue(), s.name("missing"), "k"),
    ),
    "bind an exchange to a missing one": (
        404,
        "no exchange '{}' in vhost '/'",
        lambda s: s.channel.exchange_bind("amq.fanout", s.name("missing"), "k"),
    ),
    "no previously declared queue": (404, "no previously declared queue", lambda s: s.channel.basic_get("")),
    # 405
    "declare another's exclusive queue": (
        405,
        "cannot obtain exclusive access to locked queue '{}' in vhost '/'",
        lambda s: s.channel.queue_declare(s.exclusive(), exclusive=True),
    ),
    "passive declare of another's exclusive queue": (
        405,
        "locked queue",
        lambda s: s.channel.queue_declare(s.exclusive(), passive=True),
    ),
    "consume from another's exclusive queue": (405, "locked queue", lambda s: Consumer(s.channel, s.exclusive())),
    "get from another's exclusive queue": (405, "locked queue", lambda s: s.channel.basic_get(s.exclusive())),
    "purge another's exclusive queue": (405, "locked queue", lambda s: s.channel.queue_purge(s.exclusive())),
    "delete another's exclusive queue": (405, "locked queue", lambda s: s.channel.queue_delete(s.exclusive())),
    "bind another's exclusive queue": (
        405,
        "locked queue",
        lambda s: s.channel.queue_bind(s.exclusive(), "amq.direct", "k"),
    ),
    "unbind another's exclusive queue": (405, "locked queue", unbind_of_an_exclusive_queue),
    "redeclare a shared queue as exclusive": (405, "locked queue", lambda s: redeclared(s, {}, {"exclusive": True})),
    "redeclare an own exclusive queue as shared": (
        405,
        "locked queue",
        lambda s: redeclared(s, {"exclusive": True}, {}),
    ),
    # 406
    "redeclare durable as transient": (
        406,
        "inequivalent arg 'durable' for queue '{}' in vhost '/': received 'false' but current is 'true'",
        lambda s: redeclared(s, {"durable": True}, {}),
    ),
    "redeclare with auto_delete": (
        406,
        "inequivalent arg 'auto_delete' for queue '{}' in vhost '/': received 'true' but current is 'false'",
        lambda s: redeclared(s, {}, {"auto_delete": True}),
    ),
    "redeclare without an argument": (
        406,
        "inequivalent arg 'x-message-ttl' for queue '{}' in vhost '/': received none but current is the value '1000'",
        lambda s: redeclared(s, {"arguments": {"x-message-ttl": 1000}}, {}),
    ),
    "redeclare with one more argument": (
        406,
        "inequivalent arg 'x-max-length' for queue '{}' in vhost '/': received the value '5'",
        lambda s: redeclared(s, {}, {"arguments": {"x-max-length": 5}}),
    ),
    "redeclare an exchange of another type": (
        406,
        "inequivalent arg 'type' for exchange '{}' in vhost '/': received 'fanout' but current is 'direct'",
        lambda s: s.channel.exchange_declare(s.exchange("direct"), "fanout"),
    ),
    "redeclare an exchange as durable": (
        406,
        "inequivalent arg 'durable' for exchange",
        lambda s: s.channel.exchange_declare(s.exchange("direct"), "direct", durable=True),
    ),
    "delete a queue that is not empty": (406, "queue '{}' in vhost '/' not empty", delete_not_empty),
    "delete a queue in use": (406, "queue '{}' in vhost '/' in use", delete_in_use),
    "delete an exchange in use": (406, "in vhost '/' in use", bind_exchange_in_use),
    "ack an unknown tag": (406, "unknown delivery tag 9", then_sync(lambda s: s.channel.basic_ack(9))),
    "ack tag 0 alone": (406, "unknown delivery tag 0", then_sync(lambda s: s.channel.basic_ack(0))),
    "ack many up to an unknown tag": (
        406,
        "unknown delivery tag 9",
        then_sync(lambda s: s.channel.basic_ack(9, multiple=True)),
    ),
    "nack an unknown tag": (406, "unknown delivery tag 9", then_sync(lambda s: s.channel.basic_nack(9))),
    "reject an unknown tag": (406, "unknown delivery tag 9", then_sync(lambda s: s.channel.basic_reject(9))),
    "ack twice": (406, "unknown delivery tag 1", then_sync(acked_twice)),
    "ack a tag of another channel": (406, "unknown delivery tag 1", then_sync(tag_of_another_channel)),
    "commit without transaction": (406, "channel is not transactional", lambda s: s.channel.tx_commit()),
    "rollback without transaction": (406, "channel is not transactional", lambda s: s.channel.tx_rollback()),
    "confirm, then transaction": (406, "cannot switch from confirm to tx mode", confirm_then_tx),
    "transaction, then confirm": (406, "cannot switch from tx to confirm mode", tx_then_confirm),
    "message TTL below 0": (
        406,
        "invalid arg 'x-message-ttl' for queue '{}' in vhost '/'",
        lambda s: s.queue(arguments={"x-message-ttl": -1}),
    ),
    "message TTL as text": (406, "invalid arg 'x-message-ttl'", lambda s: s.queue(arguments={"x-message-ttl": "1000"})),
    "expires 0": (406, "invalid arg 'x-expires'", lambda s: s.queue(arguments={"x-expires": 0})),
    "max-length below 0": (406, "invalid arg 'x-max-length'", lambda s: s.queue(arguments={"x-max-length": -1})),
    "max-priority 256": (406, "invalid arg 'x-max-priority'", lambda s: s.queue(arguments={"x-max-priority": 256})),
    "overflow nonsense": (406, "invalid arg 'x-overflow'", lambda s: s.queue(arguments={"x-overflow": "zzz"})),
    "dead letter key without exchange": (
        406,
        "x-dead-letter-routing-key",
        lambda s: s.queue(arguments={"x-dead-letter-routing-key": "k"}),
    ),
    "alternate exchange as number": (
        406,
        "alternate-exchange",
        lambda s: s.exchange(arguments={"alternate-exchange": 1}),
    ),
    "headers binding with a bad x-match": (
        406,
        "x-match",
        lambda s: s.channel.queue_bind(s.queue(), "amq.headers", "", {"x-match": "some"}),
    ),
    "expiration that is no number": (
        406,
        "invalid expiration 'soon': no_integer",
        lambda s: sync_publish(s.channel, "", "k", pika.BasicProperties(expiration="soon")),
    ),
    "expiration with a unit": (
        406,
        "invalid expiration '1.5s': {leftover_string,\".5s\"}",
        lambda s: sync_publish(s.channel, "", "k", pika.BasicProperties(expiration="1.5s")),
    ),
    "expiration of over ten years": (
        406,
        "invalid expiration '315360000001': {value_too_large,315360000001}",
        lambda s: sync_publish(s.channel, "", "k", pika.BasicProperties(expiration="315360000001")),
    ),
    "expiration below 0": (
        406,
        "invalid expiration '-1': {value_negative,-1}",
        lambda s: sync_publish(s.channel, "", "k", pika.BasicProperties(expiration="-1")),
    ),
    "somebody else's user id": (
        406,
        "user_id property set to 'somebody' but authenticated user was 'guest'",
        lambda s: sync_publish(s.channel, "", "k", pika.BasicProperties(user_id="somebody")),
    ),
    "CC that is no list": (
        406,
        "invalid message: {unacceptable_type_in_header,\"CC\",longstr}",
        lambda s: sync_publish(s.channel, "", "k", pika.BasicProperties(headers={"CC": "k"})),
    ),
    "get from a quorum queue with a single active consumer": (
        405,
        "basic.get operations are not supported by quorum queues with single active consumer",
        get_beside_single_active,
    ),
    "consumer priority as text": (
        406,
        "x-priority",
        lambda s: Consumer(s.channel, s.queue(), arguments={"x-priority": "high"}),
    ),
}

# The same for direct reply-to.
REPLY_TO_ERRORS = {
    "reply consumer with acks": (
        406,
        "reply consumer cannot acknowledge",
        lambda s: Consumer(s.channel, "amq.rabbitmq.reply-to"),
    ),
    "second reply consumer": (406, "reply consumer already set", second_reply_consumer),
    "reply-to without a reply consumer": (
        406,
        "fast reply consumer does not exist",
        lambda s: sync_publish(s.channel, "", "k", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to")),
    ),
}

CONNECTION_ERRORS = {
    "reuse of a consumer tag": (530, "attempt to reuse consumer tag 't'", reused_tag),
    "prefetch size": (540, "prefetch_size!=0 (100)", lambda s: s.channel.basic_qos(prefetch_size=100)),
    "recover without requeue": (540, "", lambda s: s.channel.basic_recover(requeue=False)),
    "immediate": (540, "immediate=true", immediate),
}
