"""Connections, channels, queues and exchanges are limited for the broker, for a vhost and for a user."""

import re

import pika
import pika.exceptions
import pytest

from support.control import Refused, ctl, listed
from support.deadline import eventually

pytestmark = pytest.mark.own_broker


def refusal(open_one, *arguments):
    """What a connection is told that may not be opened."""
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError) as refused:
        open_one(*arguments)
    # pika makes one text of it.
    return re.fullmatch(r'ConnectionClosedByBroker: \(530\) "(.*)"', str(refused.value)).group(1)


def refused_declaration(connection, declare):
    """What a channel is told that declares too much."""
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
        declare(connection.channel())
    assert refused.value.reply_code == 406
    return refused.value.reply_text


def opens_again(open_one, *arguments):
    """Waits until there is room for a connection: the end of another is counted when its task has ended."""

    def attempt():
        try:
            return open_one(*arguments)
        except pika.exceptions.ProbableAccessDeniedError:
            return None

    return eventually(attempt, "there is room for a connection")


def test_a_vhost_has_so_many_connections(on, opened):
    broker = on({"vhosts.names": '["other"]'})
    ctl(broker, "set_vhost_limits", '{"max-connections": 2}')
    first, _ = opened(broker), opened(broker)
    assert refusal(opened, broker) == (
        "NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (2) is reached"
    )
    opened(broker, "other")
    first.close()
    opens_again(opened, broker)
    ctl(broker, "set_vhost_limits", '{"max-connections": 0}')
    assert "connection limit (0) is reached" in refusal(opened, broker)
    ctl(broker, "clear_vhost_limits")
    opened(broker)
    assert listed(broker, "list_vhost_limits") == []


def test_a_vhost_has_so_many_queues(on, opened):
    broker = on()
    connection = opened(broker)
    channel = connection.channel()
    channel.queue_declare("one")
    ctl(broker, "set_vhost_limits", '{"max-queues": 2}')
    channel.queue_declare("two", exclusive=True)
    assert refused_declaration(connection, lambda channel: channel.queue_declare("three")) == (
        "PRECONDITION_FAILED - cannot declare queue 'three': queue limit in vhost '/' (2) is reached"
    )
    channel.queue_declare("one")
    channel.queue_delete("one")
    channel.queue_declare("three")


def test_vhosts_have_limits_by_default(on, opened):
    broker = on({"limits.default_vhost.max_queues": 1, "limits.default_vhost.max_connections": 1})
    connection = opened(broker)
    connection.channel().queue_declare("one")
    assert "queue limit in vhost '/' (1)" in refused_declaration(connection, lambda it: it.queue_declare("two"))
    assert "connection limit (1)" in refusal(opened, broker)
    ctl(broker, "set_vhost_limits", '{"max-queues": -1}')
    connection.channel().queue_declare("two")
    assert "connection limit (1)" in refusal(opened, broker)


def test_a_user_has_so_many_connections_and_channels(on, opened):
    guest = "auth.users.guest"
    settings = {f"{guest}.password": "guest", f"{guest}.max_connections": 2, f"{guest}.max_channels": 3}
    broker = on(settings)
    first, second = opened(broker), opened(broker)
    assert refusal(opened, broker) == (
        "NOT_ALLOWED - connection refused for user 'guest': user connection limit (2) is reached"
    )
    channels = [first.channel(), first.channel(), second.channel()]
    channels[0].close()
    first.channel()
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as refused:
        second.channel()
    assert (refused.value.reply_code, refused.value.reply_text) == (
        530,
        "NOT_ALLOWED - number of channels opened for user 'guest' has reached the maximum allowed user limit of (3)",
    )
    opens_again(opened, broker).channel()


def test_the_broker_has_so_many_of_each(on, opened):
    broker = on({"limits.channels": 3, "limits.queues": 2, "limits.exchanges": 1})
    connection, other = opened(broker), opened(broker)
    channel = connection.channel()
    channel.queue_declare("one", durable=True)
    channel.queue_declare("two", exclusive=True)
    told = refused_declaration(other, lambda channel: channel.queue_declare("three"))
    assert told == "PRECONDITION_FAILED - cannot declare queue 'three': queue limit (2) is reached"
    channel.exchange_declare("x", "fanout", durable=True)
    told = refused_declaration(other, lambda channel: channel.exchange_declare("y", "fanout"))
    assert told == "PRECONDITION_FAILED - cannot declare exchange 'y': exchange limit (1) is reached"
    channel.exchange_declare("x", "fanout", durable=True)
    channels = [other.channel(), other.channel()]
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="maximum allowed limit of"):
        connection.channel()
    # The exclusive queue went with its connection.
    channels[0].queue_declare("three")
    broker.stop()
    again = on({"limits.queues": 1, "limits.exchanges": 1})
    connection = opened(again)
    assert "queue limit (1)" in refused_declaration(connection, lambda it: it.queue_declare("four"))
    channel = connection.channel()
    channel.exchange_delete("x")
    channel.exchange_declare("z", "fanout")


def test_a_queue_has_so_many_bindings_and_the_broker_so_many_vhosts(on, opened):
    broker = on({"limits.bindings_per_queue": 2, "limits.vhosts": 2})
    connection = opened(broker)
    channel = connection.channel()
    channel.queue_declare("q", durable=True)
    channel.queue_declare("other")
    for key in ("a", "b", "a"):
        channel.queue_bind("q", "amq.topic", key)
    channel.queue_bind("other", "amq.topic", "c")
    told = refused_declaration(connection, lambda channel: channel.queue_bind("q", "amq.fanout", "c"))
    assert told == "PRECONDITION_FAILED - cannot bind queue 'q' in vhost '/': its binding limit (2) is reached"
    channel.queue_unbind("q", "amq.topic", "b")
    channel.queue_bind("q", "amq.fanout", "c")
    ctl(broker, "add_vhost", "second")
    with pytest.raises(Refused, match=r"cannot create vhost 'third': vhost limit of 2 is reached"):
        ctl(broker, "add_vhost", "third")
    broker.stop()
    # What is there stays, and those of the configuration come.
    again = on({"limits.bindings_per_queue": 1, "limits.vhosts": 1, "vhosts.names": '["fourth"]'})
    assert sorted(ctl(again, "list_vhosts", "-q", "name", "--no-table-headers").split()) == ["/", "fourth", "second"]
    connection = opened(again)
    connection.channel().queue_bind("q", "amq.topic", "a")
    assert "limit (1)" in refused_declaration(connection, lambda channel: channel.queue_bind("q", "amq.topic", "b"))


def test_limits_are_numbers(on):
    broker = on()
    for limits in ('{"max-connections": -2}', '{"max-queues": "3"}', '{"max-users": 1}', "3", "{"):
        with pytest.raises(Refused):
            ctl(broker, "set_vhost_limits", limits)
    with pytest.raises(Refused, match="there is no vhost"):
        ctl(broker, "set_vhost_limits", "-p", "nowhere", "{}")
