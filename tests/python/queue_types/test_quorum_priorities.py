"""Quorum queues heed 32 priorities without any argument, as in RabbitMQ 4.3."""

import pika
import pytest

from queue_types.queues import declare, fill
from support.messages import Consumer, drain


@pytest.fixture
def queue(as_in_4, channel, name):
    """A quorum queue."""
    return declare(channel, name("q"), "quorum")


def put(channel, queue, *priorities):
    """Publishes messages whose body is their priority."""
    for priority in priorities:
        fill(channel, queue, str(priority), properties=pika.BasicProperties(priority=priority))


def test_higher_goes_first(channel, queue):
    put(channel, queue, 0, 31, 5, 10, 1, 30)
    assert drain(channel, queue) == ["31", "30", "10", "5", "1", "0"]


def test_none_is_four(channel, queue):
    put(channel, queue, 3, None, 4, None, 5)
    assert drain(channel, queue) == ["5", "None", "4", "None", "3"]


def test_what_is_above_31_is_31_and_stays_as_it_was_sent(channel, queue):
    put(channel, queue, 30, 31, 255, 32)
    _, properties, body = channel.basic_get(queue, auto_ack=True)
    assert body == b"31"
    _, properties, body = channel.basic_get(queue, auto_ack=True)
    assert (body, properties.priority) == (b"255", 255)
    assert drain(channel, queue) == ["32", "30"]


def test_within_one_the_order_stays(channel, queue):
    for body in "abcd":
        fill(channel, queue, body, properties=pika.BasicProperties(priority=7 if body in "bd" else 2))
    assert drain(channel, queue) == ["b", "d", "a", "c"]


def test_what_comes_back_is_in_its_place(channel, queue):
    put(channel, queue, 1, 9)
    method, _, body = channel.basic_get(queue)
    assert body == b"9"
    put(channel, queue, 8, 10)
    channel.basic_nack(method.delivery_tag)
    assert drain(channel, queue) == ["10", "9", "8", "1"]


def test_a_consumer_with_a_prefetch_sees_it(channel, queue):
    put(channel, queue, 2, 3)
    channel.basic_qos(prefetch_count=1)
    consumer = Consumer(channel, queue, each=lambda channel, delivery: channel.basic_ack(delivery.tag))
    consumer.take(2)
    assert consumer.texts() == ["3", "2"]


def test_a_limit_drops_the_next_to_be_delivered(as_in_4, channel, name):
    queue = declare(channel, name("q"), "quorum", max_length=2)
    put(channel, queue, 1, 2, 3)
    assert drain(channel, queue) == ["2", "1"]
