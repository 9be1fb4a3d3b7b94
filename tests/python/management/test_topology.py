"""Exchanges, queues and bindings: status codes, refusals and what is there afterwards."""

import pytest

FAR = "a" * 256


def refusal(answer, status, error, *words):
    """Whether it was refused so, with these words somewhere in the reason, which may be a text or a list."""
    assert answer.status == status, answer
    told, reason = answer.error
    assert told == error, answer
    for word in words:
        assert word in str(reason), answer


def missing(answer):
    """Whether it says that there is no such thing. What it says besides differs between versions of RabbitMQ."""
    assert answer.status == 404, answer
    assert set(answer.json) == {"error", "reason"}


PLACES = {"queue": "queues", "exchange": "exchanges"}


@pytest.mark.parametrize("kind", PLACES)
class TestBoth:
    """What exchanges and queues have in common."""

    def test_put_makes_it_once_and_delete_takes_it_away(self, api, vhost, name, kind):
        path = (PLACES[kind], vhost, name(kind))
        missing(api.get(*path))
        assert api.put(*path, body={"durable": True}).status == 201
        assert api.put(*path, body={"durable": True}).status == 204
        found = api.read(*path)
        assert (found["name"], found["vhost"], found["durable"]) == (path[2], vhost, True)
        deleted = api.delete(*path)
        assert (deleted.status, deleted.body) == (204, b"")
        missing(api.delete(*path))
        missing(api.get(*path))

    @pytest.mark.parametrize("body", [b"", b"{}", b"null"])
    def test_nothing_said_is_what_amqp_says(self, api, vhost, name, kind, body):
        made = name(kind)
        path = (PLACES[kind], vhost, made)
        target = f"/api/{PLACES[kind]}/{vhost.replace('/', '%2F')}/{made}"
        assert api.send("PUT", target, body).status == 201
        found = api.read(*path)
        assert (found["durable"], found["auto_delete"], found["arguments"]) == (False, False, {})
        if kind == "exchange":
            assert (found["type"], found["internal"]) == ("direct", False)

    def test_booleans_may_be_words_and_unknown_keys_are_nothing(self, api, vhost, name, kind):
        path = (PLACES[kind], vhost, name(kind))
        assert api.put(*path, body={"durable": "true", "auto_delete": "false", "colour": 1}).status == 201
        found = api.read(*path)
        assert (found["durable"], found["auto_delete"]) == (True, False)
        refusal(api.put(*path, body={"durable": "maybe"}), 400, "bad_request", "maybe")

    def test_another_one_of_the_name_is_refused_as_by_amqp(self, api, vhost, name, kind):
        path = (PLACES[kind], vhost, name(kind))
        api.done("PUT", *path, body={"durable": False})
        words = f"inequivalent arg 'durable' for {kind} '{path[2]}' in vhost '{vhost}': received 'true' but current is 'false'"
        refusal(api.put(*path, body={"durable": True}), 400, "bad_request", words)

    def test_names(self, server, api, vhost, kind):
        if kind == "queue" or not server.is_rabbitmq:
            refusal(api.put(PLACES[kind], vhost, FAR, body={}), 400, "bad_request", "255")
        refusal(api.put(PLACES[kind], vhost, f"amq.{kind}", body={}), 401, "not_authorised", "Access refused.")
        missing(api.put(PLACES[kind], "no vhost", "x", body={}))
        missing(api.get(PLACES[kind], "no vhost", "x"))
        missing(api.get(PLACES[kind], "no vhost"))
        missing(api.delete(PLACES[kind], "no vhost", "x"))

    BODIES = {
        "half of it": b'{"durable"',
        "a list": b"[]",
        "a number": b"5",
        "no text": b'{"a":"\xff"}',
        "two": b"{}{}",
        "a string": b'"{}"',
    }

    @pytest.mark.parametrize("body", BODIES)
    def test_what_is_no_object_is_refused(self, server, api, vhost, name, kind, body):
        if server.is_rabbitmq and body in ("a number", "two", "no text"):
            pytest.skip("RabbitMQ 3.10 answers 500, or takes it")
        path = (PLACES[kind], vhost, name(kind))
        target = f"/api/{path[0]}/{vhost.replace('/', '%2F')}/{path[2]}"
        refusal(api.send("PUT", target, self.BODIES[body]), 400, "bad_request")
        missing(api.get(*path))

    def test_names_of_every_kind_come_back(self, api, vhost, kind):
        for made in ("a b", "a/b", "a%2Fb", "a%b", "a?b", "a#b", "a+b", "a&b=c", "ü/€/🐇", "a..b", "a\\b", '"', "a;b", ":"):
            path = (PLACES[kind], vhost, made)
            assert api.put(*path, body={}).status == 201, made
            assert api.read(*path)["name"] == made
            assert made in [found["name"] for found in api.read(PLACES[kind], vhost)]
            assert api.delete(*path).status == 204, made
            missing(api.get(*path))

    def test_small_and_large_hexadecimals_are_the_same(self, api, vhost, kind):
        api.done("PUT", PLACES[kind], vhost, "x/é", body={})
        place = vhost.replace("/", "%2f")
        for escaped in ("x%2fé".encode().decode("latin-1"), "x%2F%C3%A9", "x%2f%c3%a9", "%78%2F%c3%A9"):
            if escaped.isascii():
                assert api.send("GET", f"/api/{PLACES[kind]}/{place}/{escaped}").json["name"] == "x/é"
        api.done("DELETE", PLACES[kind], vhost, "x/é")


def test_the_default_exchange_can_be_looked_at_only(api, vhost):
    found = api.read("exchanges", vhost, "amq.default")
    assert (found["name"], found["type"], found["durable"]) == ("", "direct", True)
    for method in ("PUT", "DELETE"):
        answer = api.call(method, "exchanges", vhost, "amq.default", body={"durable": True})
        refusal(answer, 401, "not_authorised", "Access refused.")


