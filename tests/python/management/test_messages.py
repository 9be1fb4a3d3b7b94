"""Publishing and getting by HTTP."""

import base64

import pika
import pytest

from management.test_topology import missing, refusal

TAKE = {"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"}
LOOK = TAKE | {"ackmode": "ack_requeue_true"}


@pytest.fixture
def publish(api, vhost):
    """Publishes to the default exchange; answers whether it was routed."""

    def to(queue, payload="hello", encoding="string", exchange="amq.default", **properties):
        body = {"routing_key": queue, "properties": properties, "payload": payload, "payload_encoding": encoding}
        answer = api.post("exchanges", vhost, exchange, "publish", body=body)
        assert answer.status == 200, answer
        return answer.json

    return to


@pytest.fixture
def get(api, vhost):
    """Gets messages of a queue."""

    def of(queue, **options):
        answer = api.post("queues", vhost, queue, "get", body=LOOK | options)
        assert answer.status == 200, answer
        return answer.json

    return of


def test_it_is_told_whether_it_was_routed(publish, queue):
    made = queue()
    assert publish(made) == {"routed": True}
    assert publish("nothing") == {"routed": False}
    assert publish(made, exchange="amq.fanout") == {"routed": False}


def test_a_message_comes_back_with_everything(server, publish, get, queue):
    made = queue()
    properties = {
        "content_type": "text/plain",
        "content_encoding": "identity",
        "headers": {"whole": 1, "part": 1.5, "text": "s", "yes": True, "in": {"a": [1, "b", {"c": 2}]}},
        "delivery_mode": 2,
        "priority": 3,
        "correlation_id": "c",
        "reply_to": "r",
        "expiration": "100000",
        "message_id": "m",
        "timestamp": 123,
        "type": "t",
        "user_id": "guest",
        "app_id": "a",
        "cluster_id": "cl",
    }
    if not server.is_rabbitmq:
        # Version 3.10 takes no null.
        properties["headers"]["none"] = None
    publish(made, "first", **properties)
    publish(made, "second")
    first, second = get(made, count=5)
    assert first == {
        "payload_bytes": 5,
        "redelivered": False,
        "exchange": "",
        "routing_key": made,
        "message_count": 1,
        "properties": properties,
        "payload": "first",
        "payload_encoding": "string",
    }
    assert (second["payload"], second["message_count"]) == ("second", 0)
    # Erlang has no empty object; clients cope with both.
    assert second["properties"] in ([], {})


def test_clients_get_what_was_published_and_the_other_way(opened, publish, get, vhost, queue):
    made = queue()
    channel = opened(vhost).channel()
    channel.confirm_delivery()
    publish(made, "x", headers={"n": 5, "l": [1]}, delivery_mode=1, timestamp=7)
    method, properties, body = channel.basic_get(made, auto_ack=True)
    assert (body, properties.headers, properties.delivery_mode) == (b"x", {"n": 5, "l": [1]}, 1)
    assert (method.exchange, method.routing_key, properties.timestamp) == ("", made, 7)
    channel.basic_publish("", made, "gr\u00fcn".encode(), pika.BasicProperties(headers={"b": b"bytes", "t": {"x": 1}}))
    (got,) = get(made)
    assert (got["payload"], got["payload_bytes"], got["payload_encoding"]) == ("gr\u00fcn", 5, "string")
    assert got["properties"]["headers"]["t"] == {"x": 1}


def test_bytes_that_are_no_text(publish, get, queue):
    made = queue()
    raw = bytes(range(256))
    encoded = base64.b64encode(raw).decode()
    assert publish(made, encoded, "base64") == {"routed": True}
    (got,) = get(made)
    assert (got["payload"], got["payload_encoding"], got["payload_bytes"]) == (encoded, "base64", 256)
    publish(made, "text")
    _, got = get(made, count=2, encoding="base64")
    assert (base64.b64decode(got["payload"]), got["payload_encoding"]) == (b"text", "base64")


