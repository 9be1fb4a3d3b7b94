"""Lifetimes, limits, dead letters and priorities together."""

import random

import pika
import pytest

from semantics.deaths import death, deaths
from semantics.queues import got, got_all
from support.deadline import pump
from support.messages import Consumer, bound_queue, expect_ready, publish, ready


def test_each_reason_leads_to_the_same_queue(channel, queue):
    """Dropped for lack of room, rejected, and expired, from one queue with priorities."""
    target = queue()
    letters = {"dead_letter_exchange": "", "dead_letter_routing_key": target}
    q = queue(max_priority=5, max_length=3, message_ttl=1500, **letters)
    for text, priority in (("low", 1), ("middle", 3), ("low too", 1), ("high", 5)):
        publish(channel, "", q, text, properties=pika.BasicProperties(priority=priority))
    channel.basic_reject(got(channel, q, auto_ack=False).tag, requeue=False)
    found = [got(channel, target) for _ in range(4)]
    assert [(letter.text, letter.properties.priority) for letter in found] == [
        ("high", 5),
        ("middle", 3),
        ("low", 1),
        ("low too", 1),
    ]
    assert [deaths(letter) for letter in found] == [
        [death(q, reason, [q])] for reason in ("maxlen", "rejected", "expired", "expired")
    ]


def test_who_has_neither_room_nor_time_dies_for_lack_of_room(channel, queue):
    """It comes back beyond its time to a queue that is full meanwhile."""
    target, witness = queue(), queue(message_ttl=1200)
    q = queue(max_length=1, dead_letter_exchange="", dead_letter_routing_key=target)
    publish(channel, "", q, "short", properties=pika.BasicProperties(expiration="1000"))
    publish(channel, "", witness, "m")
    short = got(channel, q, auto_ack=False)
    publish(channel, "", q, "other")
    expect_ready(channel, witness, 0)
    channel.basic_nack(short.tag)
    assert deaths(got(channel, target)) == [death(q, "maxlen", [q], expiration="1000")]
    assert got_all(channel, q, 1) == ["other"]


def test_who_comes_back_to_a_full_queue_is_dropped(channel, queue):
    target = queue()
    q = queue(max_length=1, dead_letter_exchange="", dead_letter_routing_key=target)
    publish(channel, "", q, "old")
    old = got(channel, q, auto_ack=False)
    publish(channel, "", q, "new")
    expect_ready(channel, q, 1)
    channel.basic_nack(old.tag)
    letter = got(channel, target)
    assert letter.text == "old" and not letter.method.redelivered
    assert deaths(letter) == [death(q, "maxlen", [q])]
    assert got_all(channel, q, 1) == ["new"]


def test_retries_with_growing_delays(channel, queue):
    """A work queue whose rejected messages wait, each in a queue of its own time, and come back."""
    work = queue()
    delays = [queue(message_ttl=ttl, dead_letter_exchange="", dead_letter_routing_key=work) for ttl in (20, 60, 120)]
    publish(channel, "", work, "m")
    for delay in delays:
        delivery = got(channel, work, auto_ack=False)
        publish(channel, "", delay, delivery.body, properties=delivery.properties)
        channel.basic_ack(delivery.tag)
    assert got(channel, work).properties.headers["x-death"][0]["queue"] == delays[-1]


def test_a_chain_of_full_queues(channel, queue):
    """Each keeps the newest it has room for and passes the others on."""
    last = queue()
    names = [last]
    for _ in range(3):
        names.append(queue(max_length=2, dead_letter_exchange="", dead_letter_routing_key=names[-1]))
    publish(channel, "", names[-1], *(str(number) for number in range(10)))
    for q in names[:0:-1]:
        expect_ready(channel, q, 2)
    expect_ready(channel, last, 4)
    assert [got_all(channel, q, 2) for q in names[:0:-1]] == [["8", "9"], ["6", "7"], ["4", "5"]]
    assert got_all(channel, last, 4) == ["0", "1", "2", "3"]


def test_a_fanout_to_itself_and_others(channel, queue, name):
    """The letters of one exchange to several queues with limits of their own."""
    dlx = name("x")
    channel.exchange_declare(dlx, "fanout")
    q = queue(dead_letter_exchange=dlx, message_ttl=50)
    short = queue(max_length=1)
    channel.queue_bind(short, dlx)
    all_of_them = bound_queue(channel, dlx, "")
    publish(channel, "", q, *"abc")
    assert [got(channel, all_of_them).text for _ in range(3)] == ["a", "b", "c"]
    assert got_all(channel, short, 1) == ["c"]


def test_consumers_on_both_ends(channel, connect, queue):
    """Some of many messages are rejected: each is acknowledged or a dead letter, in order and exactly once."""
    target = queue()
    q = queue(max_priority=1, dead_letter_exchange="", dead_letter_routing_key=target)
    total, numbers, acked = 2000, random.Random(5), []

    def judge(channel, delivery):
        if numbers.random() < 0.5:
            acked.append(delivery.text)
            channel.basic_ack(delivery.tag)
        else:
            channel.basic_reject(delivery.tag, requeue=False)

    other = connect().channel()
    letters = Consumer(other, target, auto_ack=True)
    channel.basic_qos(prefetch_count=50)
    consumer = Consumer(channel, q, each=judge)
    publish(channel, "", q, *(str(number) for number in range(total)))
    consumer.take(total)
    letters.take(total - len(acked))
    assert sorted(letters.texts() + acked, key=int) == [str(number) for number in range(total)]
    assert letters.texts() == sorted(letters.texts(), key=int)
    assert (ready(channel, q), ready(channel, target)) == (0, 0)


@pytest.mark.parametrize("overflow", ["drop-head", "reject-publish-dlx"])
def test_nothing_is_lost_in_a_burst(channel, connect, queue, overflow):
    """Far more than there is room for: what is not in the queue is a dead letter."""
    target = queue()
    q = queue(max_length=10, overflow=overflow, dead_letter_exchange="", dead_letter_routing_key=target)
    total = 3000
    publish(channel, "", q, *(str(number) for number in range(total)))
    expect_ready(channel, q, 10)
    expect_ready(channel, target, total - 10)
    consumer = Consumer(channel, target, auto_ack=True)
    pump(channel.connection, lambda: len(consumer.deliveries) == total - 10, "all letters")
    kept = got_all(channel, q, 10)
    letters = consumer.texts()
    assert letters == sorted(letters, key=int)
    expected = range(10) if overflow == "reject-publish-dlx" else range(total - 10, total)
    assert kept == [str(number) for number in expected]
    assert sorted(kept + letters, key=int) == [str(number) for number in range(total)]