def test_predeclared_exchanges_stay(api, vhost):
    names = {found["name"]: found["type"] for found in api.read("exchanges", vhost)}
    for made, kind in {"": "direct", "amq.direct": "direct", "amq.topic": "topic", "amq.headers": "headers"}.items():
        assert names[made] == kind
    refusal(api.delete("exchanges", vhost, "amq.topic"), 401, "not_authorised", "Access refused.")
    assert api.put("exchanges", vhost, "amq.topic", body={"type": "topic", "durable": True}).status == 204
    refusal(api.put("exchanges", vhost, "amq.topic", body={"type": "topic"}), 400, "bad_request", "inequivalent arg 'durable'")


def test_exchanges_have_what_they_were_made_with(api, vhost, name):
    exchange = name()
    body = {"type": "fanout", "durable": True, "auto_delete": True, "internal": True}
    api.done("PUT", "exchanges", vhost, exchange, body=body | {"arguments": {"alternate-exchange": "amq.direct"}})
    found = api.read("exchanges", vhost, exchange)
    assert {key: found[key] for key in body} == body
    assert found["arguments"] == {"alternate-exchange": "amq.direct"}
    refusal(api.put("exchanges", vhost, name(), body={"type": "square"}), 400, "bad_request", "exchange type 'square'")


def test_queues_have_what_they_were_made_with(api, vhost, name):
    queue = name()
    arguments = {
        "x-max-length": 5,
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": "",
        "x-single-active-consumer": True,
        "mine": {"list": [1, 2.5, "three", False]},
    }
    api.done("PUT", "queues", vhost, queue, body={"durable": True, "arguments": arguments})
    assert api.read("queues", vhost, queue)["arguments"] == arguments


def test_types_of_numbers_are_kept(opened, api, vhost, name):
    queue = name()
    api.done("PUT", "queues", vhost, queue, body={"arguments": {"x-max-length": 5}})
    channel = opened(vhost).channel()
    # A whole number is one for AMQP too; another client that asks for the same gets it.
    channel.queue_declare(queue, arguments={"x-max-length": 5})


BAD_ARGUMENTS = {
    "a string for a number": ({"x-max-length": "a"}, "x-max-length"),
    "a negative number": ({"x-max-length": -1}, "x-max-length"),
    "a fraction": ({"x-message-ttl": 1.5}, "x-message-ttl"),
    "an unknown word": ({"x-overflow": "burst"}, "x-overflow"),
    "an unknown type": ({"x-queue-type": "heap"}, "heap"),
}


@pytest.mark.parametrize("fault", BAD_ARGUMENTS)
def test_bad_arguments_are_refused_as_by_amqp(api, vhost, name, fault):
    arguments, word = BAD_ARGUMENTS[fault]
    refusal(api.put("queues", vhost, name(), body={"durable": True, "arguments": arguments}), 400, "bad_request", word)


def test_arguments_have_to_be_an_object(server, api, vhost, name):
    # Erlang's empty object is [], and scripts send it back.
    assert api.put("queues", vhost, name(), body={"arguments": []}).status == 201
    if not server.is_rabbitmq:
        refusal(api.put("queues", vhost, name(), body={"arguments": "x"}), 400, "bad_request")
        refusal(api.put("queues", vhost, name(), body={"arguments": [1]}), 400, "bad_request")


def test_queues_go_only_when_they_are_empty_and_unused_if_that_is_asked(opened, api, vhost, queue):
    made = queue()
    path = ("queues", vhost, made)
    channel = opened(vhost).channel()
    channel.confirm_delivery()
    channel.basic_publish("", made, b"x")
    refusal(api.delete(*path, query={"if-empty": "true"}), 400, "bad_request", f"queue '{made}' in vhost '{vhost}' not empty")
    tag = channel.basic_consume(made, lambda *_: None)
    refusal(api.delete(*path, query={"if-unused": "true"}), 400, "bad_request", f"queue '{made}' in vhost '{vhost}' in use")
    channel.basic_cancel(tag)
    assert api.delete(*path, query={"if-unused": "true", "if-empty": "false"}).status == 204
    missing(api.get(*path))


def test_exchanges_go_only_when_they_are_unused_if_that_is_asked(api, vhost, name, queue):
    exchange, made = name(), queue()
    path = ("exchanges", vhost, exchange)
    api.done("PUT", *path, body={})
    api.done("POST", "bindings", vhost, "e", exchange, "q", made, body={})
    words = f"exchange '{exchange}' in vhost '{vhost}' in use"
    refusal(api.delete(*path, query={"if-unused": "true"}), 400, "bad_request", words)
    assert api.delete(*path).status == 204
    assert api.read("bindings", vhost, "e", "amq.direct", "q", made) == []


def test_an_exclusive_queue_of_somebody_else_is_left_alone(opened, api, vhost):
    channel = opened(vhost).channel()
    made = channel.queue_declare("", exclusive=True).method.queue
    found = api.read("queues", vhost, made)
    assert found["exclusive"] is True
    for answer in (api.put("queues", vhost, made, body={}), api.delete("queues", vhost, made)):
        assert answer.status in (400, 401), answer
    channel.queue_declare(made, passive=True)


def test_purge(opened, api, vhost, queue):
    made = queue()
    channel = opened(vhost).channel()
    channel.confirm_delivery()
    for _ in range(3):
        channel.basic_publish("", made, b"x")
    answer = api.delete("queues", vhost, made, "contents")
    assert (answer.status, answer.body) == (204, b"")
    assert channel.queue_declare(made, passive=True).method.message_count == 0
    missing(api.delete("queues", vhost, "nothing", "contents"))
