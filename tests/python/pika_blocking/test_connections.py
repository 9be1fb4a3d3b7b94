"""Connections: handshake, heartbeats, channels, vhosts, secrets, what survives a peer that vanishes."""

import subprocess
import sys
import threading
import time

import pika
import pika.exceptions
import pika.frame
import pika.spec
import pytest

from support.deadline import DeadlinePassed, eventually
from support.messages import Consumer, bound_queue, drain, expect_ready, publish, ready
from support.silent_client import SilentClient

CAPABILITIES = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
]


def test_server_properties(connect):
    connection = connect()
    properties = connection._impl.server_properties
    assert set(CAPABILITIES) <= set(properties["capabilities"])
    assert set(properties["capabilities"].values()) == {True}
    assert {"product", "version", "platform", "cluster_name"} <= set(properties)
    assert connection.basic_nack_supported
    assert connection.publisher_confirms_supported
    assert connection.consumer_cancel_notify_supported
    assert connection.exchange_exchange_bindings_supported


@pytest.mark.parametrize("user,password", [("guest", "wrong"), ("nobody", "guest"), ("guest", "")])
def test_a_refused_login_is_told(broker, user, password):
    with pytest.raises(pika.exceptions.ProbableAuthenticationError) as refused:
        pika.BlockingConnection(broker.parameters(user=user, password=password))
    assert "403" in str(refused.value)
    assert "Login was refused using authentication mechanism PLAIN" in str(refused.value)


def test_a_missing_vhost_is_told(broker):
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError) as refused:
        pika.BlockingConnection(broker.parameters("no such vhost"))
    assert "530" in str(refused.value)
    assert "vhost no such vhost not found" in str(refused.value)


def test_vhosts_do_not_see_each_other(broker, connect, name):
    if broker.second_vhost is None:
        pytest.skip("this broker has no second vhost for the tests (LEVERET_TEST_VHOST)")
    queue = name("q")
    here, there = connect().channel(), connect(broker.second_vhost).channel()
    for channel, body in ((here, "here"), (there, "there")):
        channel.queue_declare(queue, exclusive=True)
        channel.queue_bind(queue, "amq.fanout")
        publish(channel, "amq.fanout", "", body)
    assert drain(here, queue) == ["here"]
    assert drain(there, queue) == ["there"]
    alone = name("alone")
    here.queue_declare(alone, exclusive=True)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        there.queue_declare(alone, passive=True)
    assert (closed.value.reply_code, broker.second_vhost in closed.value.reply_text) == (404, True)


def test_a_thousand_channels_on_one_connection(connect):
    connection = connect()
    channels = [connection.channel() for _ in range(1000)]
    queue = channels[0].queue_declare("", exclusive=True).method.queue
    for number, channel in enumerate(channels):
        publish(channel, "", queue, str(number))
    for channel in channels[1:]:
        channel.queue_declare(queue, passive=True)
    expect_ready(channels[0], queue, 1000)
    assert sorted(drain(channels[0], queue), key=int) == [str(number) for number in range(1000)]
    for channel in channels[::2]:
        channel.close()
    again = [connection.channel() for _ in range(500)]
    assert len({channel.channel_number for channel in again + channels[1::2]}) == 1000


def test_channels_opened_and_closed_again_and_again(connect):
    connection = connect()
    for _ in range(300):
        channel = connection.channel(1)
        channel.basic_qos(prefetch_count=1)
        channel.close()


def test_a_client_may_ask_for_fewer_channels(connect):
    connection = connect(channel_max=3)
    for _ in range(3):
        connection.channel()
    with pytest.raises(pika.exceptions.NoFreeChannels):
        connection.channel()


def test_more_channels_than_agreed(connect):
    connection = connect(channel_max=3)
    channel, _, _ = (connection.channel() for _ in range(3))
    connection._impl._send_method(4, pika.spec.Channel.Open())
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
        channel.queue_declare("", exclusive=True)
    assert closed.value.reply_code == 530
    assert "number of channels opened (3) has reached the negotiated channel_max (3)" in closed.value.reply_text


