"""Definitions by HTTP: exported, imported again, of everything and of one vhost."""

import json
import uuid

import pytest

from management.conftest import FULL
from management.test_topology import missing


@pytest.fixture
def furnished(api):
    """A vhost with something of everything; it goes after the test."""
    vhost = f"definitions/{uuid.uuid4().hex[:8]}"
    furnish(api, vhost)
    yield vhost
    api.delete("vhosts", vhost)


def furnish(api, vhost):
    """Makes the vhost and what is in it."""
    api.done("PUT", "vhosts", vhost, body={"description": "d", "tags": "a,b"})
    api.done("PUT", "permissions", vhost, api.user, body=FULL)
    arguments = {"x-max-length": 5, "x-dead-letter-exchange": "", "mine": [1, "two", {"three": 3}]}
    api.done("PUT", "queues", vhost, "kept", body={"durable": True, "arguments": arguments})
    api.done("PUT", "queues", vhost, "quorum", body={"durable": True, "arguments": {"x-queue-type": "quorum"}})
    api.done("PUT", "exchanges", vhost, "source", body={"type": "topic", "durable": True})
    api.done("PUT", "exchanges", vhost, "target", body={"type": "fanout", "durable": True, "auto_delete": True})
    api.done("POST", "bindings", vhost, "e", "source", "q", "kept", body={"routing_key": "a.#", "arguments": {"n": 1}})
    api.done("POST", "bindings", vhost, "e", "source", "e", "target", body={"routing_key": "b"})
    api.done("PUT", "policies", vhost, "p", body={"pattern": "^k", "definition": {"max-length": 3}, "priority": 4})
    api.done("PUT", "operator-policies", vhost, "o", body={"pattern": "^k", "definition": {"max-length": 9}})
    api.done("PUT", "vhost-limits", vhost, "max-queues", body={"value": 50})


LISTS = ["queues", "exchanges", "bindings", "policies", "parameters"]


def sorted_lists(document):
    """The lists of a document, without an order."""
    return {kind: sorted(document[kind], key=lambda item: json.dumps(item, sort_keys=True)) for kind in LISTS}


def restored(api, vhost):
    """Deletes the vhost and makes an empty one of that name."""
    api.done("DELETE", "vhosts", vhost)
    api.done("PUT", "vhosts", vhost, body={})
    api.done("PUT", "permissions", vhost, api.user, body=FULL)
    assert api.read("queues", vhost) == []


def test_what_is_exported(opened, api, furnished):
    channel = opened(furnished).channel()
    exclusive = channel.queue_declare("exclusive", exclusive=True).method.queue
    document = api.read("definitions")
    own = {kind: [item for item in document[kind] if item["vhost"] == furnished] for kind in LISTS}
    queues = {item["name"]: item for item in own["queues"]}
    assert set(queues) == {"kept", "quorum"} and exclusive not in queues
    assert queues["kept"]["arguments"]["mine"] == [1, "two", {"three": 3}]
    assert (queues["kept"]["durable"], queues["kept"]["auto_delete"]) == (True, False)
    exchanges = {item["name"]: item["type"] for item in own["exchanges"]}
    assert exchanges == {"source": "topic", "target": "fanout"}
    bound = {(item["source"], item["destination"], item["destination_type"], item["routing_key"]) for item in own["bindings"]}
    assert bound == {("source", "kept", "queue", "a.#"), ("source", "target", "exchange", "b")}
    assert [(item["name"], item["priority"], item["apply-to"]) for item in own["policies"]] == [("p", 4, "all")]
    assert {item["component"] for item in own["parameters"]} == {"vhost-limits", "operator_policy"}
    assert furnished in [item["name"] for item in document["vhosts"]]
    rows = [item for item in document["permissions"] if item["vhost"] == furnished]
    assert rows == [{"user": api.user, "vhost": furnished} | FULL]
    (user,) = [item for item in document["users"] if item["name"] == api.user]
    assert user["password_hash"] and "administrator" in user["tags"]


def test_everything_comes_back(api, furnished):
    document = api.read("definitions")
    before = sorted_lists(api.read("definitions", furnished))
    restored(api, furnished)
    answer = api.post("definitions", body=document)
    assert (answer.status, answer.body) == (204, b"")
    assert sorted_lists(api.read("definitions", furnished)) == before
    # Once more changes nothing.
    api.done("POST", "definitions", body=document)
    assert sorted_lists(api.read("definitions", furnished)) == before


