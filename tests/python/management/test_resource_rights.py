"""Users with narrow permissions: what AMQP refuses them, the API refuses too, and says no more."""

import pytest

# What Leveret has alone, or has otherwise than RabbitMQ 3.10.
pytestmark = pytest.mark.own_broker

NOTHING = {"configure": "", "write": "", "read": ""}


@pytest.fixture
def narrow(user, api, vhost):
    """A user of the vhost who may do nothing, and how to let them do something: `may(configure="^q$")`."""
    theirs = user("management", vhost, permissions=NOTHING)

    def may(**rights):
        api.done("PUT", "permissions", vhost, theirs.user, body=NOTHING | rights)

    return theirs, may


def refused(answer):
    """It is the refusal that RabbitMQ's API has for all of them."""
    assert answer.status == 401, answer
    assert answer.error == ("not_authorised", "Access refused."), answer


@pytest.mark.parametrize("kind", ["queues", "exchanges"])
def test_declaring_and_deleting_needs_configure(narrow, vhost, name, kind):
    theirs, may = narrow
    mine = name("mine")
    may(write=".*", read=".*")
    refused(theirs.put(kind, vhost, mine, body={}))
    may(configure="^mine")
    assert theirs.put(kind, vhost, mine, body={}).status == 201
    refused(theirs.put(kind, vhost, name("other"), body={}))
    may(write=".*", read=".*")
    refused(theirs.delete(kind, vhost, mine))
    may(configure="^mine")
    assert theirs.delete(kind, vhost, mine).status == 204


@pytest.mark.parametrize(
    ("kind", "argument"), [("queues", "x-dead-letter-exchange"), ("exchanges", "alternate-exchange")]
)
def test_who_makes_one_that_hands_on_has_to_read_it_and_write_there(narrow, vhost, name, kind, argument):
    theirs, may = narrow
    mine, body = name("mine"), {"arguments": {argument: "letters"}}
    may(configure="^mine", read="^mine")
    refused(theirs.put(kind, vhost, mine, body=body))
    may(configure="^mine", write="^letters$")
    refused(theirs.put(kind, vhost, mine, body=body))
    may(configure="^mine", read="^mine", write="^letters$")
    assert theirs.put(kind, vhost, mine, body=body).status == 201
    # Of one that exists it is not asked.
    may(configure="^mine")
    assert theirs.put(kind, vhost, mine, body=body).status == 204


def test_binding_writes_to_the_one_and_reads_from_the_other(narrow, api, vhost, queue):
    theirs, may = narrow
    mine = queue()
    path = ("bindings", vhost, "e", "amq.direct", "q", mine)
    may(write=".*")
    refused(theirs.post(*path, body={"routing_key": "k"}))
    may(read=".*")
    refused(theirs.post(*path, body={"routing_key": "k"}))
    may(write=f"^{mine}$", read="^amq.direct$")
    assert theirs.post(*path, body={"routing_key": "k"}).status == 201
    may(write=f"^{mine}$")
    refused(theirs.delete(*path, "k"))
    assert theirs.read(*path, "k")["routing_key"] == "k"
    may(write=f"^{mine}$", read="^amq.direct$")
    assert theirs.delete(*path, "k").status == 204
    assert api.get(*path, "k").status == 404


def test_keys_of_topic_exchanges_are_asked_for_one_by_one(narrow, api, vhost, queue):
    theirs, may = narrow
    may(write=".*", read=".*")
    body = {"exchange": "amq.topic", "write": "^mine\\.", "read": "^{username}$"}
    api.done("PUT", "topic-permissions", vhost, theirs.user, body=body)
    path = ("bindings", vhost, "e", "amq.topic", "q", queue())
    refused(theirs.post(*path, body={"routing_key": "#"}))
    assert theirs.post(*path, body={"routing_key": theirs.user}).status == 201
    message = {"properties": {}, "payload": "", "payload_encoding": "string"}
    publish = ("exchanges", vhost, "amq.topic", "publish")
    refused(theirs.post(*publish, body=message | {"routing_key": "other.x"}))
    assert theirs.post(*publish, body=message | {"routing_key": "mine.x"}).json == {"routed": False}
    with_cc = message | {"routing_key": "mine.x", "properties": {"headers": {"CC": ["other.x"]}}}
    refused(theirs.post(*publish, body=with_cc))


