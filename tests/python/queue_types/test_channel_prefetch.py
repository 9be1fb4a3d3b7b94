"""basic.qos with global limits a whole channel, whatever the types of its queues. RabbitMQ's quorum queues cannot."""

import pytest

from queue_types.queues import fill
from support.messages import Consumer, expect_ready


@pytest.fixture(autouse=True)
def limits(quorum_as_in_4):
    """An older RabbitMQ closes the connection for a quorum queue."""


def limited(connect, count, each=0):
    """A channel with a limit on all its consumers, and one on each."""
    channel = connect().channel()
    channel.basic_qos(prefetch_count=each)
    channel.basic_qos(prefetch_count=count, global_qos=True)
    return channel


def test_all_consumers_of_the_channel_share_it(connect, channel, queue_of, kind):
    first, second = queue_of(kind), queue_of(kind)
    shared = limited(connect, 3)
    consumers = [Consumer(shared, queue) for queue in (first, second)]
    for queue in (first, second):
        fill(channel, queue, "a", "b", "c")
    consumers[0].take(3)
    assert consumers[1].texts() == []
    shared.basic_ack(consumers[0].deliveries[1].tag, multiple=True)
    assert [delivery.text for delivery in consumers[1].take(2)] == ["a", "b"]
    expect_ready(channel, second, 1)


def test_the_consumers_own_limit_holds_beside_it(connect, channel, queue_of, kind):
    queue = queue_of(kind)
    shared = limited(connect, 5, each=1)
    first, second = Consumer(shared, queue), Consumer(shared, queue)
    fill(channel, queue, "a", "b", "c")
    first.take(1), second.take(1)
    expect_ready(channel, queue, 1)
    assert len(first.texts() + second.texts()) == 2


def test_it_can_be_raised_and_lifted(connect, channel, queue_of, kind):
    queue = queue_of(kind)
    fill(channel, queue, "a", "b", "c")
    shared = limited(connect, 1)
    consumer = Consumer(shared, queue)
    consumer.take(1)
    expect_ready(channel, queue, 2)
    shared.basic_qos(prefetch_count=2, global_qos=True)
    consumer.take(2)
    expect_ready(channel, queue, 1)
    shared.basic_qos(prefetch_count=0, global_qos=True)
    assert [delivery.text for delivery in consumer.take(3)] == ["a", "b", "c"]


def test_with_a_single_active_consumer(connect, channel, queue_of, kind):
    queue = queue_of(kind, single_active_consumer=True)
    first, second = Consumer(limited(connect, 2), queue), Consumer(limited(connect, 2), queue)
    fill(channel, queue, "a", "b", "c")
    first.take(2)
    expect_ready(channel, queue, 1)
    first.channel.basic_ack(0, multiple=True)
    assert first.take(3)[2].text == "c"
    assert second.texts() == []


def test_rejections_give_room(connect, channel, queue_of, kind):
    queue = queue_of(kind)
    consumer = Consumer(limited(connect, 1), queue)
    fill(channel, queue, "a", "b")
    for taken, how in enumerate(("basic_nack", "basic_reject"), 1):
        getattr(consumer.channel, how)(consumer.take(taken)[-1].tag, requeue=True)
    consumer.channel.basic_nack(consumer.take(3)[-1].tag, requeue=False)
    assert [delivery.text for delivery in consumer.take(4)] == ["a", "a", "a", "b"]
