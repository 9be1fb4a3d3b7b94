"""Queues: names, life, counts, redeclaration."""

import pika
import pika.exceptions
import pytest
from pika.compat import long

from support.deadline import eventually
from support.messages import Consumer, bound_queue, consumers, drain, expect_ready, is_there, publish


def test_the_server_names_a_queue(channel):
    first = channel.queue_declare("", exclusive=True).method.queue
    second = channel.queue_declare("", exclusive=True).method.queue
    assert first.startswith("amq.gen-")
    assert first != second


def test_the_empty_name_means_the_queue_declared_last_on_the_channel(channel, name):
    exchange = name("x")
    channel.exchange_declare(exchange, "direct")
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind("", exchange, "k")
    channel.queue_bind("", exchange)
    publish(channel, exchange, "k", "by key")
    publish(channel, exchange, queue, "by name")
    method, _, body = channel.basic_get("", auto_ack=True)
    assert body == b"by key"
    consumer = Consumer(channel, "", auto_ack=True)
    assert [d.text for d in consumer.take(1)] == ["by name"]
    assert method.message_count == 1


def test_declare_ok_counts_ready_messages_and_consumers(channel, name):
    queue = name("q")
    channel.queue_declare(queue, durable=True)
    publish(channel, "", queue, "a", "b", "c")
    channel.basic_qos(prefetch_count=1)
    consumer = Consumer(channel, queue)
    consumer.take(1)
    answer = channel.queue_declare(queue, durable=True).method
    assert (answer.message_count, answer.consumer_count) == (2, 1)


def test_purge_removes_ready_messages_only_and_counts_them(channel, name):
    queue = name("q")
    channel.queue_declare(queue, durable=True)
    publish(channel, "", queue, "a", "b", "c")
    method, _, _ = channel.basic_get(queue)
    assert channel.queue_purge(queue).method.message_count == 2
    assert channel.queue_purge(queue).method.message_count == 0
    channel.basic_nack(method.delivery_tag)
    expect_ready(channel, queue, 1)


def test_delete_counts_ready_messages_and_a_missing_queue_is_no_error(channel, connect, name):
    queue = name("q")
    channel.queue_declare(queue, durable=True)
    publish(channel, "", queue, "a", "b", "c")
    channel.basic_get(queue)
    assert channel.queue_delete(queue).method.message_count == 2
    assert channel.queue_delete(queue).method.message_count == 0
    assert not is_there(connect(), queue)


def test_an_ack_after_the_queue_is_gone_is_accepted(channel, name):
    queue = name("q")
    channel.queue_declare(queue, durable=True)
    publish(channel, "", queue, "a")
    method, _, _ = channel.basic_get(queue)
    channel.queue_delete(queue)
    channel.basic_ack(method.delivery_tag)
    channel.queue_declare(queue, durable=True)
    expect_ready(channel, queue, 0)


def test_if_unused_and_if_empty(channel, connect, name):
    queue = name("q")
    channel.queue_declare(queue, durable=True)
    publish(channel, "", queue, "a")
    not_empty = connect().channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        not_empty.queue_delete(queue, if_empty=True)
    assert (closed.value.reply_code, "not empty" in closed.value.reply_text) == (406, True)
    consumer = Consumer(channel, queue)
    consumer.take(1)
    in_use = connect().channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        in_use.queue_delete(queue, if_unused=True)
    assert (closed.value.reply_code, "in use" in closed.value.reply_text) == (406, True)
    channel.basic_ack(consumer.deliveries[0].tag)
    channel.basic_cancel(consumer.tag)
    channel.queue_delete(queue, if_unused=True, if_empty=True)
    assert not is_there(connect(), queue)


def test_unacknowledged_messages_do_not_keep_a_queue_from_if_empty(channel, name):
    queue = name("q")
    channel.queue_declare(queue, durable=True)
    publish(channel, "", queue, "a")
    channel.basic_get(queue)
    assert channel.queue_delete(queue, if_empty=True).method.message_count == 0


