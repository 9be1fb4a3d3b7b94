"""Direct reply-to over sockets, as RabbitMQ 4 has it: who gets the answer, and what becomes of an address."""

import pika
import pika.exceptions
import pytest

from support.messages import Consumer, drain

REPLY_TO = "amq.rabbitmq.reply-to"
ASK = pika.BasicProperties(reply_to=REPLY_TO)


@pytest.fixture
def requests(connect, name):
    """The name of a queue for requests."""
    queue = name("requests")
    connect().channel().queue_declare(queue)
    return queue


def address_of(connect, channel, requests):
    """Publishes one request and looks up the address it arrives with."""
    channel.basic_publish("", requests, "ask", ASK)
    channel.queue_declare(requests, passive=True)
    _, properties, _ = connect().channel().basic_get(requests, auto_ack=True)
    assert properties.reply_to.startswith(f"{REPLY_TO}.")
    return properties.reply_to


def test_answers_come_from_any_connection_in_order(direct_reply_to, connect, requests):
    channel = connect().channel()
    answers = Consumer(channel, REPLY_TO, auto_ack=True)
    address = address_of(connect, channel, requests)
    server = connect().channel()
    server.confirm_delivery()
    for number in range(100):
        server.basic_publish("", address, str(number), mandatory=True)
    answers.take(100)
    assert answers.texts() == [str(number) for number in range(100)]
    methods = [delivery.method for delivery in answers.deliveries]
    assert [method.delivery_tag for method in methods] == list(range(1, 101))
    assert {(m.exchange, m.routing_key, m.redelivered) for m in methods} == {("", address, False)}


def test_each_channel_has_an_address_of_its_own(direct_reply_to, connect, requests):
    connection = connect()
    channels = [connection.channel() for _ in range(3)]
    consumers = [Consumer(channel, REPLY_TO, auto_ack=True) for channel in channels]
    addresses = [address_of(connect, channel, requests) for channel in channels]
    assert len(set(addresses)) == 3
    server = connect().channel()
    for number, address in enumerate(addresses):
        server.basic_publish("", address, str(number))
    for number, consumer in enumerate(consumers):
        consumer.take(1)
        assert consumer.texts() == [str(number)]


@pytest.mark.parametrize("end", ["cancel", "channel", "connection"])
def test_an_address_is_gone_with_its_consumer(direct_reply_to, connect, requests, end):
    connection = connect()
    channel = connection.channel()
    consumer = Consumer(channel, REPLY_TO, auto_ack=True)
    address = address_of(connect, channel, requests)
    server = connect().channel()
    server.confirm_delivery()
    there = server.queue_declare(address).method
    assert (there.queue, there.message_count, there.consumer_count) == (address, 0, 1)
    server.basic_publish("", address, "in time", mandatory=True)
    consumer.take(1)
    if end == "cancel":
        channel.basic_cancel(consumer.tag)
    elif end == "channel":
        channel.close()
    else:
        connection.close()
    with pytest.raises(pika.exceptions.UnroutableError) as unroutable:
        server.basic_publish("", address, "too late", mandatory=True)
    (returned,) = unroutable.value.messages
    assert (returned.method.reply_code, returned.method.routing_key) == (312, address)
    server.basic_publish("", address, "dropped")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        server.queue_declare(address, passive=True)
    assert closed.value.reply_code == 404


def test_a_second_consumer_may_follow_one_that_was_cancelled(direct_reply_to, connect, requests):
    channel = connect().channel()
    first = Consumer(channel, REPLY_TO, auto_ack=True)
    address = address_of(connect, channel, requests)
    channel.basic_cancel(first.tag)
    answers = Consumer(channel, REPLY_TO, auto_ack=True)
    another = address_of(connect, channel, requests)
    assert another != address
    server = connect().channel()
    server.basic_publish("", address, "old")
    server.basic_publish("", another, "new")
    answers.take(1)
    assert (first.texts(), answers.texts()) == ([], ["new"])


def test_an_address_cannot_be_bound(direct_reply_to, connect, requests):
    channel = connect().channel()
    Consumer(channel, REPLY_TO, auto_ack=True)
    address = address_of(connect, channel, requests)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        connect().channel().queue_bind(address, "amq.fanout")
    assert closed.value.reply_code == 403


def test_carbon_copies_reach_a_requester(direct_reply_to, connect, requests):
    channel = connect().channel()
    answers = Consumer(channel, REPLY_TO, auto_ack=True)
    address = address_of(connect, channel, requests)
    server = connect().channel()
    server.basic_publish("", requests, "both", pika.BasicProperties(headers={"CC": [address]}))
    answers.take(1)
    assert answers.deliveries[0].method.routing_key == requests
    assert drain(server, requests) == ["both"]


def test_a_request_that_is_persistent_keeps_its_other_properties(direct_reply_to, connect, requests):
    channel = connect().channel()
    Consumer(channel, REPLY_TO, auto_ack=True)
    asked = pika.BasicProperties(
        reply_to=REPLY_TO, correlation_id="7", delivery_mode=2, headers={"a": 1, "BCC": [requests]}, expiration="60000"
    )
    channel.basic_publish("", requests, "ask", asked)
    channel.queue_declare(requests, passive=True)
    _, seen, _ = connect().channel().basic_get(requests, auto_ack=True)
    assert seen.reply_to.startswith(f"{REPLY_TO}.")
    kept = (seen.correlation_id, seen.delivery_mode, seen.headers, seen.expiration)
    assert kept == ("7", 2, {"a": 1}, "60000")


def test_answers_larger_than_the_outlet_wait_for_a_slow_requester(direct_reply_to, connect, requests):
    channel = connect().channel()
    answers = Consumer(channel, REPLY_TO, auto_ack=True)
    address = address_of(connect, channel, requests)
    server = connect().channel()
    server.confirm_delivery()
    body = b"x" * 1_000_000
    # Much more than sockets and outlet hold; the requester does not read meanwhile.
    for _ in range(40):
        server.basic_publish("", address, body, mandatory=True)
    answers.take(40, seconds=30)
    assert {len(delivery.body) for delivery in answers.deliveries} == {len(body)}
