"""pika's SelectConnection: a publisher with confirms, and a consumer that reconnects."""

import threading
import time

import pika
import pika.exceptions
import pytest

from support.broker import free_port
from support.deadline import eventually
from support.messages import PERSISTENT, drain, publish

RECONNECT_SECONDS = 0.2


class Loop(threading.Thread):
    """Runs one SelectConnection's loop. Subclasses are chains of callbacks, as users of it write them."""

    def __init__(self, parameters):
        super().__init__(daemon=True)
        self.parameters = parameters
        self.connection = None
        self.channel = None
        self.closed_with = []
        self.stopping = False

    def run(self):
        self.connect()

    def connect(self):
        """Connects and serves until the loop is stopped."""
        self.connection = pika.SelectConnection(
            self.parameters,
            on_open_callback=lambda connection: connection.channel(on_open_callback=self.on_channel_open),
            on_open_error_callback=self.on_gone,
            on_close_callback=self.on_gone,
        )
        self.connection.ioloop.start()

    def on_channel_open(self, channel):
        """Begins the work."""
        self.channel = channel
        self.on_ready()

    def on_ready(self):
        """What to do with the open channel."""

    def on_gone(self, connection, reason):
        """The connection could not be opened, or is closed."""
        self.closed_with.append(reason)
        connection.ioloop.stop()

    def stop(self):
        """Closes the connection in its own thread and waits for the end."""
        self.stopping = True
        if self.connection.is_open:
            self.connection.ioloop.add_callback_threadsafe(self.connection.close)
        self.join(10)
        assert not self.is_alive()


class Publisher(Loop):
    """Publishes a number of messages and books every confirm."""

    def __init__(self, parameters, queue, count):
        super().__init__(parameters)
        self.queue = queue
        self.count = count
        self.acked = set()
        self.confirms = []
        self.returned = []

    def on_ready(self):
        self.channel.add_on_return_callback(lambda _, method, __, body: self.returned.append((method.reply_code, body)))
        self.channel.confirm_delivery(self.on_confirm, callback=lambda _: self.publish_all())

    def publish_all(self):
        """Everything at once; the confirms come when they come."""
        for number in range(self.count):
            self.channel.basic_publish("", self.queue, str(number), PERSISTENT, mandatory=True)

    def on_confirm(self, frame):
        """One or many are confirmed."""
        method = frame.method
        assert isinstance(method, pika.spec.Basic.Ack), method
        first = max(self.acked, default=0) + 1 if method.multiple else method.delivery_tag
        numbers = set(range(1, method.delivery_tag + 1)) - self.acked if method.multiple else {method.delivery_tag}
        assert numbers, f"{method.delivery_tag} confirmed a second time, after {first - 1}"
        assert not numbers & self.acked
        self.acked |= numbers
        self.confirms.append(method.delivery_tag)


class Consumer(Loop):
    """Consumes with acknowledgement and connects again whenever the broker has closed the connection."""

    def __init__(self, parameters, queue):
        super().__init__(parameters)
        self.queue = queue
        self.bodies = []
        self.sessions = 0

    def run(self):
        while not self.stopping:
            self.connect()
            time.sleep(RECONNECT_SECONDS)

    def on_ready(self):
        self.channel.add_on_cancel_callback(lambda _: self.connection.close())
        self.channel.basic_qos(prefetch_count=5, callback=self.on_qos)

    def on_qos(self, _):
        """Declares the queue, since the broker may have come back empty."""
        self.channel.queue_declare(self.queue, durable=True, callback=self.on_declared)

    def on_declared(self, _):
        """Begins to consume."""
        self.channel.basic_consume(self.queue, self.on_message, callback=self.on_consuming)

    def on_consuming(self, _):
        """Messages may come from now on."""
        self.sessions += 1

    def on_message(self, channel, method, _, body):
        """One message."""
        self.bodies.append(body.decode())
        channel.basic_ack(method.delivery_tag)


@pytest.mark.parametrize("count", [1, 1000])
def test_publisher_with_confirms(broker, channel, name, count):
    queue = name("q")
    channel.queue_declare(queue, durable=True)
    publisher = Publisher(broker.parameters(), queue, count)
    publisher.start()
    eventually(lambda: len(publisher.acked) == count, "every message is confirmed exactly once")
    publisher.stop()
    assert publisher.acked == set(range(1, count + 1))
    assert publisher.returned == []
    assert isinstance(publisher.closed_with[0], pika.exceptions.ConnectionClosedByClient)
    assert drain(channel, queue) == [str(number) for number in range(count)]


def test_returns_and_confirms_of_unroutable_messages(broker, name):
    publisher = Publisher(broker.parameters(), name("nowhere"), 20)
    publisher.start()
    eventually(lambda: len(publisher.acked) == 20, "unroutable messages are confirmed too")
    assert publisher.returned == [(312, str(number).encode()) for number in range(20)]
    publisher.stop()


def test_consumer(broker, channel, name):
    queue = name("q")
    channel.queue_declare(queue, durable=True)
    consumer = Consumer(broker.parameters(), queue)
    consumer.start()
    numbers = [str(number) for number in range(200)]
    publish(channel, "", queue, *numbers)
    eventually(lambda: len(consumer.bodies) == 200, "all messages")
    consumer.stop()
    assert consumer.bodies == numbers


def test_consumer_gives_up_its_channel_when_its_queue_is_deleted(broker, channel, name):
    queue = name("q")
    consumer = Consumer(broker.parameters(), queue)
    consumer.start()
    eventually(lambda: consumer.sessions == 1, "the consumer consumes")
    channel.queue_delete(queue)
    eventually(lambda: consumer.sessions == 2, "it was told, closed, and declared the queue again")
    consumer.stop()


@pytest.mark.own_broker
def test_consumer_reconnects_after_the_broker_closed_with_320(leveret, name):
    broker = leveret(port=free_port())
    parameters = broker.parameters()
    queue = name("q")
    consumer = Consumer(parameters, queue)
    consumer.start()
    eventually(lambda: consumer.sessions == 1, "the consumer consumes")
    with pika.BlockingConnection(parameters) as connection:
        publish(connection.channel(), "", queue, "before")
        eventually(lambda: consumer.bodies == ["before"], "the first message")
    assert broker.stop() == 0
    eventually(lambda: consumer.closed_with, "the consumer knows")
    assert isinstance(consumer.closed_with[0], pika.exceptions.ConnectionClosedByBroker)
    assert consumer.closed_with[0].reply_code == 320
    broker.start()
    eventually(lambda: consumer.sessions == 2, "the consumer is back")
    with pika.BlockingConnection(parameters) as connection:
        publish(connection.channel(), "", queue, "after")
        eventually(lambda: consumer.bodies == ["before", "after"], "the second message")
    consumer.stop()
