"""Publishing and getting through the API, where it goes beyond a message that is there."""

import signal

import pika
import pytest

from durability.backlog import wait_for_segments
from support.broker import Leveret
from support.deadline import eventually
from support.management import api_of
from support.messages import expect_ready
from support.messages import publish as publish_by

# What Leveret has alone, or has otherwise than RabbitMQ 3.10.
pytestmark = pytest.mark.own_broker

GET = {"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"}
COUNT = 600
"""Messages that are together more than what is kept of a queue in memory."""


def message(key, payload="x", **properties):
    """The body of a publish."""
    return {"routing_key": key, "properties": properties, "payload": payload, "payload_encoding": "string"}


@pytest.fixture
def publish(api, vhost):
    """Publishes to the default exchange."""
    return lambda *words, **properties: api.post(
        "exchanges", vhost, "amq.default", "publish", body=message(*words, **properties)
    )


def test_receivers_in_headers_get_copies_and_do_not_see_the_blind_ones(api, vhost, queue, publish):
    to, copy, blind = queue(), queue(), queue()
    assert publish(to, headers={"CC": [copy], "BCC": [blind]}).json == {"routed": True}
    for each in (to, copy, blind):
        [found] = api.post("queues", vhost, each, "get", body=GET).json
        assert found["properties"]["headers"] == {"CC": [copy]}
    answer = publish(to, headers={"CC": copy})
    assert (answer.status, "unacceptable_type_in_header" in answer.error[1]) == (400, True)


def test_what_holds_for_properties_on_the_wire_holds_here(user, vhost, queue, publish):
    to = queue()
    for properties, word in [
        ({"expiration": "soon"}, "expiration"),
        ({"user_id": "somebody"}, "user_id"),
        ({"reply_to": "amq.rabbitmq.reply-to"}, "fast reply consumer"),
    ]:
        answer = publish(to, **properties)
        assert (answer.status, word in answer.error[1]) == (400, True), answer
    assert publish(to, user_id="guest").json == {"routed": True}
    other = user(["management", "impersonator"], vhost)
    path = ("exchanges", vhost, "amq.default", "publish")
    assert other.post(*path, body=message(to, user_id="somebody")).json == {"routed": True}


def test_an_internal_exchange_is_no_one_s_to_publish_to(api, vhost, name):
    inner = name("inner")
    api.done("PUT", "exchanges", vhost, inner, body={"internal": True})
    assert api.post("exchanges", vhost, inner, "publish", body=message("k")).status == 401


def test_messages_that_wait_on_the_disk_are_read(on):
    leveret = on({"storage.journal_file": "256KiB", "storage.journal_budget": "512KiB", "memory.messages": "4MiB"})
    channel = pika.BlockingConnection(leveret.parameters()).channel()
    channel.queue_declare("q", durable=True)
    for number in range(COUNT):
        payload = f"{number:06}" + "x" * (16 * 1024 - 6)
        publish_by(channel, "", "q", payload, properties=pika.BasicProperties(delivery_mode=2))
    wait_for_segments(leveret.data_dir)
    expect_ready(channel, "q", COUNT)
    with api_of(leveret) as api:
        body = GET | {"count": -1, "ackmode": "ack_requeue_true", "truncate": 6}
        for redelivered in (False, True):
            found = api.post("queues", "/", "q", "get", body=body).json
            assert [int(each["payload"]) for each in found] == list(range(COUNT))
            assert {each["redelivered"] for each in found} == {redelivered}
            assert (found[0]["message_count"], found[-1]["message_count"]) == (COUNT - 1, 0)
            assert {each["payload_bytes"] for each in found} == {16 * 1024}


def test_large_messages_have_a_bound():
    with Leveret({"amqp.max_message_size": "1MiB", "storage.sync": "never"}) as leveret, api_of(leveret) as api:
        path = ("exchanges", "/", "amq.default", "publish")
        assert api.post(*path, body=message("none", "x" * (1 << 20))).json == {"routed": False}
        answer = api.post(*path, body=message("none", "x" * ((1 << 20) + 1)))
        assert (answer.status, "max size" in answer.error[1]) == (400, True)


def test_a_reload_changes_the_bound_and_the_name_of_the_product(tmp_path):
    file = tmp_path / "leveret.toml"
    file.write_text("")
    with Leveret(wrapper=["env", f"LEVERET_CONFIG_FILE={file}"]) as leveret, api_of(leveret) as api:
        path = ("exchanges", "/", "amq.default", "publish")
        assert api.post(*path, body=message("none", "x" * 1001)).status == 200
        file.write_text('[amqp]\nmax_message_size = 1000\n[product]\nname = "Hare"\n')
        leveret.process.send_signal(signal.SIGHUP)
        eventually(lambda: api.read("overview")["product_name"] == "Hare", "the product has another name")
        assert api.post(*path, body=message("none", "x" * 1000)).json == {"routed": False}
        answer = api.post(*path, body=message("none", "x" * 1001))
        assert (answer.status, "max size 1000" in answer.error[1]) == (400, True)


def test_publishing_waits_for_the_end_of_an_alarm():
    with Leveret({"memory.high_watermark": "1MiB", "storage.sync": "never"}) as leveret, api_of(leveret) as api:

        def is_blocked():
            answer = api.post("exchanges", "/", "amq.default", "publish", body=message("none"))
            return answer.status == 503 and "low on memory" in answer.error[1]

        eventually(is_blocked, "publishers are blocked", 10)
        # Everything else goes on.
        api.done("PUT", "queues", "/", "q", body={})
        assert api.post("queues", "/", "q", "get", body=GET).json == []


