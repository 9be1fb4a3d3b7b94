"""An exclusive consumer is alone on its queue, and only as long as it is there."""

import pytest

from queue_types.queues import fill, refused
from queue_types.raw_consumer import RawConsumer
from support.deadline import eventually
from support.messages import Consumer, consumers

IN_USE = "queue '{}' in vhost '/' in exclusive use"


@pytest.fixture
def queue(queue_of, kind):
    """A queue of either type."""
    return queue_of(kind)


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_whoever_comes_second_is_refused_if_one_is_exclusive(quorum_as_in_4, connect, channel, queue, first, second):
    there = Consumer(connect().channel(), queue, exclusive=first)
    late = connect().channel()
    if not first and not second:
        Consumer(late, queue)
        assert consumers(channel, queue) == 2
        return
    with refused(403, IN_USE.format(queue)):
        Consumer(late, queue, exclusive=second)
    assert late.connection.is_open
    assert consumers(channel, queue) == 1
    fill(channel, queue, "a")
    assert there.take(1)[0].text == "a"


def test_it_holds_on_its_own_channel_too(quorum_as_in_4, connect, queue):
    channel = connect().channel()
    Consumer(channel, queue, exclusive=True)
    with refused(403, IN_USE.format(queue)):
        Consumer(channel, queue)


@pytest.mark.parametrize("end", ["cancel", "channel", "connection"])
def test_when_it_has_left_others_may_come(connect, channel, queue, end):
    first = Consumer(connect().channel(), queue, exclusive=True)
    if end == "cancel":
        first.channel.basic_cancel(first.tag)
    else:
        (first.channel if end == "channel" else first.channel.connection).close()
    second = Consumer(connect().channel(), queue, exclusive=True)
    fill(channel, queue, "a")
    assert second.take(1)[0].text == "a"


def test_when_its_connection_is_lost_others_may_come(broker, connect, channel, queue):
    with RawConsumer(broker, queue, prefetch=1, exclusive=True) as first:
        fill(channel, queue, "a")
        assert first.take(1) == ["a"]
    eventually(lambda: consumers(channel, queue) == 0, "it is gone")
    assert Consumer(connect().channel(), queue, exclusive=True).take(1)[0].method.redelivered


def test_a_refused_one_leaves_the_queue_free(quorum_as_in_4, connect, channel, queue):
    first = Consumer(connect().channel(), queue)
    with refused(403, IN_USE.format(queue)):
        Consumer(connect().channel(), queue, exclusive=True)
    first.channel.basic_cancel(first.tag)
    Consumer(connect().channel(), queue, exclusive=True)


def test_get_publish_and_purge_are_for_everybody(connect, channel, queue):
    owner = connect().channel()
    owner.basic_qos(prefetch_count=1)
    first = Consumer(owner, queue, exclusive=True)
    fill(channel, queue, "a", "b", "c")
    first.take(1)
    assert channel.basic_get(queue, auto_ack=True)[2] == b"b"
    assert channel.queue_purge(queue).method.message_count == 1
