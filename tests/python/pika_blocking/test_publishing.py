"""Confirms, mandatory messages, transactions, large messages, RPC."""

import threading
import uuid

import pika
import pika.exceptions
import pytest

from support.deadline import pump
from support.messages import PERSISTENT, Consumer, bound_queue, drain, expect_ready, publish

MIB = 1024 * 1024


@pytest.fixture
def queue(channel, name):
    """A durable queue."""
    queue = name("q")
    channel.queue_declare(queue, durable=True)
    return queue


def test_confirmed_publishes(channel, queue):
    channel.confirm_delivery()
    for number in range(100):
        channel.basic_publish("", queue, str(number), PERSISTENT, mandatory=True)
    assert drain(channel, queue) == [str(number) for number in range(100)]


def test_an_unroutable_mandatory_message_comes_back_before_its_confirm(channel, name):
    channel.confirm_delivery()
    nowhere = name("nowhere")
    with pytest.raises(pika.exceptions.UnroutableError) as unroutable:
        channel.basic_publish("amq.direct", nowhere, b"body", pika.BasicProperties(message_id="1"), mandatory=True)
    (returned,) = unroutable.value.messages
    assert (returned.method.reply_code, returned.method.reply_text) == (312, "NO_ROUTE")
    assert (returned.method.exchange, returned.method.routing_key) == ("amq.direct", nowhere)
    assert (returned.properties.message_id, returned.body) == ("1", b"body")


def test_an_unroutable_message_is_confirmed(channel, name):
    channel.confirm_delivery()
    channel.basic_publish("amq.direct", name("nowhere"), b"body")


def test_mandatory_without_confirms(channel, name):
    returned = []
    channel.add_on_return_callback(lambda _, method, __, body: returned.append((method.reply_code, body)))
    channel.basic_publish("", name("nowhere"), b"back", mandatory=True)
    pump(channel.connection, lambda: returned, "basic.return")
    assert returned == [(312, b"back")]


def test_confirm_select_twice(channel):
    channel.confirm_delivery()
    impl = channel._impl
    done = []
    impl._rpc(pika.spec.Confirm.Select(nowait=False), done.append, [pika.spec.Confirm.SelectOk])
    pump(channel.connection, lambda: done, "a second select-ok")


def test_commit_publishes_and_acknowledges(channel, connect, queue):
    publish(channel, "", queue, "old")
    worker = connect().channel()
    worker.tx_select()
    tag = worker.basic_get(queue)[0].delivery_tag
    publish(worker, "", queue, "new 1", "new 2", properties=PERSISTENT)
    worker.basic_ack(tag)
    expect_ready(channel, queue, 0)
    worker.tx_commit()
    expect_ready(channel, queue, 2)
    worker.connection.close()
    assert drain(channel, queue) == ["new 1", "new 2"]


def test_rollback_drops_publishes_and_gives_acks_back(channel, connect, queue):
    publish(channel, "", queue, "old")
    worker = connect().channel()
    worker.tx_select()
    tag = worker.basic_get(queue)[0].delivery_tag
    publish(worker, "", queue, "never")
    worker.basic_ack(tag)
    worker.tx_rollback()
    expect_ready(channel, queue, 0)
    worker.basic_ack(tag)
    worker.tx_commit()
    worker.close()
    assert drain(channel, queue) == []


def test_closing_the_channel_rolls_back(channel, connect, queue):
    publish(channel, "", queue, "old")
    connection = connect()
    worker = connection.channel()
    worker.tx_select()
    tag = worker.basic_get(queue)[0].delivery_tag
    publish(worker, "", queue, "never")
    worker.basic_ack(tag)
    worker.close()
    method, _, body = channel.basic_get(queue, auto_ack=True)
    assert (body, method.redelivered) == (b"old", True)
    assert drain(channel, queue) == []


def test_several_transactions_on_one_channel_and_several_queues(channel, name):
    exchange = name("x")
    channel.exchange_declare(exchange, "fanout")
    queues = [bound_queue(channel, exchange, "") for _ in range(3)]
    channel.tx_select()
    for turn in range(5):
        publish(channel, exchange, "", f"{turn} a", f"{turn} b")
        if turn % 2:
            channel.tx_rollback()
        else:
            channel.tx_commit()
    for queue in queues:
        consumer = Consumer(channel, queue, auto_ack=True)
        assert [d.text for d in consumer.take(6)] == ["0 a", "0 b", "2 a", "2 b", "4 a", "4 b"]


