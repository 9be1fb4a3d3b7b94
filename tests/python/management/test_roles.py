"""Every endpoint and method by every kind of visitor."""

import json
import uuid
from contextlib import ExitStack

import pytest

from management.conftest import FULL
from management.roles import CASES, POLICY_BODY, VISITORS, expected
from management.test_topology import missing, refusal
from support.deadline import eventually

# They share users.
pytestmark = pytest.mark.xdist_group("roles")


@pytest.fixture(scope="module")
def visitors(api, vhost):
    """The API as each of them sees it, in a vhost that all but strangers may use, with something in it."""
    api.done("PUT", "users", "roles-user", body={"password": "p", "tags": ""})
    api.done("PUT", "permissions", vhost, "roles-user", body=FULL)
    api.done("PUT", "topic-permissions", vhost, "roles-user", body={"exchange": "x", "write": "", "read": ""})
    api.done("PUT", "queues", vhost, "queue", body={"durable": True})
    api.done("PUT", "policies", vhost, "roles", body=POLICY_BODY)
    api.done("PUT", "operator-policies", vhost, "roles", body=POLICY_BODY)
    api.done("PUT", "global-parameters", "roles", body={"value": 1})
    api.done("PUT", "parameters", "vhost-limits", vhost, "limits", body={"value": {"max-queues": 100}})
    before = api.read("cluster-name")
    with ExitStack() as stack:
        found = {}
        for visitor in VISITORS[:5]:
            name = f"roles.{uuid.uuid4().hex[:8]}"
            api.done("PUT", "users", name, body={"password": "p", "tags": "" if visitor == "no tag" else visitor})
            stack.callback(api.delete, "users", name)
            api.done("PUT", "permissions", vhost, name, body=FULL)
            found[visitor] = stack.enter_context(api.by(name, "p"))
        found["wrong password"] = stack.enter_context(api.by(api.user, "wrong"))
        found["no credentials"] = stack.enter_context(api.by(None))
        yield found
    api.done("PUT", "cluster-name", body=before)
    api.done("DELETE", "global-parameters", "roles")
    api.done("DELETE", "users", "roles-user")


@pytest.fixture(scope="module")
def names(server, api, vhost):
    """What stands for the placeholders."""
    node = api.read("overview")["node"]
    quoted = vhost.replace("/", "%2F")
    return {"v": quoted, "node": node, "port": server.broker.port, "connection": "127.0.0.1:1%20-%3E%20127.0.0.1:2"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.path}")
def test_who_may(server, visitors, names, case):
    if case.since_4 and server.is_rabbitmq:
        pytest.skip("RabbitMQ 3.10 does not have it")
    path, _, query = case.path.format_map(names).partition("?")
    told = {}
    for visitor, api in visitors.items():
        body = None if case.body is None else json.dumps(case.body).encode()
        answer = api.send(case.method, f"/api/{path}?{query}", body, {"Content-Type": "application/json"})
        told[visitor] = answer.status
        if answer.status == 401 and visitor in VISITORS[1:5]:
            assert answer.json["error"] == "not_authorised", answer
    wrong = {visitor: status for visitor, status in told.items() if status != expected(case, visitor)}
    assert not wrong, f"{wrong} instead of {[expected(case, visitor) for visitor in wrong]}"


@pytest.fixture(scope="module")
def elsewhere(api):
    """A vhost that nobody but its maker may use, with a queue in it."""
    name = f"elsewhere.{uuid.uuid4().hex[:8]}"
    api.done("PUT", "vhosts", name, body={})
    api.done("PUT", "permissions", name, api.user, body=FULL)
    api.done("PUT", "queues", name, "hidden", body={})
    yield name
    api.done("DELETE", "vhosts", name)


ELSEWHERE = [
    ("GET", ("queues", "{}"), None),
    ("GET", ("queues", "{}", "hidden"), None),
    ("GET", ("exchanges", "{}"), None),
    ("GET", ("bindings", "{}"), None),
    ("GET", ("policies", "{}"), None),
    ("GET", ("vhosts", "{}", "connections"), None),
    ("GET", ("aliveness-test", "{}"), None),
    ("PUT", ("queues", "{}", "hidden"), {}),
    ("DELETE", ("queues", "{}", "hidden"), None),
    ("DELETE", ("queues", "{}", "hidden", "contents"), None),
    ("PUT", ("policies", "{}", "mine"), POLICY_BODY),
]


@pytest.mark.parametrize(("method", "path", "body"), ELSEWHERE)
@pytest.mark.parametrize("visitor", ["policymaker", "management"])
def test_other_vhosts_are_closed(visitors, elsewhere, visitor, method, path, body):
    answer = visitors[visitor].call(method, *(part.format(elsewhere) for part in path), body=body)
    refusal(answer, 401, "not_authorised")


LISTS = ["queues", "exchanges", "bindings", "policies", "consumers", "connections", "channels", "vhosts"]


@pytest.mark.parametrize("path", LISTS)
def test_lists_hold_what_one_may_see(server, visitors, elsewhere, vhost, path):
    seen = {}
    for visitor in VISITORS[:4]:
        key = "name" if path == "vhosts" else "vhost"
        seen[visitor] = {item[key] for item in visitors[visitor].read(path)}
    if server.is_rabbitmq and path == "exchanges":
        pytest.skip("version 3.10 shows them all")
    for visitor in ("policymaker", "management"):
        assert seen[visitor] <= {vhost}
    if path in ("queues", "exchanges", "vhosts"):
        assert seen["management"] == {vhost}
    if path in ("exchanges", "vhosts"):
        assert {vhost, elsewhere} <= seen["monitoring"] and {vhost, elsewhere} <= seen["administrator"]


def test_who_monitors_looks_but_does_not_touch(visitors, elsewhere):
    monitor = visitors["monitoring"]
    assert monitor.get("queues", elsewhere, "hidden").status in (200, 401)
    for method, *path in (("PUT", "queues", elsewhere, "new"), ("DELETE", "queues", elsewhere, "hidden")):
        refusal(monitor.call(method, *path, body={}), 401, "not_authorised")
    assert visitors["administrator"].get("queues", elsewhere, "hidden").status in (200, 401)


def test_ones_own_connections_and_no_others(server, visitors, opened, vhost, api):
    manager = visitors["management"]
    mine = opened(vhost, manager.user, "p", client_properties={"connection_name": "own"})
    other = opened(vhost, client_properties={"connection_name": "other"})

    def names():
        for connection in (mine, other):
            connection.process_data_events(0)
        found = {one.get("user_provided_name"): one["name"] for one in api.read("vhosts", vhost, "connections")}
        return found if {"own", "other"} <= set(found) else None

    found = eventually(names, "both are listed")
    assert [one["user"] for one in manager.read("connections")] == [manager.user]
    assert {one["user"] for one in visitors["monitoring"].read("connections")} >= {manager.user, api.user}
    assert manager.get("connections", found["own"]).status == 200
    refusal(manager.get("connections", found["other"]), 401, "not_authorised")
    refusal(manager.delete("connections", found["other"]), 401, "not_authorised")
    assert manager.delete("connections", found["own"]).status == 204
    if not server.is_rabbitmq:
        missing(manager.delete("connections", "nothing"))
