"""Single active consumer: one is given everything, until it leaves."""

import pytest

from queue_types.queues import declare, fill, refused
from queue_types.raw_consumer import ENDS, RawConsumer
from support.deadline import eventually, pump
from support.messages import Consumer, consumers, expect_ready, publish


@pytest.fixture
def queue(queue_of, kind):
    """A queue of either type with a single active consumer."""
    return queue_of(kind, single_active_consumer=True)


def acks(channel, delivery):
    """Acknowledges at once."""
    channel.basic_ack(delivery.tag)


def consumer(connect, queue, prefetch=0, priority=None, **options):
    """A consumer on a connection of its own."""
    channel = connect().channel()
    if prefetch:
        channel.basic_qos(prefetch_count=prefetch)
    if priority is not None:
        options["arguments"] = {"x-priority": priority}
    return Consumer(channel, queue, **options)


def idle(*waiting):
    """Gives waiting consumers the time of two round trips, in which they get nothing."""
    for one in waiting:
        before = len(one.deliveries)
        for _ in range(2):
            one.channel.basic_qos(prefetch_count=1)
        one.channel.connection.process_data_events(0)
        assert len(one.deliveries) == before, one.texts()


def test_the_first_is_given_everything_and_all_are_counted(quorum_as_in_4, connect, channel, queue):
    first, second, third = (consumer(connect, queue, each=acks) for _ in range(3))
    assert consumers(channel, queue) == 3
    fill(channel, queue, *map(str, range(20)))
    first.take(20)
    idle(second, third)
    assert first.texts() == [str(number) for number in range(20)]


def test_a_full_prefetch_of_the_active_one_holds_everything_back(connect, channel, queue):
    first, second = consumer(connect, queue, prefetch=2), consumer(connect, queue)
    fill(channel, queue, "a", "b", "c")
    first.take(2)
    idle(second)
    expect_ready(channel, queue, 1)
    first.channel.basic_ack(first.deliveries[0].tag)
    assert [delivery.text for delivery in first.take(3)] == ["a", "b", "c"]


def test_after_cancel_the_next_goes_on_and_the_unacknowledged_stay(as_in_4, connect, channel, queue):
    first, second = consumer(connect, queue, prefetch=2), consumer(connect, queue, prefetch=10)
    fill(channel, queue, "a", "b", "c", "d")
    first.take(2)
    first.channel.basic_cancel(first.tag)
    second.take(2)
    assert second.texts() == ["c", "d"]
    first.channel.basic_ack(first.deliveries[0].tag)
    first.channel.close()
    assert [delivery.text for delivery in second.take(3)] == ["c", "d", "b"]
    assert [delivery.method.redelivered for delivery in second.deliveries] == [False, False, True]


@pytest.mark.parametrize("end", ENDS)
def test_after_a_close_the_next_begins_with_what_came_back(quorum_as_in_4, broker, connect, channel, queue, end):
    first = RawConsumer(broker, queue, prefetch=3)
    second = consumer(connect, queue)
    fill(channel, queue, *"abcdef")
    assert first.take(3) == list("abc")
    idle(second)
    first.leave(end)
    second.take(6)
    assert second.texts() == list("abcdef")
    assert [delivery.method.redelivered for delivery in second.deliveries] == [True] * 3 + [False] * 3


