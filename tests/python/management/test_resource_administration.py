"""Vhosts, users, policies and connections, beyond that they come and go."""

import json
import uuid

import pika.exceptions
import pytest

from support.broker import Leveret
from support.deadline import eventually
from support.management import api_of

# What Leveret has alone, or has otherwise than RabbitMQ 3.10.
pytestmark = pytest.mark.own_broker


@pytest.fixture
def new_vhost(api):
    """A name that no vhost has; the vhost is gone after the test."""
    name = f"new/{uuid.uuid4().hex[:8]}"
    yield name
    api.delete("vhosts", name, "deletion", "protection")
    api.delete("vhosts", name)


def test_a_protected_vhost_stays(api, new_vhost):
    protection = ("vhosts", new_vhost, "deletion", "protection")
    assert api.call("POST", *protection).status == 404
    api.done("PUT", "vhosts", new_vhost, body={"description": "d"})
    assert api.call("POST", *protection).status == 204
    answer = api.delete("vhosts", new_vhost)
    assert (answer.status, answer.error[0]) == (412, "precondition_failed")
    # What is said about it otherwise does not unprotect it.
    assert api.put("vhosts", new_vhost, body={"description": "e"}).status == 204
    found = api.read("vhosts", new_vhost)
    assert (found["description"], found["protected_from_deletion"]) == ("e", True)
    assert api.delete(*protection).status == 204
    assert api.delete("vhosts", new_vhost).status == 204


def test_a_vhost_says_what_queues_are(api, new_vhost):
    api.done("PUT", "vhosts", new_vhost, body={"default_queue_type": "quorum"})
    assert api.read("vhosts", new_vhost)["default_queue_type"] == "quorum"
    api.done("PUT", "queues", new_vhost, "q", body={"durable": True})
    classic = {"durable": True, "arguments": {"x-queue-type": "classic"}}
    assert api.put("queues", new_vhost, "q", body=classic).status == 400
    assert api.put("vhosts", new_vhost, body={"default_queue_type": "heap"}).status == 400
    assert api.put("vhosts", new_vhost, body={}).status == 204
    assert api.read("vhosts", new_vhost)["default_queue_type"] == "classic"


def test_a_vhost_is_traced_on_demand(api, new_vhost):
    api.done("PUT", "vhosts", new_vhost, body={"tracing": True})
    assert api.read("vhosts", new_vhost)["tracing"] is True
    assert api.put("vhosts", new_vhost, body={"tracing": "false"}).status == 204
    assert api.read("vhosts", new_vhost)["tracing"] is False
    assert api.put("vhosts", new_vhost, body={"tracing": "maybe"}).status == 400


def test_vhosts_run_on_this_node_alone(api, vhost):
    node = next(iter(api.read("vhosts", vhost)["cluster_state"]))
    assert api.call("POST", "vhosts", vhost, "start", node).status == 204
    assert api.call("POST", "vhosts", vhost, "start", "rabbit@elsewhere").status == 404
    assert api.call("POST", "vhosts", "none", "start", node).status == 404


def test_several_users_go_or_none(api):
    names = [f"bulk.{uuid.uuid4().hex[:8]}" for _ in range(3)]
    for name in names[:2]:
        api.done("PUT", "users", name, body={"password": "p", "tags": ""})
    without = {user["name"] for user in api.read("users", "without-permissions")}
    assert set(names[:2]) <= without and api.user not in without
    answer = api.post("users", "bulk-delete", body={"users": names})
    assert (answer.status, names[2] in answer.error[1]) == (400, True)
    assert api.get("users", names[0]).status == 200
    assert api.post("users", "bulk-delete", body={"users": names[:2]}).status == 204
    assert [api.get("users", name).status for name in names] == [404] * 3
    assert api.post("users", "bulk-delete", body={}).error[1] == "[{key_missing,users}]"


def test_a_hash_is_one_to_log_in_by(api, user):
    other = user("management")
    hashed = api.read("auth", "hash_password", "pass/word")["ok"]
    assert api.put("users", other.user, body={"password_hash": hashed, "tags": "management"}).status == 204
    assert api.by(other.user, "pass/word").read("whoami")["name"] == other.user
    made = api.put("auth", "hash_password", body={"password": "pass/word"}).json
    assert made["password_hash"] != hashed, "each has a salt of its own"
    body = {"tags": "management"} | made
    assert api.put("users", other.user, body=body).status == 204
    assert api.by(other.user, "pass/word").read("whoami")["name"] == other.user
    assert other.get("auth", "hash_password", "x").status == 401


def test_a_queue_has_a_name(api, vhost):
    answer = api.put("queues", vhost, "\r", body={})
    assert (answer.status, "name" in answer.error[1]) == (400, True)
    assert "" not in [found["name"] for found in api.read("queues", vhost)]