def test_a_returned_message_comes_before_commit_ok(channel, name):
    returned = []
    channel.add_on_return_callback(lambda _, method, __, body: returned.append(body))
    channel.tx_select()
    channel.basic_publish("", name("nowhere"), b"back", mandatory=True)
    channel.tx_commit()
    channel.connection.process_data_events(time_limit=0)
    assert returned == [b"back"]


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_065, 262_128, 262_129, MIB])
def test_bodies_around_the_frame_size(channel, queue, size):
    channel.confirm_delivery()
    body = uuid.uuid4().bytes * (size // 16) + b"z" * (size % 16)
    channel.basic_publish("", queue, body)
    assert channel.basic_get(queue, auto_ack=True)[2] == body


@pytest.mark.parametrize("frame_max", [4096, 8192, 131_072])
def test_frame_max_of_the_client(connect, name, frame_max):
    channel = connect(frame_max=frame_max).channel()
    queue = name("q")
    channel.queue_declare(queue)
    body = bytes(range(256)) * 1000
    channel.basic_publish("", queue, body)
    assert channel.basic_get(queue, auto_ack=True)[2] == body


def test_a_message_of_16_mib_there_and_back(channel, queue):
    channel.confirm_delivery()
    body = bytes(range(256)) * (16 * MIB // 256)
    channel.basic_publish("", queue, body, PERSISTENT)
    consumer = Consumer(channel, queue)
    assert consumer.take(1)[0].body == body
    channel.basic_ack(1)


@pytest.mark.own_broker
def test_one_byte_more_is_refused_and_the_connection_lives(channel, queue):
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        channel.basic_publish("", queue, b"x" * (16 * MIB + 1))
    assert closed.value.reply_code == 406
    assert f"message size {16 * MIB + 1} is larger than configured max size {16 * MIB}" in closed.value.reply_text
    again = channel.connection.channel()
    expect_ready(again, queue, 0)


@pytest.mark.own_broker
def test_max_message_size_is_a_setting(leveret):
    broker = leveret({"amqp.max_message_size": 1000})
    with pika.BlockingConnection(broker.parameters()) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.basic_publish("", queue, b"x" * 1000)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
            channel.basic_publish("", queue, b"x" * 1001)
        assert closed.value.reply_code == 406
        expect_ready(connection.channel(), queue, 1)


class RpcServer(threading.Thread):
    """Answers with the upper case of what it is asked, until its stop event is set."""

    def __init__(self, broker, queue):
        super().__init__(daemon=True)
        self.connection = pika.BlockingConnection(broker.parameters())
        self.channel = self.connection.channel()
        self.channel.queue_declare(queue, auto_delete=True)
        self.channel.basic_qos(prefetch_count=1)
        self.channel.basic_consume(queue, self.on_request)

    def run(self):
        self.channel.start_consuming()
        self.connection.close()

    def stop(self):
        """Ends the thread."""
        self.connection.add_callback_threadsafe(self.channel.stop_consuming)
        self.join(10)
        assert not self.is_alive()

    @staticmethod
    def on_request(channel, method, properties, body):
        """The procedure."""
        answer = pika.BasicProperties(correlation_id=properties.correlation_id)
        channel.basic_publish("", properties.reply_to, body.upper(), answer)
        channel.basic_ack(method.delivery_tag)


@pytest.fixture
def rpc(broker, name):
    """A running RPC server and the name of its queue."""
    queue = name("rpc")
    server = RpcServer(broker, queue)
    server.start()
    yield queue
    server.stop()


def test_rpc_with_an_exclusive_callback_queue(rpc, connect):
    channel = connect().channel()
    callback = channel.queue_declare("", exclusive=True).method.queue
    answers = Consumer(channel, callback, auto_ack=True)
    asked = {}
    for word in ("one", "two", "three"):
        correlation = uuid.uuid4().hex
        asked[correlation] = word
        channel.basic_publish("", rpc, word, pika.BasicProperties(reply_to=callback, correlation_id=correlation))
    answers.take(3)
    assert {d.properties.correlation_id: d.text for d in answers.deliveries} == {c: w.upper() for c, w in asked.items()}


def test_rpc_with_direct_reply_to(direct_reply_to, rpc, connect):
    channel = connect().channel()
    answers = Consumer(channel, "amq.rabbitmq.reply-to", auto_ack=True)
    channel.basic_publish("", rpc, "quick", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id="7"))
    (answer,) = answers.take(1)
    assert (answer.text, answer.properties.correlation_id, answer.method.exchange) == ("QUICK", "7", "")
    assert answer.method.routing_key.startswith("amq.rabbitmq.reply-to.")


def test_carbon_copies_go_to_further_routing_keys(channel, queue, name):
    copy, blind = name("cc"), name("bcc")
    for other in (copy, blind):
        channel.queue_declare(other)
    headers = {"CC": [copy], "BCC": [blind], "kept": 1}
    channel.basic_publish("", queue, b"m", pika.BasicProperties(headers=headers))
    for target in (queue, copy, blind):
        method, properties, body = channel.basic_get(target, auto_ack=True)
        assert (body, method.routing_key) == (b"m", queue)
        assert properties.headers == {"CC": [copy], "kept": 1}
