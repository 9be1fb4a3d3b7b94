"""Priority queues: who comes first, who goes first, and who is in whose way."""

import random

import pika
import pytest

from semantics.queues import got, got_all
from support.messages import PERSISTENT, Consumer, expect_ready, publish, ready


def prior(priority, **more):
    """Properties with a priority."""
    return pika.BasicProperties(priority=priority, **more)


def put(channel, queue, *priorities, **more):
    """Publishes a message for each priority, whose body is the priority and its turn: "5.0"."""
    seen = {}
    for priority in priorities:
        seen[priority] = seen.get(priority, -1) + 1
        publish(channel, "", queue, f"{priority}.{seen[priority]}", properties=prior(priority, **more))


@pytest.mark.parametrize("how", ["get", "consume"])
def test_the_higher_first_and_in_order_within(channel, queue, how):
    q = queue(max_priority=10)
    numbers = random.Random(7)
    priorities = [numbers.randrange(11) for _ in range(200)]
    put(channel, q, *priorities)
    expect_ready(channel, q, 200)
    expected = [f"{p}.{turn}" for p in range(10, -1, -1) for turn in range(priorities.count(p))]
    if how == "get":
        assert got_all(channel, q, 200) == expected
    else:
        consumer = Consumer(channel, q, auto_ack=True)
        consumer.take(200)
        assert consumer.texts() == expected


def test_none_is_the_lowest_and_too_much_is_the_highest(channel, queue):
    q = queue(max_priority=5)
    publish(channel, "", q, "none")
    put(channel, q, 0, 5, 255, 6)
    publish(channel, "", q, "none too")
    assert got_all(channel, q, 6) == ["5.0", "255.0", "6.0", "none", "0.0", "none too"]
    publish(channel, "", q, "m", properties=prior(255))
    assert got(channel, q).properties.priority == 255


@pytest.mark.parametrize("arguments", [{}, {"max_priority": 0}])
def test_without_priorities_the_order_is_that_of_publishing(channel, queue, arguments):
    q = queue(**arguments)
    put(channel, q, 1, 9, 0, 5)
    assert got_all(channel, q, 4) == ["1.0", "9.0", "0.0", "5.0"]


def test_all_of_255(channel, queue):
    q = queue(max_priority=255)
    order = list(range(256))
    random.Random(3).shuffle(order)
    put(channel, q, *order)
    assert got_all(channel, q, 256) == [f"{priority}.0" for priority in range(255, -1, -1)]


def test_what_comes_back_goes_to_its_place(channel, queue):
    q = queue(max_priority=9)
    put(channel, q, 1, 1, 5, 5, 9)
    held = [got(channel, q, auto_ack=False) for _ in range(4)]
    assert [delivery.text for delivery in held] == ["9.0", "5.0", "5.1", "1.0"]
    publish(channel, "", q, "new", properties=prior(5))
    for at in (3, 1, 2, 0):
        channel.basic_nack(held[at].tag)
    assert got_all(channel, q, 6) == ["9.0", "5.0", "5.1", "new", "1.0", "1.1"]


def test_a_consumer_with_prefetch_gets_the_highest_next(channel, queue):
    q = queue(max_priority=9)
    channel.basic_qos(prefetch_count=1)
    consumer = Consumer(channel, q)
    put(channel, q, 1)
    consumer.take(1)
    put(channel, q, 2, 7, 5)
    expect_ready(channel, q, 3)
    for count in range(2, 5):
        channel.basic_ack(consumer.deliveries[-1].tag)
        consumer.take(count)
    assert consumer.texts() == ["1.0", "7.0", "5.0", "2.0"]


def test_a_full_queue_drops_what_would_come_next(channel, queue):
    """As in RabbitMQ that is the highest."""
    target = queue()
    q = queue(max_priority=9, max_length=3, dead_letter_exchange="", dead_letter_routing_key=target)
    put(channel, q, 1, 5, 3, 4)
    assert got(channel, target).text == "5.0"
    put(channel, q, 9)
    assert got(channel, target).text == "9.0"
    assert got_all(channel, q, 3) == ["4.0", "3.0", "1.0"]


