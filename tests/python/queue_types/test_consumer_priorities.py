"""Consumers with a higher priority are served first, as long as they can take something."""

from queue_types.queues import fill
from support.messages import Consumer, expect_ready


def consumer(connect, queue, priority, prefetch=1):
    """A consumer on a connection of its own that does not acknowledge by itself."""
    channel = connect().channel()
    channel.basic_qos(prefetch_count=prefetch)
    return Consumer(channel, queue, arguments={"x-priority": priority})


def test_a_lower_one_gets_what_the_higher_has_no_room_for(quorum_as_in_4, connect, channel, queue_of, kind):
    queue = queue_of(kind)
    low, high = consumer(connect, queue, 0, prefetch=2), consumer(connect, queue, 10, prefetch=2)
    fill(channel, queue, "a", "b", "c", "d", "e")
    assert [delivery.text for delivery in high.take(2)] == ["a", "b"]
    assert [delivery.text for delivery in low.take(2)] == ["c", "d"]
    high.channel.basic_ack(high.deliveries[0].tag)
    assert high.take(3)[2].text == "e"
    expect_ready(channel, queue, 0)


def test_negative_is_below_none(quorum_as_in_4, connect, channel, queue_of, kind):
    queue = queue_of(kind)
    last = consumer(connect, queue, -5)
    plain = connect().channel()
    plain.basic_qos(prefetch_count=1)
    plain = Consumer(plain, queue)
    fill(channel, queue, "a")
    assert plain.take(1)[0].text == "a"
    fill(channel, queue, "b")
    assert last.take(1)[0].text == "b"


def test_equals_take_turns_and_the_rest_gets_nothing(quorum_as_in_4, connect, channel, queue_of, kind):
    queue = queue_of(kind)
    low = consumer(connect, queue, 1, prefetch=100)
    first, second = consumer(connect, queue, 2, prefetch=100), consumer(connect, queue, 2, prefetch=100)
    for number in range(10):
        fill(channel, queue, str(number))
    assert {len(first.take(5)), len(second.take(5))} == {5}
    assert sorted(first.texts() + second.texts()) == [str(number) for number in range(10)]
    low.channel.basic_qos(prefetch_count=1)
    assert low.texts() == []


def test_one_that_comes_later_goes_ahead_of_those_that_are_there(quorum_as_in_4, connect, channel, queue_of, kind):
    queue = queue_of(kind)
    low = consumer(connect, queue, 0)
    fill(channel, queue, "a", "b")
    low.take(1)
    high = consumer(connect, queue, 5, prefetch=10)
    assert high.take(1)[0].text == "b"
    low.channel.basic_ack(low.deliveries[0].tag)
    fill(channel, queue, "c")
    assert high.take(2)[1].text == "c"
    high.channel.basic_cancel(high.tag)
    fill(channel, queue, "d")
    assert low.take(2)[1].text == "d"


def test_what_a_higher_one_gives_back_goes_to_it_again(quorum_as_in_4, connect, channel, queue_of, kind):
    queue = queue_of(kind)
    low, high = consumer(connect, queue, 0), consumer(connect, queue, 1)
    fill(channel, queue, "a")
    high.channel.basic_nack(high.take(1)[0].tag)
    assert high.take(2)[1].method.redelivered
    low.channel.basic_qos(prefetch_count=1)
    assert low.texts() == []


def test_several_on_one_channel_and_one_connection(quorum_as_in_4, channel, queue_of, kind):
    queue = queue_of(kind)
    low = Consumer(channel, queue, arguments={"x-priority": 1}, auto_ack=True)
    other = channel.connection.channel()
    middle = Consumer(other, queue, arguments={"x-priority": 2}, auto_ack=True)
    high = Consumer(channel, queue, arguments={"x-priority": 2**40}, auto_ack=True)
    for one in (high, middle, low):
        fill(channel, queue, one.tag)
        assert one.take(1)[0].text == one.tag
        one.channel.basic_cancel(one.tag)