def test_an_exclusive_queue_is_its_connections_alone_and_goes_with_it(connect, name):
    owner = connect()
    queue = name("q")
    owner.channel().queue_declare(queue, exclusive=True)
    owner.channel().queue_declare(queue, exclusive=True)
    stranger = connect().channel()
    stranger.confirm_delivery()
    stranger.basic_publish("", queue, b"publishing is allowed", mandatory=True)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        stranger.queue_declare(queue, passive=True)
    assert closed.value.reply_code == 405
    owner.close()
    assert not is_there(connect(), queue)


def test_an_auto_delete_queue_goes_with_its_last_consumer(channel, connect, name):
    queue = name("q")
    channel.queue_declare(queue, auto_delete=True)
    publish(channel, "", queue, "a")
    assert channel.basic_get(queue, auto_ack=True)[2] == b"a"
    assert is_there(connect(), queue)
    first, second = Consumer(channel, queue), Consumer(channel, queue)
    channel.basic_cancel(first.tag)
    assert is_there(connect(), queue)
    channel.basic_cancel(second.tag)
    assert not is_there(connect(), queue)


def test_an_auto_delete_queue_goes_with_the_channel_or_connection_of_its_last_consumer(connect, name):
    for close in ("channel", "connection"):
        queue = name("q")
        owner = connect()
        channel = owner.channel()
        channel.queue_declare(queue, auto_delete=True)
        Consumer(channel, queue)
        (channel if close == "channel" else owner).close()
        eventually(lambda q=queue: not is_there(connect(), q), f"the queue goes with the {close}")


def test_equal_redeclare_with_another_integer_width(channel, connect, name):
    """pika writes an int of 32 bits, and its `long` with 64; the number is what counts."""
    queue = name("q")
    channel.queue_declare(queue, durable=True, arguments={"x-message-ttl": 60_000, "x-max-length": 200})
    wide = connect().channel()
    wide.queue_declare(queue, durable=True, arguments={"x-message-ttl": long(60_000), "x-max-length": long(200)})


def test_a_very_large_integer_argument_is_accepted(channel, name):
    queue = name("q")
    for _ in range(2):
        channel.queue_declare(queue, durable=True, arguments={"x-message-ttl": 5_000_000_000})


def test_unknown_arguments_are_ignored_in_comparison(channel, name):
    queue = name("q")
    channel.queue_declare(queue, durable=True, arguments={"x-mine": "one"})
    channel.queue_declare(queue, durable=True, arguments={"x-mine": "two"})
    channel.queue_declare(queue, durable=True)
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "classic"})


def test_declare_bind_unbind_delete_in_a_loop(channel, name):
    exchange = name("x")
    channel.exchange_declare(exchange, "topic")
    for turn in range(50):
        queue = name("q")
        channel.queue_declare(queue)
        channel.queue_bind(queue, exchange, f"k.{turn}")
        publish(channel, exchange, f"k.{turn}", str(turn))
        assert drain(channel, queue) == [str(turn)]
        channel.queue_unbind(queue, exchange, f"k.{turn}")
        channel.queue_delete(queue)


def test_messages_of_two_publishers_each_in_their_order(connect, channel, name):
    exchange = name("x")
    channel.exchange_declare(exchange, "fanout")
    queues = [bound_queue(channel, exchange, "") for _ in range(3)]
    publishers = [connect().channel() for _ in range(2)]
    for number in range(200):
        for index, publisher in enumerate(publishers):
            publish(publisher, exchange, "", f"{index}:{number}")
    for queue in queues:
        consumer = Consumer(channel, queue, auto_ack=True)
        consumer.take(400)
        for index in range(2):
            mine = [text for text in consumer.texts() if text.startswith(f"{index}:")]
            assert mine == [f"{index}:{number}" for number in range(200)]


def test_consumer_count_falls_when_consumers_leave(connect, channel, name):
    queue = name("q")
    channel.queue_declare(queue)
    leaving = connect()
    first = leaving.channel()
    for _ in range(3):
        Consumer(first, queue)
    assert consumers(channel, queue) == 3
    first.close()
    eventually(lambda: consumers(channel, queue) == 0, "the consumers of the closed channel are gone")
