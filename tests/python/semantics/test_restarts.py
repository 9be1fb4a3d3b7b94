"""Lifetimes, limits and dead letters over a restart: in order, and by kill -9."""

import time

import pika
import pika.exceptions
import pytest

from semantics.deaths import death, deaths, story
from semantics.queues import declare, got, got_all
from support.deadline import eventually
from support.messages import PERSISTENT, Consumer, expect_ready, publish, ready

pytestmark = pytest.mark.own_broker


def opened(broker):
    """A channel with confirms on a new connection."""
    channel = pika.BlockingConnection(broker.parameters()).channel()
    channel.confirm_delivery()
    return channel


def lasting(milliseconds):
    """Properties of a persistent message with a lifetime."""
    return pika.BasicProperties(delivery_mode=2, expiration=str(milliseconds))


@pytest.fixture(params=["stop", "kill"])
def life(request, on):
    """A broker; `life.again()` ends it and answers a channel on the next one."""

    class Life:
        broker = on()

        def end(self):
            """SIGTERM or SIGKILL."""
            getattr(self.broker, request.param)()

        def again(self):
            """A channel on a new broker."""
            if self.broker.running():
                self.end()
            self.broker = on()
            return opened(self.broker)

    return Life()


def sync(channel):
    """A confirm is certain only after everything before it."""
    declare(channel, "sync", True)
    publish(channel, "", "sync", "m", properties=PERSISTENT)


@pytest.mark.parametrize("arguments, properties", [({"message_ttl": 2000}, PERSISTENT), ({}, lasting(2000))])
def test_a_deadline_is_kept(life, arguments, properties):
    """The time while nothing runs counts, and what had none left is a dead letter at the start."""
    channel = opened(life.broker)
    declare(channel, "dead", True)
    declare(channel, "q", True, dead_letter_exchange="", dead_letter_routing_key="dead", **arguments)
    declare(channel, "long", True, message_ttl=60_000)
    begin = time.monotonic()
    publish(channel, "", "q", "m", properties=properties)
    publish(channel, "", "long", "m", properties=lasting(50_000))
    channel = life.again()
    if time.monotonic() - begin < 1.5:
        assert ready(channel, "q") == 1
    assert got(channel, "dead").text == "m"
    assert time.monotonic() - begin >= 1.99
    publish(channel, "", "q", "again", properties=properties)
    life.end()
    eventually(lambda: time.monotonic() - begin > 4.2, "the deadline passes")
    begin = time.monotonic()
    channel = life.again()
    letter = got(channel, "dead")
    assert (letter.text, deaths(letter)[0]["reason"]) == ("again", "expired")
    assert got(channel, "long").properties.expiration == "50000"


def test_an_unacknowledged_message_keeps_its_deadline(life):
    channel = opened(life.broker)
    declare(channel, "q", True)
    publish(channel, "", "q", "short", properties=lasting(300))
    publish(channel, "", "q", "none", properties=PERSISTENT)
    got(channel, "q", auto_ack=False)
    declare(channel, "witness")
    publish(channel, "", "witness", "m", properties=lasting(400))
    expect_ready(channel, "witness", 0)
    channel = life.again()
    assert got_all(channel, "q", 1) == ["none"]


def test_a_limit_counts_what_was_there(life):
    channel = opened(life.broker)
    declare(channel, "drop", True, max_length=3)
    declare(channel, "refuse", True, max_length_bytes=3, overflow="reject-publish")
    for q in ("drop", "refuse"):
        publish(channel, "", q, "a", "b", properties=PERSISTENT)
        publish(channel, "", q, "t")
    channel = life.again()
    for q in ("drop", "refuse"):
        # What is transient is gone and leaves room.
        publish(channel, "", q, "c", properties=PERSISTENT)
    publish(channel, "", "drop", "d", properties=PERSISTENT)
    with pytest.raises(pika.exceptions.NackError):
        publish(channel, "", "refuse", "d", properties=PERSISTENT)
    channel = life.again()
    assert got_all(channel, "drop", 3) == ["b", "c", "d"]
    assert got_all(channel, "refuse", 3) == ["a", "b", "c"]


def test_what_was_dropped_stays_away(life):
    channel = opened(life.broker)
    declare(channel, "dead", True)
    declare(channel, "without", True, max_length=2)
    declare(channel, "with", True, max_length=2, dead_letter_exchange="", dead_letter_routing_key="dead")
    for q in ("without", "with"):
        publish(channel, "", q, *"abcde", properties=PERSISTENT)
    sync(channel)
    channel = life.again()
    assert got_all(channel, "without", 2) == ["d", "e"]
    assert got_all(channel, "with", 2) == ["d", "e"]
    assert [got(channel, "dead").text for _ in range(3)] == ["a", "b", "c"]
    assert ready(channel, "dead") == 0


