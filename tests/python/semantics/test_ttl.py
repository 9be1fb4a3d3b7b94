"""Lifetimes of messages: of the queue, of the message, and what happens to both when a message comes back."""

import time

import pika
import pytest

from semantics.queues import got
from support.messages import Consumer, expect_ready, publish, ready


def lasting(milliseconds):
    """Properties with a lifetime."""
    return pika.BasicProperties(expiration=str(milliseconds))


@pytest.mark.parametrize("of_queue, of_message", [(300, None), (None, 300), (300, 60_000), (60_000, 300)])
def test_a_message_goes_when_the_shorter_lifetime_is_over(channel, queue, of_queue, of_message):
    q = queue(**({"message_ttl": of_queue} if of_queue else {}))
    channel.confirm_delivery()
    begin = time.monotonic()
    publish(channel, "", q, "m", properties=lasting(of_message) if of_message else None)
    expect_ready(channel, q, 0)
    assert time.monotonic() - begin >= 0.3
    assert channel.basic_get(q)[0] is None


def test_a_longer_lifetime_is_not_over(channel, queue):
    q, witness = queue(message_ttl=60_000), queue(message_ttl=200)
    for target in (q, witness):
        publish(channel, "", target, "m", properties=lasting(50_000))
    expect_ready(channel, witness, 0)
    assert got(channel, q).properties.expiration == "50000"


def test_only_the_first_message_is_looked_at(channel, queue):
    """What is over its time behind it is still counted, and never given to anybody."""
    q, witness = queue(), queue()
    publish(channel, "", q, "first", properties=lasting(60_000))
    publish(channel, "", q, "second", "third", properties=lasting(50))
    publish(channel, "", witness, "m", properties=lasting(200))
    expect_ready(channel, q, 3)
    expect_ready(channel, witness, 0)
    assert ready(channel, q) == 3
    publish(channel, "", q, "fourth")
    first = got(channel, q, auto_ack=False)
    assert (first.text, first.method.message_count) == ("first", 1)
    fourth = got(channel, q, auto_ack=False)
    assert (fourth.text, fourth.method.message_count) == ("fourth", 0)
    channel.basic_nack(fourth.tag, multiple=True)
    expect_ready(channel, q, 2)


def test_a_consumer_is_not_given_what_is_over_its_time(channel, queue):
    q, witness = queue(), queue()
    channel.basic_qos(prefetch_count=1)
    consumer = Consumer(channel, q)
    publish(channel, "", q, "first")
    consumer.take(1)
    publish(channel, "", q, "second", properties=lasting(60_000))
    publish(channel, "", q, "third", properties=lasting(50))
    publish(channel, "", q, "fourth")
    publish(channel, "", witness, "m", properties=lasting(200))
    expect_ready(channel, witness, 0)
    for count in (1, 2):
        channel.basic_ack(consumer.deliveries[-1].tag)
        consumer.take(count + 1)
    assert consumer.texts() == ["first", "second", "fourth"]
    assert ready(channel, q) == 0


@pytest.mark.parametrize("whose", ["queue", "message"])
def test_with_no_lifetime_at_all_a_message_is_for_who_waits(channel, connect, queue, whose):
    """Nobody waits, somebody does, and somebody has enough already."""
    q = queue(**({"message_ttl": 0} if whose == "queue" else {}))
    properties = lasting(0) if whose == "message" else None
    channel.confirm_delivery()
    publish(channel, "", q, "for nobody", properties=properties)
    expect_ready(channel, q, 0)
    assert channel.basic_get(q)[0] is None
    taker = connect().channel()
    taker.basic_qos(prefetch_count=1)
    consumer = Consumer(taker, q)
    publish(channel, "", q, "taken", properties=properties)
    consumer.take(1)
    publish(channel, "", q, "too much", properties=properties)
    expect_ready(channel, q, 0)
    taker.basic_ack(consumer.deliveries[0].tag)
    assert ready(taker, q) == 0
    publish(channel, "", q, "taken too", properties=properties)
    assert [delivery.text for delivery in consumer.take(2)] == ["taken", "taken too"]


def test_a_message_that_comes_back_keeps_its_deadline(channel, queue):
    """It is taken and put back again and again, which gains no time."""
    q = queue(message_ttl=800)
    begin = time.monotonic()
    publish(channel, "", q, "m")
    rounds = 0
    while (method := channel.basic_get(q)[0]) or rounds == 0:
        if method:
            rounds += 1
            assert method.redelivered == (rounds > 1)
            channel.basic_nack(method.delivery_tag)
        channel.connection.sleep(0.02)
        assert time.monotonic() - begin < 10
    assert time.monotonic() - begin >= 0.8


def test_a_consumer_may_keep_a_message_beyond_its_time(channel, queue):
    """It can be acknowledged then; if it comes back it is gone."""
    q, witness = queue(message_ttl=1000), queue(message_ttl=1200)
    publish(channel, "", q, "kept", "returned", "cancelled")
    publish(channel, "", witness, "m")
    kept, returned, _ = (got(channel, q, auto_ack=False) for _ in range(3))
    expect_ready(channel, witness, 0)
    channel.basic_ack(kept.tag)
    channel.basic_nack(returned.tag)
    expect_ready(channel, q, 0)
    channel.basic_recover(requeue=True)
    assert channel.basic_get(q)[0] is None


def test_what_comes_back_in_front_has_more_time_than_what_is_behind(channel, queue):
    """The first one was away while the second became the first, and went."""
    q = queue()
    publish(channel, "", q, "first", properties=lasting(60_000))
    publish(channel, "", q, "second", properties=lasting(300))
    publish(channel, "", q, "third", properties=lasting(60_000))
    first = got(channel, q, auto_ack=False)
    expect_ready(channel, q, 1)
    channel.basic_nack(first.tag)
    assert [got(channel, q).text for _ in range(2)] == ["first", "third"]


def test_a_purged_queue_expires_what_comes_later(channel, queue):
    q = queue()
    publish(channel, "", q, "old", properties=lasting(60_000))
    expect_ready(channel, q, 1)
    assert channel.queue_purge(q).method.message_count == 1
    publish(channel, "", q, "new", properties=lasting(100))
    expect_ready(channel, q, 0)


def test_the_time_in_a_transaction_does_not_count(channel, connect, queue):
    """It begins with the commit; and who waits is given what has no time at all."""
    q, none, witness = queue(message_ttl=500), queue(message_ttl=0), queue(message_ttl=700)
    consumer = Consumer(channel, none)
    transaction = connect().channel()
    transaction.tx_select()
    publish(transaction, "", q, "m")
    publish(transaction, "", none, "m")
    channel.confirm_delivery()
    publish(channel, "", witness, "m")
    expect_ready(channel, witness, 0)
    begin = time.monotonic()
    transaction.tx_commit()
    expect_ready(channel, q, 0)
    assert time.monotonic() - begin >= 0.5
    consumer.take(1)


def test_many_messages_expire(channel, queue):
    """More than are dropped in one go."""
    q = queue(message_ttl=500)
    publish(channel, "", q, *["m"] * 10_000)
    channel.confirm_delivery()
    publish(channel, "", q, "last")
    expect_ready(channel, q, 0)