def test_long_ones_are_cut_if_asked(publish, get, queue):
    made = queue()
    publish(made, "x" * 100)
    (got,) = get(made, truncate=10)
    assert (got["payload"], got["payload_bytes"]) == ("x" * 10, 100)
    (got,) = get(made, truncate="7")
    assert got["payload"] == "x" * 7
    (got,) = get(made, truncate=1000)
    assert got["payload"] == "x" * 100


MODES = {
    "ack_requeue_true": (True, ["a", "b", "c"]),
    "reject_requeue_true": (True, ["a", "b", "c"]),
    "ack_requeue_false": (False, ["c"]),
    "reject_requeue_false": (False, ["c"]),
}


@pytest.mark.parametrize("mode", MODES)
def test_what_is_left_after_a_get(publish, get, queue, mode):
    redelivered, left = MODES[mode]
    made = queue()
    for text in "abc":
        publish(made, text)
    got = get(made, count=2, ackmode=mode)
    assert [(message["payload"], message["redelivered"], message["message_count"]) for message in got] == [
        ("a", False, 2),
        ("b", False, 1),
    ]
    rest = get(made, count=10)
    assert [message["payload"] for message in rest] == left
    assert rest[0]["redelivered"] is redelivered
    assert rest[-1]["redelivered"] is False


def test_rejected_ones_are_dead_lettered(publish, get, queue):
    grave = queue()
    made = queue(x_dead_letter_exchange="", x_dead_letter_routing_key=grave)
    publish(made, "a")
    publish(made, "b")
    get(made, ackmode="ack_requeue_false")
    get(made, ackmode="reject_requeue_false")
    (dead,) = get(grave, count=5)
    assert (dead["payload"], dead["properties"]["headers"]["x-first-death-reason"]) == ("b", "rejected")


def test_counts(publish, get, queue):
    made = queue()
    for number in range(5):
        publish(made, str(number))
    assert get(made, count=0) == []
    assert [message["payload"] for message in get(made, count="2")] == ["0", "1"]
    assert len(get(made, count=1000, ackmode="ack_requeue_false")) == 5
    assert get(made, count=1000) == []


WRONG_GETS = {
    "no count": ({"ackmode": "ack_requeue_true", "encoding": "auto"}, "count"),
    "no mode": ({"count": 1, "encoding": "auto"}, "ackmode"),
    "no encoding": ({"count": 1, "ackmode": "ack_requeue_true"}, "encoding"),
    "no number": (LOOK | {"count": "x"}, "x"),
    "another encoding": (LOOK | {"encoding": "hex"}, "encoding"),
    "a cut by nothing": (LOOK | {"truncate": "x"}, "x"),
}


@pytest.mark.parametrize("fault", WRONG_GETS)
def test_wrong_gets(api, vhost, queue, fault):
    body, word = WRONG_GETS[fault]
    refusal(api.post("queues", vhost, queue(), "get", body=body), 400, "bad_request", word)


@pytest.mark.own_broker
def test_a_mode_nobody_knows(api, vhost, queue):
    # RabbitMQ 3.10 answers 500.
    refusal(api.post("queues", vhost, queue(), "get", body=LOOK | {"ackmode": "keep"}), 400, "bad_request")


def test_gets_of_nothing(api, vhost):
    missing(api.post("queues", vhost, "nothing", "get", body=LOOK))
    assert api.post("queues", "no vhost", "nothing", "get", body=LOOK).status in (401, 404)