class TestHeartbeats:
    """A client's number of seconds is used as it is; a silent one is cut after two to three of them."""

    def test_a_silent_client_is_cut_between_two_and_three_intervals(self, broker):
        with SilentClient(broker, heartbeat=1) as client:
            begin = time.monotonic()
            frames = client.frames_until_closed(seconds=8)
            lived = client.closed_at - begin
            assert 1.8 <= lived <= 4.0, f"cut after {lived:.2f} s"
            assert frames, "the broker sends heartbeats itself"
            assert all(isinstance(frame, pika.frame.Heartbeat) for _, frame in frames), (
                "no connection.close before the cut"
            )

    def test_what_a_cut_client_had_comes_back(self, broker, channel, name):
        queue = name("q")
        channel.queue_declare(queue, durable=True)
        publish(channel, "", queue, "a", "b")
        with SilentClient(broker, heartbeat=1) as client:
            client.call(1, pika.spec.Channel.Open(), pika.spec.Channel.OpenOk)
            client.call(1, pika.spec.Basic.Consume(queue=queue, consumer_tag="t"), pika.spec.Basic.ConsumeOk)
            expect_ready(channel, queue, 0)
            expect_ready(channel, queue, 2)
        seen = [channel.basic_get(queue, auto_ack=True) for _ in range(2)]
        assert [(body, method.redelivered) for method, _, body in seen] == [(b"a", True), (b"b", True)]

    def test_a_client_that_only_sends_data_is_not_cut(self, broker, channel):
        queue = channel.queue_declare("", exclusive=True).method.queue
        with SilentClient(broker, heartbeat=1) as client:
            client.call(1, pika.spec.Channel.Open(), pika.spec.Channel.OpenOk)
            end = time.monotonic() + 4.5
            while time.monotonic() < end:
                client.send(1, pika.spec.Basic.Publish(exchange="", routing_key=queue))
                client.socket.sendall(pika.frame.Header(1, 1, pika.BasicProperties()).marshal())
                client.socket.sendall(pika.frame.Body(1, b"x").marshal())
                time.sleep(0.2)
            client.call(1, pika.spec.Channel.Close(200, "", 0, 0), pika.spec.Channel.CloseOk)

    def test_an_idle_pika_client_with_heartbeat_1_survives(self, connect):
        connection = connect(heartbeat=1)
        channel = connection.channel()
        connection.sleep(5)
        channel.queue_declare("", exclusive=True)

    @pytest.mark.parametrize("heartbeat", [0, 600])
    def test_silence_is_allowed_when_so_agreed(self, broker, heartbeat):
        with SilentClient(broker, heartbeat=heartbeat) as client:
            time.sleep(4)
            client.call(1, pika.spec.Channel.Open(), pika.spec.Channel.OpenOk)

    @pytest.mark.own_broker
    def test_the_brokers_own_number_is_a_setting(self, leveret):
        broker = leveret({"amqp.heartbeat": 7})
        with SilentClient(broker) as client:
            assert client.tune.heartbeat == 7


def test_channel_flow_on_is_answered(channel):
    assert channel.flow(True) is True


def test_update_secret(connect):
    connection = connect()
    channel = connection.channel()
    connection.update_secret("another secret", "the token ran out")
    connection.update_secret("one more", "")
    channel.queue_declare("", exclusive=True)


def test_clean_close_ends_exclusive_queues_before_close_ok(connect, name):
    first = connect()
    queue = first.channel().queue_declare(name("mine"), exclusive=True).method.queue
    first.close()
    connect().channel().queue_declare(queue, exclusive=True)


KILLED_CONSUMER = """
import sys, pika
channel = pika.BlockingConnection(pika.URLParameters(sys.argv[1])).channel()
channel.queue_declare("", exclusive=True)
def on_message(channel, method, properties, body):
    print(method.delivery_tag, flush=True)
channel.basic_consume(sys.argv[2], on_message)
channel.start_consuming()
"""


def test_kill_9_of_a_client_requeues_and_frees_its_names(broker, channel, name):
    queue = name("q")
    channel.queue_declare(queue, durable=True)
    publish(channel, "", queue, "a", "b", "c")
    victim = subprocess.Popen([sys.executable, "-c", KILLED_CONSUMER, broker.url(), queue], stdout=subprocess.PIPE)
    try:
        for _ in range(3):
            victim.stdout.readline()
        expect_ready(channel, queue, 0)
    finally:
        victim.kill()
        victim.wait()
        victim.stdout.close()
    expect_ready(channel, queue, 3)
    seen = [channel.basic_get(queue) for _ in range(3)]
    assert [(body, method.redelivered) for method, _, body in seen] == [(b"a", True), (b"b", True), (b"c", True)]


def test_a_client_gone_without_a_word_is_noticed_at_once(broker, channel, name):
    queue = name("q")
    with SilentClient(broker) as client:
        client.call(1, pika.spec.Channel.Open(), pika.spec.Channel.OpenOk)
        client.call(1, pika.spec.Queue.Declare(queue=queue, exclusive=True), pika.spec.Queue.DeclareOk)

    def mine():
        try:
            channel.connection.channel().queue_declare(queue, exclusive=True)
        except pika.exceptions.ChannelClosedByBroker as closed:
            assert closed.reply_code == 405
            return False
        return True

    eventually(mine, "the exclusive queue of the vanished client is gone")


