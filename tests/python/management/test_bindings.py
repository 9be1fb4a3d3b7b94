"""Bindings: their keys in paths, lists from both ends, and refusals."""

import pytest

from management.test_topology import missing, refusal


@pytest.fixture
def exchange(api, vhost, name):
    """A topic exchange."""
    made = name("exchange")
    api.done("PUT", "exchanges", vhost, made, body={"type": "topic"})
    return made


def test_a_binding_says_where_it_is(api, vhost, exchange, queue):
    made = queue()
    between = ("bindings", vhost, "e", exchange, "q", made)
    answer = api.post(*between, body={"routing_key": "k", "arguments": {}})
    assert (answer.status, answer.headers["location"], answer.body) == (201, f"{made}/k", b"")
    assert api.post(*between, body={"routing_key": "k"}).status == 201
    expected = {
        "source": exchange,
        "vhost": vhost,
        "destination": made,
        "destination_type": "queue",
        "routing_key": "k",
        "arguments": {},
        "properties_key": "k",
    }
    assert api.read(*between) == [expected]
    assert api.read(*between, "k") == expected
    deleted = api.delete(*between, "k")
    assert (deleted.status, deleted.body) == (204, b"")
    missing(api.delete(*between, "k"))
    missing(api.get(*between, "k"))


def test_nothing_said_is_the_empty_key(api, vhost, exchange, queue):
    between = ("bindings", vhost, "e", exchange, "q", queue())
    target = "/api/" + "/".join(part.replace("/", "%2F") for part in between)
    assert api.send("POST", target, b"").headers["location"].endswith("/~")
    assert [found["properties_key"] for found in api.read(*between)] == ["~"]
    assert api.read(*between, "~")["routing_key"] == ""
    assert api.delete(*between, "~").status == 204


KEYS = ["a b", "a/b", "a~b", "~", "a.*.#", "ä€", "a+b", 'x"y', "a&b"]


@pytest.mark.parametrize("arguments", [{}, {"a": 1}, {"a": "1", "b": [True, {"c": 2.5}]}])
def test_keys_of_every_kind_are_found_again(server, api, vhost, exchange, queue, arguments):
    between = ("bindings", vhost, "e", exchange, "q", queue())
    # RabbitMQ 3.10 answers 500 to some, and to every list from then on.
    keys = server.either(KEYS, [key for key in KEYS if "~" not in key or not arguments])
    for key in keys:
        assert api.post(*between, body={"routing_key": key, "arguments": arguments}).status == 201, key
    found = api.read(*between)
    assert {one["routing_key"] for one in found} == set(keys)
    assert len({one["properties_key"] for one in found}) == len(keys)
    for one in found:
        assert one["arguments"] == arguments
        assert api.read(*between, one["properties_key"]) == one
        assert api.delete(*between, one["properties_key"]).status == 204, one
    assert api.read(*between) == []


def test_keys_need_not_be_escaped_as_they_are_told(api, vhost, exchange, queue):
    between = ("bindings", vhost, "e", exchange, "q", queue())
    for given in ("a.*", "a.%2A", "%61.%2a"):
        api.done("POST", *between, body={"routing_key": "a.*"})
        assert api.read(*between, given)["routing_key"] == "a.*"
        assert api.delete(*between, given).status == 204
        missing(api.get(*between, given))


def test_bindings_that_differ_in_arguments_alone_are_two(api, vhost, queue):
    between = ("bindings", vhost, "e", "amq.headers", "q", queue())
    for value in (1, 2, "1"):
        api.done("POST", *between, body={"routing_key": "", "arguments": {"x-match": "any", "n": value}})
    keys = {one["arguments"]["n"]: one["properties_key"] for one in api.read(*between)}
    assert len(set(keys.values())) == 3
    assert api.delete(*between, keys[2]).status == 204
    assert {one["arguments"]["n"] for one in api.read(*between)} == {1, "1"}


def test_lists_from_both_ends(api, vhost, name, exchange, queue):
    made, target = queue(), name("target")
    api.done("PUT", "exchanges", vhost, target, body={})
    api.done("POST", "bindings", vhost, "e", exchange, "q", made, body={"routing_key": "q"})
    answer = api.post("bindings", vhost, "e", exchange, "e", target, body={"routing_key": "e"})
    assert (answer.status, answer.headers["location"]) == (201, f"{target}/e")
    assert [one["destination_type"] for one in api.read("bindings", vhost, "e", exchange, "e", target)] == ["exchange"]
    source = api.read("exchanges", vhost, exchange, "bindings", "source")
    assert {(one["destination_type"], one["destination"]) for one in source} == {("queue", made), ("exchange", target)}
    destination = api.read("exchanges", vhost, target, "bindings", "destination")
    assert [(one["source"], one["routing_key"]) for one in destination] == [(exchange, "e")]
    # The default exchange is bound to every queue.
    of_queue = api.read("queues", vhost, made, "bindings")
    assert {(one["source"], one["routing_key"]) for one in of_queue} == {("", made), (exchange, "q")}
    default = api.read("bindings", vhost, "e", "amq.default", "q", made)
    assert [(one["source"], one["routing_key"], one["properties_key"]) for one in default] == [("", made, made)]
    for everything in (api.read("bindings", vhost), api.read("bindings")):
        ours = {(one["source"], one["destination"]) for one in everything if one["vhost"] == vhost}
        assert {("", made), (exchange, made), (exchange, target)} <= ours


def test_what_is_missing_is_told(api, vhost, exchange, queue):
    made = queue()
    refusal(api.post("bindings", vhost, "e", exchange, "q", "none", body={}), 404, "not_found", "no queue 'none'")
    refusal(api.post("bindings", vhost, "e", "none", "q", made, body={}), 404, "not_found", "no exchange 'none'")
    missing(api.post("bindings", "no vhost", "e", exchange, "q", made, body={}))
    missing(api.get("bindings", vhost, "e", exchange, "q", made, "none"))
    missing(api.get("bindings", "no vhost"))


def test_the_default_exchange_cannot_be_bound(api, vhost, exchange, queue):
    made = queue()
    answer = api.post("bindings", vhost, "e", "amq.default", "q", made, body={"routing_key": "k"})
    refusal(answer, 401, "not_authorised", "Access refused.")
    answer = api.post("bindings", vhost, "e", exchange, "e", "amq.default", body={"routing_key": "k"})
    refusal(answer, 401, "not_authorised", "Access refused.")


def test_what_clients_bind_is_listed_and_the_other_way(opened, api, vhost, exchange, queue):
    made = queue()
    channel = opened(vhost).channel()
    channel.queue_bind(made, exchange, "from.client", arguments={"n": 7})
    between = ("bindings", vhost, "e", exchange, "q", made)
    (found,) = api.read(*between)
    assert (found["routing_key"], found["arguments"]) == ("from.client", {"n": 7})
    api.done("DELETE", *between, found["properties_key"])
    api.done("POST", *between, body={"routing_key": "from.api"})
    channel.confirm_delivery()
    channel.basic_publish(exchange, "from.api", b"x", mandatory=True)
    channel.queue_unbind(made, exchange, "from.api")
    assert api.read(*between) == []