def test_deaths_are_remembered_and_counted_on(life):
    channel = opened(life.broker)
    declare(channel, "work", True, dead_letter_exchange="", dead_letter_routing_key="wait")
    declare(channel, "wait", True, dead_letter_exchange="", dead_letter_routing_key="work", message_ttl=20)
    publish(channel, "", "work", "m", properties=PERSISTENT)
    for count in range(1, 4):
        channel.basic_reject(got(channel, "work", auto_ack=False).tag, requeue=False)
        letter = got(channel, "work", auto_ack=False)
        sync(channel)
        channel = life.again()
        letter = got(channel, "work", auto_ack=False)
        assert letter.method.redelivered
        assert deaths(letter) == [
            death("wait", "expired", ["wait"], count=count),
            death("work", "rejected", ["work"], count=count),
        ]
        assert story(letter.properties.headers, "first") == ("work", "rejected", "")
        channel.basic_nack(letter.tag)


def test_a_circle_is_recognized(life):
    """A letter that had expired here before goes no second time."""
    channel = opened(life.broker)
    declare(channel, "one", True, dead_letter_exchange="", dead_letter_routing_key="two", message_ttl=20)
    declare(channel, "two", True, dead_letter_exchange="", dead_letter_routing_key="one", message_ttl=2000)
    publish(channel, "", "one", "m", properties=PERSISTENT)
    expect_ready(channel, "two", 1)
    sync(channel)
    channel = life.again()
    expect_ready(channel, "two", 0)
    sync(channel)
    assert (ready(channel, "one"), ready(channel, "two")) == (0, 0)


def test_a_key_that_replaced_others_still_does(life):
    """The CC header is there for people; the letter does not follow it."""
    channel = opened(life.broker)
    declare(channel, "copy", True)
    channel.exchange_declare("x", "direct", durable=True)
    channel.queue_bind("copy", "x", "copy")
    declare(channel, "last", True)
    channel.queue_bind("last", "x", "middle")
    declare(channel, "middle", True, dead_letter_exchange="x")
    declare(channel, "q", True, dead_letter_exchange="", dead_letter_routing_key="middle")
    headers = {"CC": ["copy"]}
    publish(channel, "", "q", "m", properties=pika.BasicProperties(delivery_mode=2, headers=headers))
    assert got(channel, "copy").text == "m"
    channel.basic_reject(got(channel, "q", auto_ack=False).tag, requeue=False)
    expect_ready(channel, "middle", 1)
    sync(channel)
    channel = life.again()
    channel.basic_reject(got(channel, "middle", auto_ack=False).tag, requeue=False)
    letter = got(channel, "last")
    assert letter.properties.headers["CC"] == ["copy"]
    assert deaths(letter) == [death("middle", "rejected", ["middle"]), death("q", "rejected", ["q", "copy"])]
    assert ready(channel, "copy") == 0


def test_dead_letters_are_moved_exactly_once(on):
    """kill -9 at any moment of the move: each message is in one of the queues, and comes to the second in the end."""
    total, rounds = 1500, 4
    broker = on()
    channel = opened(broker)
    declare(channel, "dead", True)
    for at in range(rounds):
        declare(channel, "q", True, dead_letter_exchange="", dead_letter_routing_key="dead")
        worker = channel.connection.channel()
        publish(worker, "", "q", *(f"{at}.{number}" for number in range(total)), properties=PERSISTENT)
        expect_ready(worker, "q", total)
        sync(channel)
        consumer = Consumer(worker, "q")
        last = consumer.take(total)[-1]
        worker.basic_nack(last.tag, multiple=True, requeue=False)
        some = at * total + at * total // rounds
        eventually(lambda c=channel, n=some: ready(c, "dead") >= n, f"{some} letters", pause=0)
        broker.kill()
        broker = on()
        channel = opened(broker)

        def settled(channel=channel, wanted=(at + 1) * total):
            """What was not dead yet is rejected now; the others are on their way by themselves."""
            method, _, _ = channel.basic_get("q")
            if method:
                channel.basic_nack(method.delivery_tag, requeue=False)
            return ready(channel, "dead") == wanted

        eventually(settled, "all letters", pause=0)
    letters = got_all(channel, "dead", rounds * total)
    assert sorted(letters) == sorted(f"{at}.{number}" for at in range(rounds) for number in range(total))
