"""What a queue gets that is bound to amq.rabbitmq.event."""

import os
import time
from contextlib import closing

import pika
import pika.exceptions
import pytest

from support.control import ctl, set_policy
from support.deadline import eventually
from support.messages import Consumer

EXCHANGE = "amq.rabbitmq.event"


class Watcher:
    """A queue with events, on a connection of its own whose events are not looked at."""

    def __init__(self, broker, key="#", **options):
        self.connection = pika.BlockingConnection(broker.parameters())
        self.channel = self.connection.channel()
        self.queue = self.channel.queue_declare("", exclusive=True, **options).method.queue
        self.channel.queue_bind(self.queue, EXCHANGE, key)
        self._seen = []
        self.until("binding.created", destination_name=self.queue)

    def until(self, key, **headers):
        """The events up to the next one that is meant, as keys and headers."""
        began = len(self._seen)

        def found():
            method, properties, body = self.channel.basic_get(self.queue, auto_ack=True)
            if method is None:
                return False
            assert (method.exchange, body, properties.delivery_mode) == (EXCHANGE, b"", 2)
            at = properties.headers["timestamp_in_ms"]
            assert properties.timestamp == at // 1000 and abs(at / 1000 - time.time()) < 60
            self._seen.append((method.routing_key, properties.headers))
            return method.routing_key == key and headers.items() <= properties.headers.items()

        eventually(found, lambda: f"{key} {headers} in {self._seen[began:]}")
        return self._seen[began:]


@pytest.fixture
def watcher(broker):
    """Events of the broker that tests share. Skipped where there are none."""
    try:
        watching = Watcher(broker)
    except pika.exceptions.ChannelClosedByBroker as error:
        # RabbitMQ has it by a plugin; Leveret always does.
        assert error.reply_code == 404 and "LEVERET_TEST_URL" in os.environ, error
        pytest.skip("the broker has no event exchange")
    with closing(watching.connection):
        yield watching


def test_a_connection_opens_declares_binds_consumes_and_goes(broker, name, watcher):
    x, durable, own = name("x"), name("durable"), name("own")
    connection = pika.BlockingConnection(broker.parameters(client_properties={"connection_name": x}, heartbeat=60))
    channel = connection.channel(3)
    channel.exchange_declare(x, "topic", auto_delete=True)
    channel.queue_declare(durable, durable=True, arguments={"x-max-length": 5})
    channel.queue_declare(own, exclusive=True)
    channel.queue_bind(durable, x, "a.*", {"k": "v"})
    channel.basic_qos(prefetch_count=10)
    tag = Consumer(channel, durable, arguments={"x-priority": 3}).tag
    channel.basic_cancel(tag)
    channel.queue_unbind(durable, x, "a.*", {"k": "v"})
    channel.queue_delete(durable)
    connection.close()
    seen = watcher.until("connection.closed", user_provided_name=x)
    mine = [(key, headers) for key, headers in seen if not key.startswith("parameter.")]
    assert [key for key, _ in mine] == [
        "user.authentication.success",
        "connection.created",
        "channel.created",
        "exchange.created",
        "queue.created",
        "queue.created",
        "binding.created",
        "consumer.created",
        "consumer.deleted",
        "exchange.deleted",
        "binding.deleted",
        "queue.deleted",
        "channel.closed",
        "queue.deleted",
        "connection.closed",
    ]
    events = dict(mine)
    login, created, closed = (
        events[key] for key in ("user.authentication.success", "connection.created", "connection.closed")
    )
    port = login["peer_port"]
    assert created["name"] == login["connection_name"] == closed["name"]
    assert created["name"] == f"127.0.0.1:{port} -> 127.0.0.1:{broker.port}"
    expected = {
        "user": broker.user,
        "user_who_performed_action": broker.user,
        "vhost": "/",
        "type": "network",
        "peer_port": port,
        "port": broker.port,
        "auth_mechanism": "PLAIN",
        "ssl": False,
        "ssl_protocol": "",
        "peer_cert_subject": "",
        "timeout": 60,
        "frame_max": 131072,
        "channel_max": 2047,
        "user_provided_name": x,
    }
    assert expected.items() <= created.items()
    assert abs(created["connected_at"] / 1000 - time.time()) < 60
    assert (login["name"], login["ssl"], created["pid"]) == (broker.user, False, closed["pid"])
    opened = events["channel.created"]
    expected = {"number": 3, "user": broker.user, "vhost": "/", "connection": created["pid"]}
    assert expected.items() <= opened.items()
    assert opened["name"] == f"{created['name']} (3)"
    assert events["channel.closed"]["pid"] == opened["pid"]
    expected = {"name": x, "vhost": "/", "type": "topic", "durable": False, "auto_delete": True, "internal": False}
    assert expected.items() <= events["exchange.created"].items()
    first, second = (headers for key, headers in mine if key == "queue.created")
    expected = {"name": durable, "vhost": "/", "durable": True, "auto_delete": False, "exclusive": False, "owner_pid": ""}
    assert expected.items() <= first.items()
    assert (second["name"], second["exclusive"], second["owner_pid"]) == (own, True, created["pid"])
    expected = {
        "source_name": x,
        "source_kind": "exchange",
        "destination_name": durable,
        "destination_kind": "queue",
        "routing_key": "a.*",
        "vhost": "/",
    }
    assert expected.items() <= events["binding.created"].items()
    assert expected.items() <= events["binding.deleted"].items()
    consumer = {"consumer_tag": tag, "queue": durable, "vhost": "/", "channel": opened["pid"]}
    assert consumer.items() <= events["consumer.deleted"].items()
    consumer |= {"exclusive": False, "ack_required": True, "prefetch_count": 10}
    assert consumer.items() <= events["consumer.created"].items()
    deleted = [(headers["name"], headers["user_who_performed_action"]) for key, headers in mine if key == "queue.deleted"]
    assert deleted == [(durable, broker.user), (own, "rmq-internal")]


