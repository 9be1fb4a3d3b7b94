"""Queues that are deleted when nobody uses them: x-expires."""

import time

import pika
import pika.exceptions
import pytest

from semantics.queues import declare, exists, got
from support.deadline import eventually
from support.messages import Consumer, expect_ready, publish, ready


def asking(connection):
    """`asking(connection)(queue)`: whether no message can reach the queue. The question does not use the queue."""
    channel = connection.channel()
    channel.confirm_delivery()

    def ask(queue):
        try:
            channel.basic_publish("", queue, b"m", mandatory=True)
        except pika.exceptions.UnroutableError:
            return True
        return False

    return ask


@pytest.fixture
def is_gone(connect):
    """See asking."""
    return asking(connect())


def expect_gone(is_gone, queue):
    """Waits for the end of the queue."""
    eventually(lambda: is_gone(queue), f"the end of {queue}")


@pytest.mark.parametrize("durable", [False, True])
def test_an_unused_queue_goes(channel, connect, name, is_gone, durable):
    """Messages that come do not keep it."""
    begin = time.monotonic()
    q = declare(channel, name("q"), durable, expires=600)
    assert not is_gone(q)
    expect_gone(is_gone, q)
    assert time.monotonic() - begin >= 0.6
    assert not exists(connect, q)
    declare(channel, q, durable, expires=60_000)
    assert ready(channel, q) == 0


def test_a_consumer_keeps_it(channel, queue, is_gone):
    q = queue(expires=300)
    consumer = Consumer(channel, q)
    witness = queue(expires=500)
    expect_gone(is_gone, witness)
    assert not is_gone(q)
    begin = time.monotonic()
    channel.basic_cancel(consumer.tag)
    expect_gone(is_gone, q)
    assert time.monotonic() - begin >= 0.3


def test_the_end_of_a_connection_begins_its_time(connect, queue, is_gone):
    q = queue(expires=400)
    owner = connect()
    Consumer(owner.channel(), q)
    begin = time.monotonic()
    owner.close()
    expect_gone(is_gone, q)
    assert time.monotonic() - begin >= 0.4


@pytest.mark.parametrize("use", ["get", "declare", "passive declare"])
def test_use_puts_it_off(channel, queue, is_gone, use):
    q, witness = queue(expires=800), queue(expires=1200)
    calls = {
        "get": lambda: channel.basic_get(q),
        "declare": lambda: declare(channel, q, expires=800),
        "passive declare": lambda: ready(channel, q),
    }
    while not is_gone(witness):
        calls[use]()
    assert not is_gone(q)
    begin = time.monotonic()
    calls[use]()
    expect_gone(is_gone, q)
    assert time.monotonic() - begin >= 0.8


def test_its_messages_are_no_dead_letters(channel, queue, is_gone):
    target = queue()
    q = queue(expires=300, dead_letter_exchange="", dead_letter_routing_key=target)
    publish(channel, "", q, "ready", "unacknowledged")
    unacknowledged = got(channel, q, auto_ack=False)
    expect_ready(channel, q, 1)
    expect_gone(is_gone, q)
    channel.basic_nack(unacknowledged.tag, requeue=False)
    publish(channel, "", target, "after")
    expect_ready(channel, target, 1)


def test_its_bindings_go_with_it(channel, connect, queue, name, is_gone):
    exchange = name("x")
    channel.exchange_declare(exchange, "fanout", auto_delete=True)
    q = queue(expires=300)
    channel.queue_bind(q, exchange)
    expect_gone(is_gone, q)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        channel.exchange_declare(exchange, passive=True)
    assert closed.value.reply_code == 404


@pytest.mark.own_broker
def test_its_time_begins_anew_at_a_restart(on):
    broker = on()
    with pika.BlockingConnection(broker.parameters()) as connection:
        declare(connection.channel(), "q", True, expires=3000)
    broker.kill()
    begin = time.monotonic()
    broker = on()
    with pika.BlockingConnection(broker.parameters()) as connection:
        is_gone = asking(connection)
        assert not is_gone("q") or time.monotonic() - begin > 2.9
        expect_gone(is_gone, "q")
        assert time.monotonic() - begin >= 2.99
    assert broker.stop() == 0
    with pika.BlockingConnection(on().parameters()) as connection:
        assert asking(connection)("q")