def test_fifty_connections_at_once(connect, channel):
    exchange = "amq.fanout"
    connections = [connect() for _ in range(50)]
    channels = [connection.channel() for connection in connections]
    consumers = [Consumer(c, bound_queue(c, exchange, ""), auto_ack=True) for c in channels]
    publish(channel, exchange, "", "to all")
    for consumer in consumers:
        assert "to all" in [d.text for d in consumer.take(1)]


@pytest.mark.own_broker
class TestMemoryAlarm:
    """Over the memory watermark publishers are blocked and told so; consumers go on."""

    @pytest.fixture
    def broker_low_on_memory(self, leveret):
        return leveret({"memory.high_watermark": "1 MiB"})

    @staticmethod
    def publish(client):
        """Opens a channel, which is still answered, and publishes a message on it."""
        client.call(1, pika.spec.Channel.Open(), pika.spec.Channel.OpenOk)
        client.send(1, pika.spec.Basic.Publish(exchange="", routing_key="nobody"))
        client.socket.sendall(pika.frame.Header(1, 1, pika.BasicProperties()).marshal())
        client.socket.sendall(pika.frame.Body(1, b"x").marshal())

    def test_a_publisher_is_told_that_it_is_blocked(self, broker_low_on_memory):
        with SilentClient(broker_low_on_memory, capabilities={"connection.blocked": True}) as client:
            self.publish(client)
            assert client.expect(pika.spec.Connection.Blocked).reason == "low on memory"

    def test_one_without_the_capability_is_blocked_without_a_word(self, broker_low_on_memory):
        with SilentClient(broker_low_on_memory) as client:
            self.publish(client)
            client.send(1, pika.spec.Channel.Close(200, "", 0, 0))
            with pytest.raises(DeadlinePassed):
                client.frame(seconds=2)

    def test_a_blocked_one_still_gets_heartbeats_and_is_not_cut(self, broker_low_on_memory):
        with SilentClient(broker_low_on_memory, heartbeat=1, capabilities={"connection.blocked": True}) as client:
            self.publish(client)
            client.expect(pika.spec.Connection.Blocked)
            frames = [client.frame(seconds=3) for _ in range(6)]
            assert all(isinstance(frame, pika.frame.Heartbeat) for frame in frames)

    def test_one_that_only_consumes_is_not(self, broker_low_on_memory):
        connection = pika.BlockingConnection(broker_low_on_memory.parameters())
        told = []
        connection.add_on_connection_blocked_callback(lambda _, frame: told.append(frame))
        channel = connection.channel()
        channel.queue_declare("", exclusive=True)
        connection.sleep(1)
        channel.queue_declare("", exclusive=True)
        assert told == []
        connection.close()

    def test_a_blocked_publisher_with_pikas_timeout_gives_up(self, broker_low_on_memory):
        connection = pika.BlockingConnection(broker_low_on_memory.parameters(blocked_connection_timeout=1))
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.basic_publish("", queue, b"x")
        with pytest.raises(pika.exceptions.ConnectionBlockedTimeout):
            connection.sleep(20)

    def test_unblocked_when_memory_is_free_again(self, leveret):
        """A publisher of far more than there is room for gets through, since another connection purges the queue."""
        broker = leveret({"memory.high_watermark": "128 MiB", "memory.check_interval": "100ms"})
        purger = pika.BlockingConnection(broker.parameters()).channel()
        purger.queue_declare("backlog")
        publisher = EagerPublisher(broker, "backlog", count=400)
        publisher.start()
        samples = []

        def stands_still():
            samples.append(ready(purger, "backlog"))
            return len(samples) > 5 and samples[-1] > 0 and len(set(samples[-5:])) == 1

        eventually(stands_still, "the publisher is held back", pause=0.2)

        def goes_on():
            purger.queue_purge("backlog")
            return not publisher.is_alive()

        try:
            eventually(goes_on, "the publisher goes on after the queue was purged", 30, pause=0.05)
        finally:
            purger.connection.close()
        assert publisher.told[:2] == ["blocked", "unblocked"]


class EagerPublisher(threading.Thread):
    """Publishes messages of 1 MiB as fast as the broker takes them."""

    def __init__(self, broker, queue, count):
        super().__init__(daemon=True)
        self.broker = broker
        self.queue = queue
        self.count = count
        self.told = []

    def run(self):
        with pika.BlockingConnection(self.broker.parameters(blocked_connection_timeout=None)) as connection:
            connection.add_on_connection_blocked_callback(lambda *_: self.told.append("blocked"))
            connection.add_on_connection_unblocked_callback(lambda *_: self.told.append("unblocked"))
            channel = connection.channel()
            for _ in range(self.count):
                channel.basic_publish("", self.queue, b"x" * 1_048_576)
                connection.process_data_events(time_limit=0)
