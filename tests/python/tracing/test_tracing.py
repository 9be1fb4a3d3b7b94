"""Copies in amq.rabbitmq.trace, stamps on messages, and the tag impersonator."""

import signal
import time

import pika
import pika.exceptions
import pytest

from support.broker import Leveret
from support.deadline import eventually
from support.messages import bound_queue, drain, publish

TRACE = "amq.rabbitmq.trace"

pytestmark = pytest.mark.own_broker


def connection_to(broker, **options):
    """A connection for one `with` block."""
    return pika.BlockingConnection(broker.parameters(**options))


def test_a_trace_of_publish_and_delivery(leveret):
    broker = leveret({"vhosts.traced": "/", "cluster.name": "hare"})
    with connection_to(broker) as connection:
        channel = connection.channel()
        traces = bound_queue(channel, TRACE, "#")
        channel.exchange_declare("x", "fanout")
        queue = bound_queue(channel, "x", "")
        properties = pika.BasicProperties(content_type="text/plain", headers={"a": 1}, priority=4)
        publish(channel, "x", "rk", b"body", properties=properties)
        channel.basic_get(queue, auto_ack=True)
        published, delivered = (channel.basic_get(traces, auto_ack=True) for _ in range(2))
        assert (published[0].routing_key, published[0].exchange, published[2]) == ("publish.x", TRACE, b"body")
        common = {
            "exchange_name": "x",
            "routing_keys": ["rk"],
            "properties": {"content_type": "text/plain", "headers": {"a": 1}, "priority": 4},
            "node": "hare",
            "vhost": "/",
            "channel": 1,
            "user": "guest",
        }
        headers = published[1].headers
        assert headers.pop("connection").startswith("127.0.0.1:")
        assert headers == {**common, "routed_queues": [queue]}
        assert (delivered[0].routing_key, delivered[2]) == (f"deliver.{queue}", b"body")
        headers = delivered[1].headers
        del headers["connection"]
        assert headers == {**common, "redelivered": 0}
        # What was asked of the queue of traces left no trace.
        assert drain(channel, traces) == []


def test_tracing_is_switched_by_a_reload(tmp_path):
    file = tmp_path / "leveret.toml"
    file.write_text("")
    with Leveret(wrapper=["env", f"LEVERET_CONFIG_FILE={file}"]) as broker, connection_to(broker) as connection:
        channel = connection.channel()
        traces = bound_queue(channel, TRACE, "publish.#")
        publish(channel, "amq.fanout", "", b"before")
        assert drain(channel, traces) == []
        file.write_text('[vhosts]\ntraced = ["/"]\n')
        broker.process.send_signal(signal.SIGHUP)

        def is_traced():
            publish(channel, "amq.fanout", "", b"now")
            return drain(channel, traces)

        assert set(eventually(is_traced, "a trace")) == {"now"}
        file.write_text("")
        broker.process.send_signal(signal.SIGHUP)
        eventually(lambda: not is_traced(), "no trace")


def test_messages_are_stamped(leveret):
    broker = leveret({"interceptors.timestamp": "overwrite", "interceptors.routing_node": "keep", "cluster.name": "hare"})
    with connection_to(broker) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        before = time.time()
        claims = pika.BasicProperties(timestamp=1, headers={"x-routed-by": "me", "timestamp_in_ms": "then", "a": 1})
        publish(channel, "", queue, b"plain")
        publish(channel, "", queue, b"claims", properties=claims)
        plain, claimed = (channel.basic_get(queue, auto_ack=True)[1] for _ in range(2))
        for properties in (plain, claimed):
            stamp = properties.headers["timestamp_in_ms"]
            assert before - 2 <= stamp / 1000 <= time.time() + 2
            assert properties.timestamp == stamp // 1000
        assert (plain.headers["x-routed-by"], claimed.headers["x-routed-by"], claimed.headers["a"]) == ("hare", "me", 1)


@pytest.mark.parametrize("tags", ["", "impersonator"])
def test_only_an_impersonator_has_anothers_user_id(leveret, tags):
    settings = {"auth.users.app.password": "secret", "auth.users.app.tags": tags}
    broker = leveret(settings)
    with connection_to(broker, user="app", password="secret") as connection:
        channel = connection.channel()
        channel.queue_declare("q")
        publish(channel, "", "q", b"own", properties=pika.BasicProperties(user_id="app"))
        publish(channel, "", "q", b"other", properties=pika.BasicProperties(user_id="guest"))
        if tags:
            assert drain(channel, "q") == ["own", "other"]
        else:
            with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
                drain(channel, "q")
            text = "user_id property set to 'guest' but authenticated user was 'app'"
            assert closed.value.reply_code == 406
            assert text in closed.value.reply_text
