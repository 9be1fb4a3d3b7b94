"""Vhosts come and go while the broker runs."""

import pika
import pika.exceptions
import pytest

from support.control import Refused, ctl, listed, set_policy
from support.deadline import eventually, pump
from support.messages import PERSISTENT, Consumer, is_there, publish

pytestmark = pytest.mark.own_broker

# The configuration lets guest open it. It is made at each start.
WITH_X = {"vhosts.names": '["x"]'}


def names(broker):
    """All vhosts."""
    return [row["name"] for row in listed(broker, "list_vhosts")]


def fill(connection):
    """Everything that can be in a vhost."""
    channel = connection.channel()
    channel.confirm_delivery()
    channel.exchange_declare("own", "topic", durable=True)
    channel.exchange_bind("amq.fanout", "amq.topic", "#")
    for queue, durable in (("durable", True), ("transient", False)):
        channel.queue_declare(queue, durable=durable)
        channel.queue_bind(queue, "own", "#")
        channel.queue_bind(queue, "amq.topic", "#")
        publish(channel, "", queue, "1", "2", properties=PERSISTENT)
    return channel


def allow_guest(broker):
    """Gives guest everything in the vhost x, which was made anew."""
    ctl(broker, "set_permissions", "-p", "x", "guest", ".*", ".*", ".*")



def test_vhosts_are_kept_with_what_was_said_of_them(on):
    broker = on()
    ctl(broker, "add_vhost", "/eu", "--description", "all of Europe", "--tags", "a,b")
    ctl(broker, "add_vhost", "gone")
    ctl(broker, "delete_vhost", "gone")
    broker.kill()
    broker = on()
    assert listed(broker, "list_vhosts", "name", "description", "tags", "default_queue_type") == [
        {"name": "/", "description": "", "tags": [], "default_queue_type": "classic"},
        {"name": "/eu", "description": "all of Europe", "tags": ["a", "b"], "default_queue_type": "classic"},
    ]
    for code, *command in [(70, "add_vhost", "/eu"), (65, "delete_vhost", "gone"), (65, "add_vhost", "")]:
        with pytest.raises(Refused) as caught:
            ctl(broker, *command)
        assert caught.value.code == code


def test_a_deleted_vhost_takes_everything_with_it_for_ever(on, opened):
    broker = on(WITH_X)
    fill(opened(broker, "x"))
    set_policy(broker, "p", ".*", {"max-length": 1}, "-p", "x")
    fill(opened(broker, "/"))
    ctl(broker, "delete_vhost", "x")
    assert names(broker) == ["/"]
    with pytest.raises(pika.exceptions.AMQPConnectionError, match="530.*NOT_ALLOWED - vhost x not found"):
        opened(broker, "x")
    ctl(broker, "add_vhost", "x")
    allow_guest(broker)

    def check(broker):
        connection = opened(broker, "x")
        assert not is_there(connection, "durable")
        assert listed(broker, "list_policies", "-p", "x") == []
        channel = connection.channel()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            channel.exchange_declare("own", passive=True)
        assert is_there(opened(broker, "/"), "durable")

    check(broker)
    broker.kill()
    broker = on(WITH_X)
    check(broker)
    fill(opened(broker, "x"))
    broker.kill()
    broker = on(WITH_X)
    assert is_there(opened(broker, "x"), "durable")
    ctl(broker, "delete_vhost", "x")
    broker.kill()
    broker = on()
    assert names(broker) == ["/"]


def test_connections_of_a_deleted_vhost_are_closed(on, opened):
    broker = on(WITH_X)
    doomed, other = opened(broker, "x"), opened(broker, "/")
    channel = fill(doomed)
    Consumer(channel, "durable")
    ctl(broker, "delete_vhost", "x")
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as caught:
        pump(doomed, lambda: False, "it is closed", 2)
    assert (caught.value.reply_code, caught.value.reply_text) == (320, "CONNECTION_FORCED - vhost 'x' is deleted")
    other.channel().queue_declare("", exclusive=True)


def test_queues_have_the_default_type_of_their_vhost(on, opened):
    broker = on(WITH_X)
    ctl(broker, "delete_vhost", "x")
    ctl(broker, "add_vhost", "x", "--default-queue-type", "quorum")
    allow_guest(broker)
    quorum, classic = {"x-queue-type": "quorum"}, {"x-queue-type": "classic"}

    def check(broker):
        connection = opened(broker, "x")
        channel = connection.channel()
        channel.queue_declare("jobs", durable=True, arguments={"x-max-length": 5})
        channel.queue_declare("jobs", durable=True, arguments={"x-max-length": 5} | quorum)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="406.*x-queue-type"):
            channel.queue_declare("jobs", durable=True, arguments={"x-max-length": 5} | classic)
        channel = connection.channel()
        # These cannot be quorum queues.
        channel.queue_declare("transient")
        channel.queue_declare("", exclusive=True)
        channel.queue_declare("auto", durable=True, auto_delete=True)
        channel.queue_declare("said", durable=True, arguments=classic)

    check(broker)
    broker.kill()
    check(on(WITH_X))


def test_a_vhost_that_was_added_later_keeps_time(on, opened):
    broker = on(WITH_X)
    ctl(broker, "delete_vhost", "x")
    ctl(broker, "add_vhost", "x")
    allow_guest(broker)
    connection = opened(broker, "x")
    channel = connection.channel()
    channel.queue_declare("dead")
    arguments = {"x-message-ttl": 50, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    channel.queue_declare("short", arguments=arguments)
    channel.queue_declare("expiring", arguments={"x-expires": 50})
    publish(channel, "", "short", "m")
    eventually(lambda: channel.basic_get("dead", auto_ack=True)[2] == b"m", "the message is dead")
    eventually(lambda: not is_there(connection, "expiring"), "the queue has expired", pause=0.2)
