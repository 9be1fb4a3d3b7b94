"""Queues that are longer than what is kept of them in memory: lifetimes, limits, dead letters and priorities there.

The journal is small, so that persistent messages leave it for segments; and so is the memory for transient ones.
"""

import random

import pika
import pytest

from durability.backlog import segments, wait_for_segments
from semantics.deaths import death, deaths
from semantics.queues import declare
from support.deadline import eventually
from support.messages import Consumer, expect_ready, publish, ready

pytestmark = [pytest.mark.own_broker, pytest.mark.timeout(120)]

SETTINGS = {
    "storage.journal_file": "256KiB",
    "storage.journal_budget": "512KiB",
    "memory.messages": "4MiB",
    "memory.check_interval": "100ms",
}
COUNT = 800
SIZE = 16 * 1024
"""Together three times what a queue keeps in memory."""

PERSISTENT, TRANSIENT = 2, 1
MODES = pytest.mark.parametrize("mode", [PERSISTENT, TRANSIENT])
PRIORITIES = random.Random(11).choices(range(4), k=COUNT)


def opened(broker):
    """A channel on a new connection."""
    return pika.BlockingConnection(broker.parameters()).channel()


def text(number):
    """The body of a message, which begins with its number."""
    return f"{number:06}" + "x" * (SIZE - 6)


def fill(broker, channel, queue, mode, **properties):
    """Publishes numbered messages, each with a priority, and waits until some of them are on disk."""
    for number, priority in enumerate(PRIORITIES):
        basic = pika.BasicProperties(delivery_mode=mode, priority=priority, **properties)
        publish(channel, "", queue, text(number), properties=basic)
    wait_for_segments(broker.data_dir)


def taken(channel, queue, count=COUNT):
    """Takes so many messages, which must be whole, and answers the deliveries with their numbers; nothing is left."""
    channel.basic_qos(prefetch_count=200)
    consumer = Consumer(channel, queue, each=lambda channel, delivery: channel.basic_ack(delivery.tag))
    found = consumer.take(count, 30)
    channel.basic_cancel(consumer.tag)
    assert ready(channel, queue) == 0 and len(found) == count
    numbers = [int(delivery.text[:6]) for delivery in found]
    assert all(delivery.text == text(number) for delivery, number in zip(found, numbers))
    return found, numbers


def letters_to(channel, queue, **arguments):
    """Declares the queue `dead` and another one whose dead letters go there."""
    declare(channel, "dead", True)
    return declare(channel, queue, True, dead_letter_exchange="", dead_letter_routing_key="dead", **arguments)


def by_priority():
    """The numbers of all messages, highest priority first."""
    return sorted(range(COUNT), key=lambda number: (-PRIORITIES[number], number))


def expect_space_back(broker):
    """Nothing is in any queue: the segments are gone."""
    eventually(lambda: not segments(broker.data_dir), "the segments are gone", 20)


@MODES
@pytest.mark.parametrize("whose", ["queue", "message"])
def test_they_expire_into_another_queue(on, mode, whose):
    broker = on(SETTINGS)
    channel = opened(broker)
    letters_to(channel, "q", **({"message_ttl": 2500} if whose == "queue" else {}))
    fill(broker, channel, "q", mode, **({"expiration": "2500"} if whose == "message" else {}))
    expect_ready(channel, "dead", COUNT)
    assert ready(channel, "q") == 0
    found, numbers = taken(channel, "dead")
    assert numbers == list(range(COUNT))
    expected = [death("q", "expired", ["q"], expiration="2500" if whose == "message" else None)]
    assert all(deaths(letter) == expected for letter in found)
    expect_space_back(broker)


def test_they_expire_after_a_kill(on):
    """In a broker that has read none of them, without anybody who asks for one."""
    broker = on(SETTINGS)
    channel = opened(broker)
    letters_to(channel, "q", message_ttl=3000)
    channel.confirm_delivery()
    fill(broker, channel, "q", PERSISTENT)
    broker.kill()
    broker = on(SETTINGS)
    channel = opened(broker)
    expect_ready(channel, "dead", COUNT)
    assert taken(channel, "dead")[1] == list(range(COUNT))
    assert ready(channel, "q") == 0
    expect_space_back(broker)


