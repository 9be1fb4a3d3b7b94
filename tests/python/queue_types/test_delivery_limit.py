"""Quorum queues count how often a message comes back, and give it up when consumers fail with it too often."""

import pika
import pytest

from queue_types.queues import declare, fill
from queue_types.raw_consumer import ENDS, RawConsumer
from support.deadline import eventually
from support.messages import Consumer, drain, expect_ready

DELIVERY, ACQUIRED = "x-delivery-count", "x-acquired-count"


def got(channel, queue):
    """The next message by get: its properties and tag."""

    def get():
        method, properties, _ = channel.basic_get(queue)
        return method and (properties, method.delivery_tag)

    return eventually(get, f"a message in {queue}")


def count(properties, header=DELIVERY):
    """What a header says, 0 if it is not there."""
    return (properties.headers or {}).get(header, 0)


@pytest.fixture
def limited(channel, name, queue_of):
    """`limited(2)` is a quorum queue with that limit, and a queue for its dead letters."""

    def make(limit=None):
        dead = declare(channel, name("dead"), "classic")
        arguments = {"dead_letter_exchange": "", "dead_letter_routing_key": dead}
        if limit is not None:
            arguments["delivery_limit"] = limit
        return queue_of("quorum", **arguments), dead

    return make


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_after_so_many_rejections_it_is_a_dead_letter(channel, limited, limit):
    queue, dead = limited(limit)
    fill(channel, queue, "m")
    for number in range(limit + 1):
        properties, tag = got(channel, queue)
        assert count(properties) == number
        channel.basic_reject(tag, requeue=True)
    properties, _ = got(channel, dead)
    (death,) = properties.headers["x-death"]
    assert (death["reason"], death["queue"], death["count"]) == ("delivery_limit", queue, 1)
    assert properties.headers["x-first-death-reason"] == "delivery_limit"
    expect_ready(channel, queue, 0)


def test_the_limit_is_20_unless_said_otherwise(as_in_4, channel, limited):
    queue, dead = limited()
    fill(channel, queue, "m")
    consumer = Consumer(channel, queue, each=lambda channel, delivery: channel.basic_reject(delivery.tag))
    consumer.take(21)
    channel.basic_cancel(consumer.tag)
    assert [count(delivery.properties) for delivery in consumer.deliveries] == list(range(21))
    expect_ready(channel, dead, 1)


def test_minus_one_is_no_limit(as_in_4, channel, limited):
    queue, dead = limited(-1)
    fill(channel, queue, "m")
    consumer = Consumer(channel, queue, each=lambda channel, delivery: channel.basic_reject(delivery.tag))
    consumer.take(60)
    channel.basic_cancel(consumer.tag)
    expect_ready(channel, dead, 0)


def test_without_a_dead_letter_exchange_it_is_dropped(channel, queue_of):
    queue = queue_of("quorum", delivery_limit=1)
    fill(channel, queue, "bad", "good")
    for _ in range(2):
        channel.basic_reject(got(channel, queue)[1], requeue=True)
    expect_ready(channel, queue, 1)
    assert drain(channel, queue) == ["good"]


@pytest.mark.parametrize("multiple", [False, True])
def test_nack_gives_back_without_counting_a_failure(as_in_4, channel, limited, multiple):
    queue, dead = limited(2)
    fill(channel, queue, "m")
    for number in range(6):
        properties, tag = got(channel, queue)
        assert (count(properties), count(properties, ACQUIRED)) == (0, number)
        channel.basic_nack(tag, multiple=multiple, requeue=True)
    properties, tag = got(channel, queue)
    assert properties.headers == {DELIVERY: 0, ACQUIRED: 6}
    channel.basic_reject(tag, requeue=True)
    properties, _ = got(channel, queue)
    assert properties.headers == {DELIVERY: 1, ACQUIRED: 7}
    expect_ready(channel, dead, 0)


def test_recover_counts_no_failure(as_in_4, channel, limited):
    queue, dead = limited(1)
    fill(channel, queue, "m")
    for _ in range(3):
        properties, _ = got(channel, queue)
        assert count(properties) == 0
        channel.basic_recover(requeue=True)
    expect_ready(channel, dead, 0)


@pytest.mark.parametrize("end", ENDS)
def test_the_end_of_a_consumer_is_a_failure(broker, channel, limited, end):
    queue, dead = limited(1)
    fill(channel, queue, "m")
    for _ in range(2):
        with RawConsumer(broker, queue, prefetch=1) as consumer:
            assert consumer.take(1) == ["m"]
            consumer.leave(end)
    properties, _ = got(channel, dead)
    assert properties.headers["x-death"][0]["reason"] == "delivery_limit"


def test_what_was_never_delivered_is_not_counted(broker, channel, limited):
    queue, _ = limited(1)
    fill(channel, queue, "a", "b")
    with RawConsumer(broker, queue, prefetch=1) as consumer:
        assert consumer.take(1) == ["a"]
        consumer.leave()
    counts = [count(got(channel, queue)[0]) for _ in range(2)]
    assert sorted(counts) == [0, 1]


def test_each_message_has_a_count_of_its_own_and_keeps_its_headers(channel, limited):
    queue, dead = limited(5)
    fill(channel, queue, "a", properties=pika.BasicProperties(headers={"mine": 1, DELIVERY: 77}, priority=4))
    fill(channel, queue, "b")
    (first, tag), (second, other) = got(channel, queue), got(channel, queue)
    assert first.headers["mine"] == 1
    assert count(second) == 0
    channel.basic_ack(other)
    channel.basic_reject(tag, requeue=True)
    again, _ = got(channel, queue)
    assert (again.headers["mine"], count(again), again.priority) == (1, 1, 4)


def test_a_dead_letter_starts_anew_in_the_next_queue(channel, name, queue_of):
    target = queue_of("quorum", delivery_limit=3)
    queue = queue_of("quorum", delivery_limit=0, dead_letter_exchange="", dead_letter_routing_key=target)
    fill(channel, queue, "m")
    channel.basic_reject(got(channel, queue)[1], requeue=True)
    properties, tag = got(channel, target)
    assert count(properties) == 0
    channel.basic_reject(tag, requeue=True)
    properties, _ = got(channel, target)
    assert count(properties) == 1
    assert properties.headers["x-death"][0]["queue"] == queue


def test_a_classic_queue_counts_nothing(channel, queue_of):
    queue = queue_of("classic")
    fill(channel, queue, "m")
    for _ in range(30):
        properties, tag = got(channel, queue)
        assert not properties.headers
        channel.basic_reject(tag, requeue=True)


def test_rejection_for_good_has_a_reason_of_its_own(channel, limited):
    queue, dead = limited(1)
    fill(channel, queue, "m")
    channel.basic_reject(got(channel, queue)[1], requeue=True)
    channel.basic_reject(got(channel, queue)[1], requeue=False)
    assert got(channel, dead)[0].headers["x-death"][0]["reason"] == "rejected"
