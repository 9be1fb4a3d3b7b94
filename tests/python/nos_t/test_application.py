"""Simulation applications in the manner of nost-tools: one channel, many consumers, everything nowait."""

import json
import socket
import threading
import time

import pika
import pika.exceptions
import pytest

from support.deadline import eventually
from support.messages import expect_ready
from support.silent_client import SilentClient

TOPICS = [
    "init",
    "start",
    "stop",
    "update",
    "status.time",
    "status.mode",
    "location",
    "detected",
    "reported",
    "observed",
]


class Application(threading.Thread):
    """One connection, one channel, a queue and a consumer for every topic of every other application.

    A channel error is final: like the original it only notes it down, so tests assert that there was none.
    """

    def __init__(self, broker, prefix, name, listens_to, refuse_first=False):
        super().__init__(daemon=True)
        self.parameters = broker.parameters(heartbeat=600, frame_max=131_072, connection_attempts=1)
        self.prefix = prefix
        self.app_name = name
        self.listens_to = listens_to
        self.refuse_first = refuse_first
        self.channel = None
        self.connection = None
        self.received = []
        self.errors = []
        self.ready = threading.Event()
        self.to_ack = 0

    def run(self):
        self.connection = pika.SelectConnection(
            self.parameters,
            on_open_callback=lambda connection: connection.channel(on_open_callback=self.on_channel_open),
            on_open_error_callback=self.on_gone,
            on_close_callback=self.on_gone,
        )
        self.connection.ioloop.start()

    def on_gone(self, connection, reason):
        """The connection is closed."""
        self.errors.append(reason)
        connection.ioloop.stop()

    def on_channel_open(self, channel):
        """Declares, binds and consumes without waiting for any answer but the last."""
        self.channel = channel
        channel.add_on_close_callback(lambda _, reason: self.errors.append(reason))
        channel.basic_qos(prefetch_count=1)
        channel.exchange_declare(self.prefix, "topic", durable=True, auto_delete=True, callback=None)
        for other in self.listens_to:
            for topic in TOPICS:
                self.listen(f"{self.prefix}.{other}.{topic}")
        channel.queue_declare(self.own_queue("done"), durable=True, callback=lambda _: self.ready.set())

    def own_queue(self, key):
        """The queue's name is the routing key and the application."""
        return f"{key}.{self.app_name}"

    def listen(self, key):
        """One queue, one binding, one consumer."""
        queue = self.own_queue(key)
        self.channel.queue_declare(queue, durable=True, auto_delete=False, callback=None)
        self.channel.queue_bind(queue, self.prefix, key, callback=None)
        self.channel.basic_consume(queue, self.on_message, consumer_tag=f"ctag.{self.app_name}.{key}")

    def on_message(self, channel, method, properties, body):
        """A callback of a user, who refuses a message once and otherwise takes it."""
        if self.refuse_first and not method.redelivered:
            channel.basic_reject(method.delivery_tag, requeue=True)
            return
        self.received.append((method.routing_key, method.consumer_tag, json.loads(body), properties))
        channel.basic_ack(method.delivery_tag, multiple=True)

    def send(self, topic, message):
        """Publishes from any thread."""

        def publish():
            properties = pika.BasicProperties(
                expiration="60000", delivery_mode=2, content_type="application/json", app_id=self.app_name
            )
            self.channel.basic_publish(
                self.prefix, f"{self.prefix}.{self.app_name}.{topic}", json.dumps(message), properties
            )

        self.connection.ioloop.add_callback_threadsafe(publish)

    def stop(self):
        """Unbinds, deletes and closes, as the original does at its end."""

        def leave():
            for other in self.listens_to:
                for topic in TOPICS:
                    key = f"{self.prefix}.{other}.{topic}"
                    self.channel.queue_unbind(self.own_queue(key), self.prefix, key, callback=lambda _: None)
                    self.channel.queue_delete(self.own_queue(key), callback=None)
            self.channel.queue_delete(self.own_queue("done"), callback=lambda _: self.connection.close())

        self.connection.ioloop.add_callback_threadsafe(leave)
        self.join(15)
        assert not self.is_alive()

    def vanish(self):
        """Ends the socket without a word."""
        self.connection.ioloop.add_callback_threadsafe(self.connection.ioloop.stop)
        self.join(10)
        self.connection._transport._sock.shutdown(socket.SHUT_RDWR)

    def unexpected(self):
        """Whatever ended the channel or the connection except this client's own close."""
        own = (pika.exceptions.ConnectionClosedByClient, pika.exceptions.ChannelClosedByClient)
        return [error for error in self.errors if not isinstance(error, own)]


@pytest.fixture
def applications(broker):
    """Starts applications and ends them, none of which may have lost its channel."""
    started = []

    def start(*arguments, **options):
        application = Application(broker, *arguments, **options)
        application.start()
        started.append(application)
        assert application.ready.wait(15), application.errors
        return application

    yield start
    for application in started:
        if application.is_alive():
            application.stop()
    assert [application.unexpected() for application in started] == [[] for _ in started]