@MODES
def test_they_are_rejected_into_another_queue(on, mode):
    """All at once, when most of them have left memory again."""
    broker = on(SETTINGS)
    channel = opened(broker)
    letters_to(channel, "q")
    fill(broker, channel, "q", mode)
    consumer = Consumer(channel, "q")
    last = consumer.take(COUNT, 30)[-1]
    channel.basic_nack(last.tag, multiple=True, requeue=False)
    expect_ready(channel, "dead", COUNT)
    channel.basic_cancel(consumer.tag)
    found, numbers = taken(channel, "dead")
    assert numbers == list(range(COUNT))
    assert all(deaths(letter) == [death("q", "rejected", ["q"])] for letter in found)
    expect_space_back(broker)


@MODES
@pytest.mark.parametrize("limit", [{"max_length": COUNT - 150}, {"max_length_bytes": (COUNT - 150) * SIZE}])
def test_the_oldest_are_dropped(on, mode, limit):
    broker = on(SETTINGS)
    channel = opened(broker)
    letters_to(channel, "q", **limit)
    fill(broker, channel, "q", mode)
    expect_ready(channel, "dead", 150)
    assert taken(channel, "dead", 150)[1] == list(range(150))
    assert taken(channel, "q", COUNT - 150)[1] == list(range(150, COUNT))
    expect_space_back(broker)


@MODES
def test_priorities(on, mode):
    broker = on(SETTINGS)
    channel = opened(broker)
    declare(channel, "q", True, max_priority=3)
    fill(broker, channel, "q", mode)
    assert taken(channel, "q")[1] == by_priority()
    expect_space_back(broker)


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_priorities_after_a_restart(on, end):
    """Some are acknowledged, some were away; what comes then finds its place among them."""
    broker = on(SETTINGS)
    channel = opened(broker)
    channel.confirm_delivery()
    declare(channel, "q", True, max_priority=3)
    fill(broker, channel, "q", PERSISTENT)
    consumer = Consumer(channel, "q")
    held = consumer.take(500)
    channel.basic_ack(held[99].tag, multiple=True)
    publish(channel, "", "q", text(0), properties=pika.BasicProperties(delivery_mode=PERSISTENT, priority=0))
    getattr(broker, end)()
    broker = on(SETTINGS)
    channel = opened(broker)
    assert taken(channel, "q", COUNT - 100 + 1)[1] == by_priority()[100:] + [0]
    expect_space_back(broker)


def test_all_of_it_at_once(on):
    """With priorities, a limit and lifetimes, over a kill: what is not acknowledged is a dead letter, once."""
    broker = on(SETTINGS)
    channel = opened(broker)
    channel.confirm_delivery()
    letters_to(channel, "q", max_priority=3, max_length=COUNT - 400, message_ttl=3000)
    channel.basic_qos(prefetch_count=300)
    consumer = Consumer(channel, "q")
    fill(broker, channel, "q", PERSISTENT)
    held = consumer.take(300)
    acked = {int(delivery.text[:6]) for delivery in held[:100]}
    for delivery in held[100:200]:
        channel.basic_reject(delivery.tag, requeue=False)
    channel.basic_ack(held[99].tag, multiple=True)
    # A confirm says nothing of acknowledgements that arrive together with its message, the answer to a question does.
    ready(channel, "q")
    publish(channel, "", "dead", text(COUNT), properties=pika.BasicProperties(delivery_mode=PERSISTENT))
    broker.kill()
    broker = on(SETTINGS)
    channel = opened(broker)
    expect_ready(channel, "dead", COUNT - 100 + 1)
    found, numbers = taken(channel, "dead", COUNT - 100 + 1)
    assert sorted(numbers) == sorted(set(range(COUNT + 1)) - acked)
    died = [letter for letter in found if "x-death" in (letter.properties.headers or {})]
    reasons = [deaths(letter)[0]["reason"] for letter in died]
    # How many find no room depends on how many expire before.
    assert reasons.count("rejected") == 100 and reasons.count("expired") > 0
    assert reasons.count("maxlen") + reasons.count("expired") == COUNT - 200
    assert ready(channel, "q") == 0
    expect_space_back(broker)