def test_what_the_api_kept_is_there_after_a_crash(on):
    leveret = on()
    with api_of(leveret) as api:
        api.done("PUT", "vhosts", "a/b", body={"description": "d", "tags": "x,y", "protected_from_deletion": True})
        api.done("PUT", "users", "u", body={"password": "secret", "tags": "management", "limits": {"max-channels": 3}})
        api.done("PUT", "permissions", "a/b", "u", body={"configure": ".*", "write": "", "read": ".*"})
        api.done("PUT", "queues", "a/b", "q", body={"durable": True, "arguments": {"x-max-length": 5}})
        api.done("PUT", "exchanges", "a/b", "x", body={"durable": True, "type": "topic"})
        api.done("POST", "bindings", "a/b", "e", "x", "q", "q", body={"routing_key": "k", "arguments": {"a": 1}})
        api.done("PUT", "policies", "a/b", "p", body={"pattern": "^q", "definition": {"message-ttl": 90000}})
        api.done("PUT", "vhost-limits", "a/b", "max-queues", body={"value": 7})
        api.done("PUT", "parameters", "shovel", "a/b", "s", body={"value": {"src-uri": "amqp://"}})
        api.done("PUT", "cluster-name", body={"name": "warren"})
        answer = api.post("exchanges", "a/b", "x", "publish", body=message("k", "kept", delivery_mode=2))
        assert answer.json == {"routed": True}
    leveret.kill()
    with api_of(on()) as api:
        vhost = api.read("vhosts", "a/b")
        assert (vhost["description"], vhost["tags"], vhost["protected_from_deletion"]) == ("d", ["x", "y"], True)
        user = api.read("users", "u")
        assert (user["tags"], user["limits"]) == (["management"], {"max-channels": 3})
        assert api.by("u", "secret").read("whoami")["name"] == "u"
        assert api.read("permissions", "a/b", "u")["write"] == ""
        # The user who made the vhost may use it.
        assert api.read("permissions", "a/b", "guest")["configure"] == ".*"
        [binding] = api.read("bindings", "a/b", "e", "x", "q", "q")
        assert (binding["routing_key"], binding["arguments"]) == ("k", {"a": 1})
        assert api.read("policies", "a/b", "p")["definition"] == {"message-ttl": 90000}
        assert api.read("vhost-limits", "a/b") == [{"vhost": "a/b", "value": {"max-queues": 7}}]
        assert api.read("parameters", "shovel", "a/b", "s")["value"] == {"src-uri": "amqp://"}
        assert api.read("cluster-name") == {"name": "warren"}
        [found] = api.post("queues", "a/b", "q", "get", body=GET).json
        assert (found["payload"], found["exchange"]) == ("kept", "x")


def test_a_queue_with_one_active_consumer_gives_nothing_by_get(api, vhost, queue):
    single = queue(x_queue_type="quorum", x_single_active_consumer=True)
    answer = api.post("queues", vhost, single, "get", body=GET)
    assert (answer.status, "single active consumer" in answer.error[1]) == (400, True)


def test_what_the_api_publishes_reaches_consumers(opened, api, vhost, queue):
    to = queue()
    channel = opened(vhost).channel()
    consumed = channel.consume(to, auto_ack=True, inactivity_timeout=10)
    body = message(to, "hello", content_type="text/plain", headers={"n": 5}, timestamp=1700000000)
    assert api.post("exchanges", vhost, "amq.default", "publish", body=body).json == {"routed": True}
    _, properties, payload = next(consumed)
    assert (payload, properties.headers, properties.timestamp) == (b"hello", {"n": 5}, 1700000000)
    channel.cancel()
    assert isinstance(properties, pika.BasicProperties)


def test_what_is_done_with_every_message_is_done_here_too():
    settings = {"interceptors.timestamp": "overwrite", "interceptors.routing_node": "overwrite", "storage.sync": "never"}
    with Leveret(settings) as leveret, api_of(leveret) as api:
        api.done("PUT", "vhosts", "/", body={"tracing": True})
        for made in ("q", "traces"):
            api.done("PUT", "queues", "/", made, body={})
        bind = ("bindings", "/", "e", "amq.rabbitmq.trace", "q", "traces")
        assert api.post(*bind, body={"routing_key": "#"}).status == 201
        body = message("q", "hello", headers={"n": 1})
        assert api.post("exchanges", "/", "amq.default", "publish", body=body).json == {"routed": True}
        [found] = api.post("queues", "/", "q", "get", body=GET).json
        headers = found["properties"]["headers"]
        assert (headers["n"], set(headers)) == (1, {"n", "timestamp_in_ms", "x-routed-by"})
        assert found["properties"]["timestamp"] == headers["timestamp_in_ms"] // 1000
        traces = api.post("queues", "/", "traces", "get", body=GET | {"count": 9}).json
        assert [trace["routing_key"] for trace in traces] == ["publish.", "deliver.q"]
        told = [trace["properties"]["headers"] for trace in traces]
        assert [each["user"] for each in told] == ["guest", "guest"]
        assert (told[0]["routed_queues"], told[1]["redelivered"]) == (["q"], 0)
        assert all(trace["payload"] == "hello" for trace in traces)