def test_two_applications_talk_over_twenty_consumers(applications, name):
    prefix = name("sos")
    manager = applications(prefix, "manager", ["sat", "ground"])
    satellite = applications(prefix, "sat", ["manager", "ground"])
    for turn in range(20):
        for topic in TOPICS:
            satellite.send(topic, {"turn": turn, "topic": topic})
    eventually(lambda: len(manager.received) == 20 * len(TOPICS), "everything arrives")
    for topic in TOPICS:
        turns = [message["turn"] for key, _, message, _ in manager.received if key == f"{prefix}.sat.{topic}"]
        assert turns == list(range(20)), topic
    key, tag, _, properties = manager.received[0]
    assert tag == f"ctag.manager.{key}"
    assert (properties.expiration, properties.delivery_mode, properties.app_id) == ("60000", 2, "sat")
    assert satellite.received == []


def test_a_refused_message_comes_again_at_its_place(applications, name):
    prefix = name("sos")
    listener = applications(prefix, "listener", ["talker"], refuse_first=True)
    talker = applications(prefix, "talker", [])
    applications(prefix, "bystander", ["talker"])
    for turn in range(10):
        talker.send("update", turn)
    eventually(lambda: len(listener.received) == 10, "each is taken in the end")
    assert [message for _, _, message, _ in listener.received] == list(range(10))


def test_messages_of_megabytes_of_json(applications, name):
    prefix = name("sos")
    listener = applications(prefix, "listener", ["talker"])
    talker = applications(prefix, "talker", [])
    large = {"points": list(range(300_000))}
    talker.send("location", large)
    eventually(lambda: listener.received, "the large message")
    assert listener.received[0][2] == large


def test_an_application_that_vanishes_comes_back_to_its_queues(applications, channel, name):
    """Its sockets end without a word; durable queues keep what came meanwhile under the same names."""
    prefix = name("sos")
    talker = applications(prefix, "talker", [])
    first = applications(prefix, "listener", ["talker"])
    talker.send("update", 0)
    eventually(lambda: len(first.received) == 1, "the first message")
    first.vanish()
    queue = f"{prefix}.talker.update.listener"
    eventually(lambda: channel.queue_declare(queue, passive=True).method.consumer_count == 0, "the broker notices")
    for turn in (1, 2):
        talker.send("update", turn)
    expect_ready(channel, queue, 2)
    second = applications(prefix, "listener", ["talker"])
    eventually(lambda: len(second.received) == 2, "what came meanwhile")
    assert [message for _, _, message, _ in second.received] == [1, 2]


def test_a_callback_that_takes_its_time_costs_nothing(applications, name):
    """User code blocks the thread of the connection for seconds; the broker is no stricter than agreed."""
    prefix = name("sos")
    listener = applications(prefix, "listener", ["talker"])
    talker = applications(prefix, "talker", [])
    listener.connection.ioloop.add_callback_threadsafe(lambda: time.sleep(3))
    for turn in range(50):
        talker.send("update", turn)
    eventually(lambda: len(listener.received) == 50, "everything arrives after the pause")


def test_the_exchange_goes_with_the_last_queue_and_comes_again(applications, connect, name):
    prefix = name("sos")
    for _ in range(2):
        talker = applications(prefix, "talker", [])
        listener = applications(prefix, "listener", ["talker"])
        talker.send("init", 1)
        eventually(lambda who=listener: who.received, "a message")
        listener.stop()
        assert listener.unexpected() == []
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
            connect().channel().exchange_declare(prefix, passive=True)
        assert closed.value.reply_code == 404
        talker.stop()


@pytest.mark.own_broker
def test_the_settings_of_its_operators(leveret, name):
    """Frames of 500000 bytes, channels without limit, heartbeats every ten minutes. pika takes them as offers."""
    broker = leveret({"amqp.frame_max": 500_000, "amqp.channel_max": 0, "amqp.heartbeat": 600})
    with SilentClient(broker) as client:
        assert (client.tune.frame_max, client.tune.channel_max, client.tune.heartbeat) == (500_000, 0, 600)
    prefix = name("sos")
    listener, talker = Application(broker, prefix, "listener", ["talker"]), Application(broker, prefix, "talker", [])
    for application in (listener, talker):
        application.start()
        assert application.ready.wait(15), application.errors
    talker.send("location", {"points": list(range(200_000))})
    eventually(lambda: listener.received, "the message")
    for application in (listener, talker):
        application.stop()
        assert application.unexpected() == []


def test_nowait_declares_and_binds_act_in_their_order(connect, name):
    """Nothing is answered, so what follows relies on the order alone."""
    channel = connect().channel()
    impl = channel._impl
    exchange, queues = name("x"), [name("q") for _ in range(50)]
    impl.exchange_declare(exchange, "topic", durable=True, auto_delete=True, callback=None)
    for queue in queues:
        impl.queue_declare(queue, durable=True, callback=None)
        impl.queue_bind(queue, exchange, f"k.{queue}", callback=None)
        impl.basic_publish(exchange, f"k.{queue}", queue.encode())
    for queue in queues:
        assert channel.basic_get(queue, auto_ack=True)[2] == queue.encode()
    impl.queue_unbind(queues[0], exchange, f"k.{queues[0]}")
    for queue in queues:
        impl.queue_delete(queue, callback=None)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        channel.exchange_declare(exchange, passive=True)
