"""A channel ends when a delivery is not acknowledged in time, and what it had is there for others."""

import time

import pika
import pytest

from support.deadline import pump
from support.messages import Consumer, publish

TEXT = (
    "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: {} ms. "
    "This timeout value can be configured, see consumers doc guide to learn more"
)


@pytest.fixture
def hasty(leveret):
    """A broker whose patience lasts one second."""
    with pika.BlockingConnection(leveret({"amqp.consumer_timeout": "1s"}).parameters()) as connection:
        channel = connection.channel()
        channel.queue_declare("q")
        yield channel


def timed_out(channel, milliseconds):
    """Waits for the end of the channel, checks what it was told, and returns how long that took."""
    begin = time.monotonic()
    closed = pump(channel.connection, lambda: channel._closing_reason, "the end of the channel", 10)
    assert (closed.reply_code, closed.reply_text) == (406, TEXT.format(milliseconds))
    return time.monotonic() - begin


@pytest.mark.own_broker
@pytest.mark.parametrize("way", ["consume", "get"])
def test_what_is_not_acknowledged_goes_to_others(hasty, way):
    connection, channel = hasty.connection, hasty
    publish(channel, "", "q", b"one", b"two")
    if way == "consume":
        Consumer(channel, "q").take(2)
    else:
        assert [channel.basic_get("q")[2] for _ in range(2)] == [b"one", b"two"]
    channel.basic_ack(2)
    assert 0.9 < timed_out(channel, 1000) < 3
    method, _, body = connection.channel().basic_get("q", auto_ack=True)
    assert (body, method.redelivered, method.message_count) == (b"one", True, 0)


@pytest.mark.own_broker
def test_a_consumer_that_acknowledges_stays(hasty):
    consumer = Consumer(hasty, "q", each=lambda channel, delivery: channel.basic_ack(delivery.tag))
    for number in range(15):
        publish(hasty, "", "q", str(number))
        consumer.take(number + 1)
        hasty.connection.process_data_events(0.2)
    assert consumer.texts() == [str(number) for number in range(15)]


@pytest.mark.own_broker
def test_a_consumer_has_a_timeout_of_its_own(hasty):
    connection = hasty.connection
    patient, hurried = connection.channel(), connection.channel()
    publish(hasty, "", "q", b"a", b"b")
    patient.basic_qos(prefetch_count=1)
    slow = Consumer(patient, "q", arguments={"x-consumer-timeout": 0})
    slow.take(1)
    hurried.basic_qos(prefetch_count=1)
    Consumer(hurried, "q", arguments={"x-consumer-timeout": 300}).take(1)
    pump(connection, lambda: not hurried.is_open, "the end of the hurried channel", 5)
    connection.process_data_events(2)
    assert patient.is_open
    patient.basic_ack(slow.deliveries[0].tag)
    slow.take(2)