@pytest.mark.own_broker
def test_tables_and_addresses_are_what_they_are(broker, name, watcher):
    with closing(pika.BlockingConnection(broker.parameters(client_properties={"x": {"y": [1]}}))) as connection:
        channel = connection.channel()
        queue = channel.queue_declare(name("q"), exclusive=True, arguments={"x-max-length": 5}).method.queue
        events = dict(watcher.until("queue.created", name=queue))
    created = events["connection.created"]
    assert created["client_properties"]["x"] == {"y": [1]}
    assert created["client_properties"]["product"] == "Pika Python Client Library"
    assert (created["peer_host"], created["host"], created["protocol"]) == ("127.0.0.1", "127.0.0.1", "AMQP 0-9-1")
    assert events["queue.created"]["arguments"] == {"x-max-length": 5}


def test_a_wrong_password_is_told_without_it(broker, watcher):
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        pika.BlockingConnection(broker.parameters(password="not the password"))
    seen = watcher.until("connection.closed")
    (key, failure), (_, closed) = seen
    assert key == "user.authentication.failure"
    assert "not the password" not in repr(seen)
    expected = {"name": broker.user, "auth_mechanism": "PLAIN", "ssl": False, "connection_name": closed["name"]}
    assert expected.items() <= failure.items()
    error = failure["error"] if isinstance(failure["error"], str) else "".join(map(chr, failure["error"]))
    assert error == f"user '{broker.user}' - invalid credentials"


def test_nobody_publishes_to_it_or_deletes_it(connect):
    for act in (
        lambda channel: channel.basic_publish(EXCHANGE, "queue.created", b"") or channel.queue_declare("", exclusive=True),
        lambda channel: channel.exchange_delete(EXCHANGE),
    ):
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
            act(connect().channel())
        assert refused.value.reply_code == 403
    channel = connect().channel()
    channel.exchange_declare(EXCHANGE, "topic", passive=True)
    channel.exchange_declare(EXCHANGE, "topic", durable=True, internal=True)


@pytest.mark.own_broker
def test_what_the_tool_does(on):
    broker = on()
    watcher = Watcher(broker)
    ctl(broker, "add_user", "u", stdin="geheim\n")
    ctl(broker, "set_user_tags", "u", "management")
    ctl(broker, "add_vhost", "v")
    ctl(broker, "set_permissions", "-p", "v", "u", "a", "b", "c")
    ctl(broker, "set_vhost_limits", "-p", "v", '{"max-queues": 3}')
    set_policy(broker, "p", "^amq.gen", {"max-length": 100})
    ctl(broker, "delete_vhost", "v")
    ctl(broker, "delete_user", "u")
    seen = watcher.until("user.deleted", name="u")
    assert "geheim" not in repr(seen)
    keys = [key for key, _ in seen if not key.startswith("exchange.")]
    assert keys == [
        "user.created",
        "user.tags.set",
        "vhost.created",
        "permission.created",
        "parameter.set",
        "vhost.limits.set",
        "queue.policy.updated",
        "policy.set",
        "permission.deleted",
        "vhost.deleted",
        "user.deleted",
    ]
    assert {headers["user_who_performed_action"] for _, headers in seen} == {"rmq-cli"}
    events = dict(seen)
    assert events["user.tags.set"]["tags"] == ["management"]
    assert (events["policy.set"]["definition"], events["queue.policy.updated"]["name"]) == ({"max-length": 100}, watcher.queue)
    watcher.connection.close()


@pytest.mark.own_broker
def test_events_wait_over_restarts_which_are_silent(on):
    broker = on()
    with closing(pika.BlockingConnection(broker.parameters())) as connection:
        channel = connection.channel()
        channel.queue_declare("kept", durable=True)
        channel.queue_declare("events", durable=True)
        channel.queue_bind("events", EXCHANGE, "queue.#")
        channel.queue_declare("mine", exclusive=True)
    broker.stop()
    broker = on()
    with closing(pika.BlockingConnection(broker.parameters())) as connection:
        channel = connection.channel()
        channel.queue_delete("kept")
        found = [channel.basic_get("events", auto_ack=True) for _ in range(4)]
    told = [(method.routing_key, properties.headers["name"]) for method, properties, _ in found if method]
    assert told == [("queue.created", "mine"), ("queue.deleted", "mine"), ("queue.deleted", "kept")]


@pytest.mark.own_broker
def test_switched_off(leveret):
    broker = leveret({"events.exchange": "false"})
    with closing(pika.BlockingConnection(broker.parameters())) as connection:
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
            connection.channel().exchange_declare(EXCHANGE, "topic", passive=True)
        assert refused.value.reply_code == 404
