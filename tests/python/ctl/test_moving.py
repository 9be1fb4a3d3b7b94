"""Messages that are moved from one queue to another."""

import subprocess

import pika
import pytest

from ctl.run import done, fails
from support.broker import Leveret, binary
from support.deadline import eventually
from support.messages import PERSISTENT, Consumer, drain, publish, ready

pytestmark = pytest.mark.own_broker


def test_messages_are_moved_as_they_are(on, opened):
    broker = on()
    channel = opened(broker).channel()
    channel.confirm_delivery()
    channel.queue_declare("a", durable=True)
    channel.queue_declare("b")
    properties = pika.BasicProperties(delivery_mode=2, headers={"k": "v"}, expiration="1000000")
    channel.exchange_declare("x", "fanout")
    channel.queue_bind("a", "x")
    publish(channel, "x", "key", *map(str, range(600)), properties=properties)
    publish(channel, "", "b", "first")
    assert done(broker, "move_messages", "a", "b") == "600 messages moved from a to b\n"
    method, _, body = channel.basic_get("b", auto_ack=True)
    assert (body, method.message_count) == (b"first", 600)
    method, found, body = channel.basic_get("b", auto_ack=True)
    assert (method.exchange, method.routing_key, method.redelivered, body) == ("x", "key", False, b"0")
    assert (found.headers, found.expiration, found.delivery_mode) == ({"k": "v"}, "1000000", 2)
    assert drain(channel, "b") == [str(number) for number in range(1, 600)]
    assert drain(channel, "a") == []
    assert done(broker, "-s", "move_messages", "a", "b") == ""


def test_what_cannot_be_moved_is_told_and_stays(on, opened):
    broker = on()
    connection = opened(broker)
    channel = connection.channel()
    channel.queue_declare("a")
    channel.queue_declare("full", arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    channel.queue_declare("mine", exclusive=True)
    publish(channel, "", "a", "1", "2", "3")
    told = fails(broker, 70, "move_messages", "a", "full")
    assert told == "leveret: 2 messages were moved, and the others stay: queue 'full' has no room for more\n"
    assert drain(channel, "a") == ["3"] and drain(channel, "full") == ["1", "2"]
    assert fails(broker, 65, "move_messages", "a", "none") == 'leveret: there is no queue "none"\n'
    assert fails(broker, 65, "move_messages", "none", "a") == 'leveret: there is no queue "none"\n'
    assert "itself" in fails(broker, 65, "move_messages", "a", "a")
    assert "exclusive" in fails(broker, 65, "move_messages", "a", "mine")
    assert 'there is no vhost "v"' in fails(broker, 65, "move_messages", "-p", "v", "a", "b")


def test_a_kill_loses_and_doubles_nothing(on, opened):
    count = 8000
    settings = {"storage.sync": "always"}
    broker = on(settings)
    channel = opened(broker).channel()
    channel.queue_declare("a", durable=True)
    channel.queue_declare("b", durable=True)
    channel.tx_select()
    publish(channel, "", "a", *map(str, range(count)), properties=PERSISTENT)
    channel.tx_commit()

    for _ in range(2):
        before = ready(channel, "b")
        words = [str(binary()), "ctl", "move_messages", "a", "b", "--data-dir", str(broker.data_dir)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(words, env=Leveret.environment(), **quiet) as command:
            # The time before it may have come to the last one.
            enough = min(before, count - 1)
            eventually(lambda channel=channel, enough=enough: ready(channel, "b") > enough, "some are moved", pause=0.001)
            broker.kill()
            command.wait(30)
        broker = on(settings)
        channel = opened(broker).channel()
    found = []
    for queue in ("a", "b"):
        # Before anything of it is on its way to the consumer.
        there = ready(channel, queue)
        found += Consumer(channel, queue, auto_ack=True).take(there)
    assert sorted(int(delivery.text) for delivery in found) == list(range(count))