def test_taking_and_purging_reads(narrow, api, vhost, queue):
    theirs, may = narrow
    mine = queue()
    body = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
    may(configure=".*", write=".*")
    refused(theirs.post("queues", vhost, mine, "get", body=body))
    refused(theirs.delete("queues", vhost, mine, "contents"))
    may(read=f"^{mine}$")
    assert theirs.post("queues", vhost, mine, "get", body=body).json == []
    assert theirs.delete("queues", vhost, mine, "contents").status == 204


def test_publishing_writes_to_the_exchange(narrow, vhost, queue):
    theirs, may = narrow
    body = {"routing_key": queue(), "properties": {}, "payload": "x", "payload_encoding": "string"}
    path = ("exchanges", vhost, "amq.default", "publish")
    may(configure=".*", read=".*")
    refused(theirs.post(*path, body=body))
    may(write="^amq\\.default$")
    assert theirs.post(*path, body=body).json == {"routed": True}


def test_administrators_need_permissions_in_a_vhost_too(user, vhost, name):
    theirs = user("administrator")
    for kind in ("queues", "exchanges"):
        answer = theirs.put(kind, vhost, name(), body={})
        assert (answer.status, answer.error[0]) == (401, "not_authorised"), answer


def test_makers_of_policies_do_not_set_what_is_an_operators(user, api, vhost, name):
    theirs = user("policymaker", vhost)
    policy = {"pattern": "^none$", "definition": {"max-length": 1}}
    mine = name("policy")
    assert theirs.put("policies", vhost, mine, body=policy).status == 201
    assert theirs.put("operator-policies", vhost, mine, body=policy).status == 401
    assert theirs.put("parameters", "operator_policy", vhost, mine, body={"value": policy}).status == 401
    limits = {"value": {"max-queues": 1}}
    assert theirs.put("parameters", "vhost-limits", vhost, "limits", body=limits).status == 401
    path = ("parameters", "vhost-limits", vhost, "limits")
    assert api.put(*path, body=limits).status == 201
    assert theirs.put(*path, body={"value": {"max-queues": 2}}).status == theirs.delete(*path).status == 401
    assert api.read(*path)["value"] == limits["value"]
    api.done("DELETE", *path)
    assert theirs.put("parameters", "shovel", vhost, mine, body={"value": {}}).status == 201
    assert theirs.delete("parameters", "shovel", vhost, mine).status == 204
    assert api.read("operator-policies", vhost) == api.read("vhost-limits", vhost) == []
    assert theirs.delete("policies", vhost, mine).status == 204


def test_passwords_in_parameters_are_shown_in_definitions_only(user, api, vhost, name):
    theirs, mine = user("policymaker", vhost), name("upstream")
    value = {"uri": ["amqp://u:secret@host", "amqp://host"], "expires": 1}
    assert theirs.put("parameters", "federation-upstream", vhost, mine, body={"value": value}).status == 201
    for path in ((), ("federation-upstream",), ("federation-upstream", vhost), ("federation-upstream", vhost, mine)):
        for asked in (api, theirs):
            answer = asked.get("parameters", *path)
            assert (b"secret" in answer.body, b'"amqp://u:***@host"' in answer.body) == (False, True)
    [kept] = api.read("definitions", vhost)["parameters"]
    assert kept["value"] == value
    assert theirs.delete("parameters", "federation-upstream", vhost, mine).status == 204


def test_policies_of_other_vhosts_are_not_theirs(user, vhost):
    theirs = user("policymaker")
    policy = {"pattern": "", "definition": {"max-length": 1}}
    for path in (("policies", vhost, "p"), ("parameters", "shovel", vhost, "p")):
        assert theirs.put(*path, body=policy | {"value": {}}).status == 401
    assert theirs.read("policies") == []