WHOLE = {"routing_key": "k", "properties": {}, "payload": "x", "payload_encoding": "string"}
WRONG_PUBLISHES = {
    "no key": ({key: WHOLE[key] for key in WHOLE if key != "routing_key"}, "routing_key"),
    "no properties": ({key: WHOLE[key] for key in WHOLE if key != "properties"}, "properties"),
    "no payload": ({key: WHOLE[key] for key in WHOLE if key != "payload"}, "payload"),
    "no encoding": ({key: WHOLE[key] for key in WHOLE if key != "payload_encoding"}, "payload_encoding"),
    "a payload that is a number": (WHOLE | {"payload": 5}, "payload_not_string"),
    "another encoding": (WHOLE | {"payload_encoding": "hex"}, "hex"),
    "no base64": (WHOLE | {"payload_encoding": "base64", "payload": "!!"}, "base64"),
    "a priority that is a word": (WHOLE | {"properties": {"priority": "high"}}, "priority"),
    "somebody else's name": (WHOLE | {"properties": {"user_id": "other"}}, "user_id"),
    "a lifetime that is a word": (WHOLE | {"properties": {"expiration": "soon"}}, "expiration"),
}


@pytest.mark.parametrize("fault", WRONG_PUBLISHES)
def test_wrong_publishes(api, vhost, fault):
    body, word = WRONG_PUBLISHES[fault]
    refusal(api.post("exchanges", vhost, "amq.default", "publish", body=body), 400, "bad_request", word)


def test_empty_objects_may_be_lists(publish, queue):
    assert publish(queue(), headers=[]) == {"routed": True}


def test_an_exchange_that_is_not_there(server, api, vhost):
    answer = api.post("exchanges", vhost, "nothing", "publish", body=WHOLE)
    assert answer.status == server.either(404, 400), answer
    assert "nothing" in answer.json["reason"] or answer.status == 404


def test_a_queue_that_is_full_refuses(api, vhost, queue):
    made = queue(x_max_length=1, x_overflow="reject-publish")
    body = WHOLE | {"routing_key": made}
    assert api.post("exchanges", vhost, "amq.default", "publish", body=body).json == {"routed": True}
    refusal(api.post("exchanges", vhost, "amq.default", "publish", body=body), 400, "bad_request", "Unable to publish message")


def test_rights_are_asked_for(server, user, api, vhost, queue):
    made = queue()
    reader = user("management", vhost, permissions={"configure": "", "write": "", "read": ".*"})
    writer = user("management", vhost, permissions={"configure": "", "write": ".*", "read": ""})
    body = WHOLE | {"routing_key": made}
    publish, get = ("exchanges", vhost, "amq.default", "publish"), ("queues", vhost, made, "get")
    assert writer.post(*publish, body=body).json == {"routed": True}
    assert len(reader.post(*get, body=LOOK).json) == 1
    for answer in (reader.post(*publish, body=body), writer.post(*get, body=LOOK)):
        assert answer.status == server.either(401, answer.status) and answer.status in (400, 401), answer
    refusal(reader.delete("queues", vhost, made), 401, "not_authorised", "Access refused.")
    refusal(reader.put("queues", vhost, "mine", body={}), 401, "not_authorised", "Access refused.")
    refusal(writer.delete("queues", vhost, made, "contents"), 401, "not_authorised", "Access refused.")


def test_a_get_that_is_refused_is_not_counted(api, user, vhost, name, queue):
    single = name("single")
    arguments = {"x-queue-type": "quorum", "x-single-active-consumer": True}
    api.done("PUT", "queues", vhost, single, body={"durable": True, "arguments": arguments})
    made = queue()
    other = user("management", vhost, permissions={"configure": ".*", "write": ".*", "read": "^$"})
    refusal(other.post("queues", vhost, made, "get", body=TAKE), 401, "not_authorised")
    refusal(api.post("queues", vhost, made, "get", body=TAKE | {"encoding": "hex"}), 400, "bad_request")
    refusal(api.post("queues", vhost, single, "get", body=TAKE), 400, "bad_request")
    for one in (made, single):
        counted = api.read("queues", vhost, one).get("message_stats", {})
        assert [counted.get(key, 0) for key in ("get", "get_no_ack", "get_empty", "redeliver")] == [0] * 4