def test_nothing_is_lost_or_out_of_order_while_consumers_come_and_go(quorum_as_in_4, broker, channel, queue):
    total, share = 100, 10
    line = [RawConsumer(broker, queue, prefetch=share) for _ in range(total // share)]
    fill(channel, queue, *map(str, range(total)))
    seen = []
    for number, one in enumerate(line):
        seen += one.take(share)
        # What it is given between its acknowledgement and its end comes again.
        one.acknowledge()
        one.leave(ENDS[number % 2])
    assert seen == [str(number) for number in range(total)]
    expect_ready(channel, queue, 0)


def test_a_waiting_consumer_may_leave(quorum_as_in_4, broker, connect, channel, queue):
    first = RawConsumer(broker, queue, prefetch=1)
    second, third = (consumer(connect, queue, prefetch=1) for _ in range(2))
    second.channel.basic_cancel(second.tag)
    fill(channel, queue, "a", "b")
    assert first.take(1) == ["a"]
    first.leave()
    assert third.take(1)[0].text == "a"
    eventually(lambda: consumers(channel, queue) == 1, "one consumer is left")


def test_the_heir_is_the_one_with_the_highest_priority_and_among_equals_the_oldest(quorum_as_in_4, connect, channel, queue):
    first = consumer(connect, queue, priority=5, each=acks)
    low, high, younger = (consumer(connect, queue, priority=priority, each=acks) for priority in (0, 3, 3))
    for number, one in enumerate((first, high, younger, low)):
        fill(channel, queue, str(number))
        assert one.take(1)[0].text == str(number)
        one.channel.connection.close()


def test_in_a_classic_queue_a_higher_priority_waits(connect, channel, queue_of):
    queue = queue_of("classic", single_active_consumer=True)
    first = consumer(connect, queue, priority=0, each=acks)
    second = consumer(connect, queue, priority=10, each=acks)
    fill(channel, queue, "a", "b")
    first.take(2)
    idle(second)


def test_in_a_quorum_queue_a_higher_priority_takes_over_once_all_is_settled(as_in_4, connect, channel, queue_of):
    queue = queue_of("quorum", single_active_consumer=True)
    first = consumer(connect, queue, prefetch=2, priority=0)
    fill(channel, queue, "a", "b", "c", "d")
    first.take(2)
    second = consumer(connect, queue, priority=10, each=acks)
    first.channel.basic_ack(first.deliveries[0].tag)
    idle(first, second)
    first.channel.basic_ack(first.deliveries[1].tag)
    second.take(2)
    assert (first.texts(), second.texts()) == (["a", "b"], ["c", "d"])
    second.channel.close()
    fill(channel, queue, "e")
    assert first.take(3)[2].text == "e"


def test_a_takeover_is_off_when_the_newcomer_leaves(as_in_4, connect, channel, queue_of):
    queue = queue_of("quorum", single_active_consumer=True)
    first = consumer(connect, queue, prefetch=2, priority=0)
    fill(channel, queue, "a")
    first.take(1)
    second = consumer(connect, queue, priority=10)
    fill(channel, queue, "b")
    idle(first, second)
    second.channel.basic_cancel(second.tag)
    assert [delivery.text for delivery in first.take(2)] == ["a", "b"]


def test_requeued_messages_go_to_the_same_one(connect, channel, queue):
    first, second = consumer(connect, queue), consumer(connect, queue)
    fill(channel, queue, "a")
    first.channel.basic_nack(first.take(1)[0].tag)
    assert first.take(2)[1].method.redelivered
    idle(second)


def test_consumers_on_one_channel(channel, queue):
    first, second = Consumer(channel, queue, each=acks), Consumer(channel, queue, each=acks)
    publish(channel, "", queue, "a", "b")
    first.take(2)
    channel.basic_cancel(first.tag)
    publish(channel, "", queue, "c")
    assert second.take(1)[0].text == "c"


def test_an_exclusive_consumer_is_refused(quorum_as_in_4, connect, channel, queue):
    with refused(403, f"queue '{queue}' in vhost '/' in exclusive use"):
        consumer(connect, queue, exclusive=True)
    first = consumer(connect, queue)
    with refused(403, "in exclusive use"):
        consumer(connect, queue, exclusive=True)
    fill(channel, queue, "a")
    first.take(1)


def test_get_is_for_classic_queues_only(connect, channel, queue, kind):
    fill(channel, queue, "a")
    other = connect().channel()
    if kind == "classic":
        assert other.basic_get(queue)[2] == b"a"
        return
    words = "basic.get operations are not supported by quorum queues with single active consumer"
    with refused(405, f"cannot obtain access to locked queue '{queue}' in vhost '/'. {words}"):
        other.basic_get(queue)
    expect_ready(channel, queue, 1)


@pytest.mark.parametrize("value", [None, False])
def test_it_is_compared_when_the_queue_is_declared_again(connect, queue, kind, value):
    declare(connect().channel(), queue, kind, single_active_consumer=True)
    with refused(406, "inequivalent arg 'x-single-active-consumer'"):
        declare(connect().channel(), queue, kind, **({} if value is None else {"single_active_consumer": value}))


def test_false_is_as_without(connect, channel, queue_of, kind):
    queue = queue_of(kind, single_active_consumer=False)
    both = [consumer(connect, queue, prefetch=1) for _ in range(2)]
    fill(channel, queue, "a", "b")
    for one in both:
        one.take(1)


def test_the_queue_goes_away_under_all_of_them(connect, channel, queue):
    both = [consumer(connect, queue) for _ in range(2)]
    cancelled = []
    for one in both:
        one.channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    channel.queue_delete(queue)
    for one in both:
        pump(one.channel.connection, lambda one=one: one.tag in cancelled, "the consumer is cancelled")
