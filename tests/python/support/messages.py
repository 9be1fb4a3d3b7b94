"""Short forms of what nearly every test does with pika: publish some, take some, count."""

import pika

from support.deadline import DEFAULT_SECONDS, eventually, pump

PERSISTENT = pika.BasicProperties(delivery_mode=2)


class Delivery:
    """One delivered message."""

    def __init__(self, method, properties, body):
        self.method = method
        self.properties = properties
        self.body = body

    @property
    def text(self):
        """The body as text."""
        return self.body.decode()

    @property
    def tag(self):
        """The delivery tag."""
        return self.method.delivery_tag


class Consumer:
    """A consumer on a pika blocking channel that keeps what it is given."""

    def __init__(self, channel, queue, auto_ack=False, each=None, **options):
        self.channel = channel
        self.deliveries = []
        self._each = each
        self.tag = channel.basic_consume(queue, self._on_message, auto_ack=auto_ack, **options)

    def _on_message(self, channel, method, properties, body):
        delivery = Delivery(method, properties, body)
        self.deliveries.append(delivery)
        if self._each is not None:
            self._each(channel, delivery)

    def take(self, count, seconds=DEFAULT_SECONDS):
        """Waits until `count` messages have come and answers all so far."""
        pump(
            self.channel.connection,
            lambda: len(self.deliveries) >= count,
            f"{count} deliveries, have {len(self.deliveries)}",
            seconds,
        )
        return self.deliveries

    def texts(self):
        """The bodies so far."""
        return [delivery.text for delivery in self.deliveries]


def publish(channel, exchange, routing_key, *bodies, properties=None, mandatory=False):
    """Publishes the bodies in order."""
    for body in bodies:
        channel.basic_publish(exchange, routing_key, body, properties, mandatory)


def ready(channel, queue):
    """How many messages are ready in the queue."""
    return channel.queue_declare(queue, passive=True).method.message_count


def expect_ready(channel, queue, count):
    """Waits until so many are ready: RabbitMQ answers the question ahead of publishes and acks on their way."""
    seen = [None]

    def are_there():
        seen[0] = ready(channel, queue)
        return seen[0] == count

    eventually(are_there, lambda: f"{count} ready messages in {queue}; there are {seen[0]}")


def is_there(connection, queue):
    """Whether there is a queue of this name."""
    channel = connection.channel()
    try:
        channel.queue_declare(queue, passive=True)
    except pika.exceptions.ChannelClosedByBroker as closed:
        assert closed.reply_code == 404
        return False
    return True


def consumers(channel, queue):
    """How many consumers the queue has."""
    return channel.queue_declare(queue, passive=True).method.consumer_count


def bound_queue(channel, exchange, *keys, arguments=None):
    """A server-named exclusive queue bound with every key."""
    queue = channel.queue_declare("", exclusive=True).method.queue
    for key in keys:
        channel.queue_bind(queue, exchange, key, arguments)
    return queue


def drain(channel, queue):
    """Everything that is ready in the queue, by basic.get, acknowledged."""
    bodies = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return bodies
        bodies.append(body.decode())