def test_a_queue_limited_by_bytes(channel, queue):
    q = queue(max_priority=2, max_length_bytes=9)
    put(channel, q, 0, 1, 2)
    expect_ready(channel, q, 3)
    put(channel, q, 0)
    assert got_all(channel, q, 3) == ["1.0", "0.0", "0.0"]


def test_a_full_queue_that_refuses_does_not_look_at_priorities(channel, queue):
    q = queue(max_priority=9, max_length=2, overflow="reject-publish")
    put(channel, q, 1, 2, 9)
    assert got_all(channel, q, 2) == ["2.0", "1.0"]


def test_a_message_with_time_shields_those_behind(channel, queue):
    """Only the front is looked at: lower ones are counted beyond their time, and dead when they come to the front."""
    target, witness = queue(), queue(message_ttl=300)
    channel.confirm_delivery()
    q = queue(max_priority=9, dead_letter_exchange="", dead_letter_routing_key=target)
    publish(channel, "", q, "high", properties=prior(9))
    publish(channel, "", q, "low", properties=prior(1, expiration="50"))
    publish(channel, "", witness, "m")
    expect_ready(channel, q, 2)
    expect_ready(channel, witness, 0)
    assert (ready(channel, q), ready(channel, target)) == (2, 0)
    assert got(channel, q).text == "high"
    assert got(channel, target).text == "low"


@pytest.mark.own_broker
def test_a_message_without_time_is_not_given_before_a_lower_one(channel, queue):
    """RabbitMQ gives it: it does not notice that the front of a queue with priorities has changed."""
    q, witness = queue(max_priority=9), queue(message_ttl=300)
    channel.confirm_delivery()
    put(channel, q, 1)
    publish(channel, "", q, "short", properties=prior(5, expiration="50"))
    publish(channel, "", witness, "m")
    expect_ready(channel, witness, 0)
    assert got_all(channel, q, 1) == ["1.0"]


def test_dead_letters_keep_their_priority(channel, queue):
    target = queue(max_priority=9)
    q = queue(max_priority=9, message_ttl=100, dead_letter_exchange="", dead_letter_routing_key=target)
    put(channel, q, 1, 5, 9, 5)
    expect_ready(channel, target, 4)
    assert got_all(channel, target, 4) == ["9.0", "5.0", "5.1", "1.0"]


def test_a_purge_takes_all_levels(channel, queue):
    q = queue(max_priority=9)
    put(channel, q, 9, 1, 5)
    held = got(channel, q, auto_ack=False)
    assert channel.queue_purge(q).method.message_count == 2
    channel.basic_nack(held.tag)
    put(channel, q, 3)
    assert got_all(channel, q, 2) == ["9.0", "3.0"]


@pytest.mark.own_broker
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_after_a_restart(on, end):
    """Levels and the order within are as before; what was taken comes back to its place."""
    broker = on()
    channel = pika.BlockingConnection(broker.parameters()).channel()
    channel.confirm_delivery()
    channel.queue_declare("q", durable=True, arguments={"x-max-priority": 9})
    put(channel, "q", 1, 5, 9, 5, 1, 9, delivery_mode=2)
    publish(channel, "", "q", "none", properties=PERSISTENT)
    for _ in range(3):
        got(channel, "q", auto_ack=False)
    channel.basic_ack(2)
    # A confirm is certain only after everything before it.
    publish(channel, "", "q", "last", properties=prior(9, delivery_mode=2))
    getattr(broker, end)()
    broker = on()
    channel = pika.BlockingConnection(broker.parameters()).channel()
    put(channel, "q", 7, delivery_mode=2)
    assert got_all(channel, "q", 8) == ["9.0", "last", "7.0", "5.0", "5.1", "1.0", "1.1", "none"]