def test_keys_that_make_no_difference_are_named(api, vhost, name):
    kept = name("policy")
    body = {"pattern": "^none$", "definition": {"max-length": 1, "queue-leader-locator": "balanced"}}
    answer = api.put("policies", vhost, kept, body=body)
    assert (answer.status, answer.headers["leveret-unheeded"]) == (201, "queue-leader-locator")
    assert api.read("policies", vhost, kept)["definition"] == body["definition"]
    answer = api.put("policies", vhost, kept, body=body | {"definition": {"max-length": 1}})
    assert (answer.status, answer.headers["leveret-unheeded"]) == (204, None)


def test_actions_of_mirrored_queues_have_nothing_to_do(api, vhost, queue):
    mine = queue()
    assert api.post("queues", vhost, mine, "actions", body={"action": "sync"}).status == 204
    assert api.post("queues", vhost, "none", "actions", body={"action": "sync"}).status == 404
    answer = api.post("queues", vhost, mine, "actions", body={"action": "explode"})
    assert (answer.status, "explode" in answer.error[1]) == (400, True)


def test_features_are_all_there(api):
    flags = api.read("feature-flags")
    assert flags and all(flag["state"] == "enabled" for flag in flags)
    assert api.put("feature-flags", flags[0]["name"], "enable", body={}).status == 204
    assert api.put("feature-flags", "all", "enable", body={}).status == 204
    assert api.put("feature-flags", "warp_drive", "enable", body={}).status == 400
    assert api.read("deprecated-features") == api.read("deprecated-features", "used") == []
    assert api.post("rebalance", "queues", body={}).status == 204


def name_of(connection):
    """The name of a connection in the API."""
    # The client's end comes first.
    (host, port), (there, at) = (end[:2] for end in ends(connection))
    return f"{host}:{port} -> {there}:{at}"


def ends(connection):
    """Both ends of a connection's socket."""
    sock = connection._impl._transport._sock
    return sock.getsockname(), sock.getpeername()


def closed_with(connection):
    """The reason that the broker gave for the end of a connection."""
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as told:
        for _ in range(100):
            connection.process_data_events(0.1)
    return told.value.reply_code, told.value.reply_text


def test_connections_are_closed_with_a_reason(opened, user, api, vhost):
    mine, other = user("management", vhost), user("management", vhost)
    first, second, third = (opened(vhost, mine.user, "secret") for _ in range(3))
    path = ("connections", name_of(first))
    assert other.delete(*path).status == 401
    assert mine.delete(*path, headers={"X-Reason": "time for bed"}).status == 204
    assert closed_with(first) == (320, "CONNECTION_FORCED - time for bed")
    assert api.delete("connections", name_of(second)).status == 204
    assert closed_with(second) == (320, "CONNECTION_FORCED - Closed via management plugin")
    assert other.delete("connections", "username", mine.user).status == 401
    assert api.delete("connections", "username", mine.user).status == 204
    assert closed_with(third)[0] == 320
    assert eventually(lambda: api.delete(*path).status == 404, "the connection is gone", 5)
    assert api.delete("connections", "username", "nobody").status == 204


def test_changes_are_logged_once_and_without_secrets():
    with Leveret({"storage.sync": "never"}) as leveret, api_of(leveret) as api:
        api.done("PUT", "users", "logged", body={"password": "hush-hush", "tags": "management"})
        hashed = api.read("auth", "hash_password", "hush-hush-2")["ok"]
        api.done("PUT", "users", "logged", body={"password_hash": hashed, "tags": "management"})
        api.put("auth", "hash_password", body={"password": "hush-hush-3"})
        api.done("DELETE", "users", "logged")

        def changes():
            return [record for record in leveret.records() if record.get("message") == "management"]

        assert eventually(lambda: len(changes()) >= 4, "the changes are logged", 5)
        assert [change["method"] for change in changes()].count("DELETE") == 1
        assert all(change["user"] == "guest" for change in changes())
        assert [change["resource"] for change in changes()][-1] == "/users/{user}"
        assert all(change["peer"] == "127.0.0.1" for change in changes())
        log = leveret.log_text()
        assert "hush-hush" not in log and hashed not in log and json.dumps(hashed) not in log


def test_the_log_tells_which_kind_of_thing_was_changed_and_who_read_the_hashes():
    with Leveret({"storage.sync": "never"}) as leveret, api_of(leveret) as api:
        api.done("PUT", "permissions", "/", "guest", body={"configure": ".*", "write": ".*", "read": ".*"})
        api.done("PUT", "topic-permissions", "/", "guest", body={"exchange": "amq.topic", "write": "", "read": ""})
        api.read("definitions")
        api.read("definitions", "/")
        api.read("users")

        def told():
            records = [record for record in leveret.records() if record.get("message") == "management"]
            return [(record["method"], record["resource"]) for record in records]

        expected = [
            ("PUT", "/permissions/{vhost}/{user}"),
            ("PUT", "/topic-permissions/{vhost}/{user}"),
            ("GET", "/definitions"),
            ("GET", "/definitions/{vhost}"),
        ]
        assert eventually(lambda: told() == expected, told, 5)