def test_a_vhost_comes_back_and_under_another_name(api, furnished):
    document = api.read("definitions", furnished)
    for kind in ("queues", "exchanges", "bindings"):
        assert all("vhost" not in item for item in document[kind])
    assert "users" not in document and "permissions" not in document
    before = sorted_lists(document)
    restored(api, furnished)
    assert api.post("definitions", furnished, body=document).status == 204
    assert sorted_lists(api.read("definitions", furnished)) == before
    other = f"{furnished}.other"
    api.done("PUT", "vhosts", other, body={})
    api.done("PUT", "permissions", other, api.user, body=FULL)
    api.done("POST", "definitions", other, body=document)
    assert {item["name"] for item in api.read("queues", other)} == {"kept", "quorum"}
    api.done("DELETE", "vhosts", other)
    assert api.get("definitions", "no vhost").status in (400, 404)
    assert api.post("definitions", "no vhost", body=document).status in (400, 404)


def test_what_is_there_already_stays(server, api, furnished):
    queue = {"name": "kept", "vhost": furnished, "durable": False, "auto_delete": True, "arguments": {}}
    before = api.read("queues", furnished, "kept", columns="durable,auto_delete,arguments")
    assert api.post("definitions", body={"queues": [queue]}).status == 204
    assert api.read("queues", furnished, "kept", columns="durable,auto_delete,arguments") == before
    # What is left out is not taken away, and what nobody says is durable, but for version 3.10, to which all has to be said.
    said = server.either({}, {"durable": True, "auto_delete": False, "arguments": {}})
    api.done("POST", "definitions", body={"queues": [{"name": "new", "vhost": furnished} | said]})
    found = {item["name"]: item["durable"] for item in api.read("queues", furnished)}
    assert found == {"kept": True, "quorum": True, "new": True}


def test_messages_stay(opened, api, furnished):
    channel = opened(furnished).channel()
    channel.confirm_delivery()
    channel.basic_publish("", "kept", b"x")
    api.done("POST", "definitions", body=api.read("definitions"))
    assert channel.queue_declare("kept", passive=True).method.message_count == 1


QUEUE = {"name": "wrong", "durable": True, "auto_delete": False, "arguments": {}}
WRONG = {
    "a queue of no vhost": {"queues": [QUEUE]},
    "a list that is none": {"queues": {"a": 1}},
    "a permission of nobody": {"permissions": [{"user": "nobody", "vhost": "/"} | FULL]},
    "a policy that is none": {"policies": [{"vhost": "/", "name": "p", "pattern": "(", "definition": {"max-length": 1}}]},
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_wrong_is_refused(server, api, fault):
    answer = api.post("definitions", body=WRONG[fault])
    if server.is_rabbitmq:
        assert answer.status in (400, 500)
        return
    assert answer.status == 400, answer
    assert set(answer.json) >= {"error", "reason"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b'"{}"'])
def test_what_is_no_document_is_refused(server, api, body):
    answer = api.send("POST", "/api/definitions", body, {"Content-Type": "application/json"})
    # An empty body is an empty document for RabbitMQ.
    assert answer.status == 400 or (body == b"" and answer.status == 204) or server.is_rabbitmq, answer


@pytest.mark.own_broker
def test_all_or_nothing(api, furnished):
    binding = {"vhost": furnished, "source": "source", "destination": "none", "destination_type": "queue"}
    document = {
        "queues": [QUEUE | {"vhost": furnished}],
        "bindings": [binding | {"routing_key": "", "arguments": {}}],
        "policies": [{"vhost": furnished, "name": "x", "pattern": "(", "definition": {"max-length": 1}, "priority": 0}],
    }
    answer = api.post("definitions", body=document)
    assert answer.status == 400
    # All that is wrong is told, and nothing is done.
    assert "none" in str(answer.json) and "x" in str(answer.json)
    missing(api.get("queues", furnished, "wrong"))


def test_a_form_with_a_file(api, furnished):
    document = json.dumps(api.read("definitions", furnished))
    restored(api, furnished)
    boundary = "a-boundary"
    head = 'Content-Disposition: form-data; name="file"; filename="definitions.json"\r\nContent-Type: application/json'
    body = f"--{boundary}\r\n{head}\r\n\r\n{document}\r\n--{boundary}--\r\n".encode()
    target = "/api/definitions/" + furnished.replace("/", "%2F")
    answer = api.send("POST", target, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
    assert answer.status in (200, 204, 303), answer
    assert {item["name"] for item in api.read("queues", furnished)} == {"kept", "quorum"}


def test_a_download_has_a_name(api):
    answer = api.get("definitions", query={"download": "all.json"})
    assert answer.headers["content-disposition"].startswith("attachment") and "all.json" in answer.headers["content-disposition"]
    assert "queues" in json.loads(answer.body)
