"""Policies, operator policies, and parameters of vhosts and of all."""

import pytest

from management.test_topology import missing, refusal

KINDS = ["policies", "operator-policies"]
POLICY = {"pattern": "^limited", "definition": {"max-length": 5}}


@pytest.mark.parametrize("kind", KINDS)
class TestBoth:
    """What holds for policies and for those of the operator."""

    def test_it_comes_changes_and_goes(self, api, vhost, name, kind):
        path = (kind, vhost, name("policy"))
        missing(api.get(*path))
        assert api.put(*path, body=POLICY).status == 201
        row = {"vhost": vhost, "name": path[2], "apply-to": "all", "priority": 0} | POLICY
        assert api.read(*path) == row
        changed = {"pattern": "a+", "definition": {"max-length": 7}, "priority": 3, "apply-to": "queues"}
        assert api.put(*path, body=changed | {"vhost": "other", "name": "other"}).status == 204
        row = {"vhost": vhost, "name": path[2]} | changed
        assert api.read(*path) == row
        assert row in api.read(kind) and row in api.read(kind, vhost)
        assert (api.delete(*path).status, api.delete(*path).status) == (204, 404)
        assert row not in api.read(kind)

    def test_it_holds(self, api, vhost, name, kind):
        queue, policy = name("limited"), name("policy")
        api.done("PUT", "queues", vhost, queue, body={})
        api.done("PUT", kind, vhost, policy, body=POLICY)
        key = {"policies": "policy", "operator-policies": "operator_policy"}[kind]
        found = api.read("queues", vhost, queue)
        assert (found.get(key), found.get("effective_policy_definition")) in ((policy, {"max-length": 5}), (None, None))
        for _ in range(7):
            body = {"routing_key": queue, "properties": {}, "payload": "x", "payload_encoding": "string"}
            api.done("POST", "exchanges", vhost, "amq.default", "publish", body=body)
        got = api.post("queues", vhost, queue, "get", body={"count": 9, "ackmode": "ack_requeue_true", "encoding": "auto"})
        assert len(got.json) == 5
        api.done("DELETE", kind, vhost, policy)
        api.done("DELETE", "queues", vhost, queue)

    WRONG = {
        "no pattern": ({"definition": {"max-length": 1}}, "pattern"),
        "no definition": ({"pattern": "x"}, "definition"),
        "a bad pattern": ({"pattern": "(", "definition": {"max-length": 1}}, ""),
        "nothing in it": ({"pattern": "x", "definition": {}}, ""),
        "an unknown key": ({"pattern": "x", "definition": {"max-doors": 1}}, "max-doors"),
        "a word for a number": ({"pattern": "x", "definition": {"max-length": "many"}}, "many"),
        "a priority that is a word": (POLICY | {"priority": "high"}, "priority"),
        "a priority in quotes": (POLICY | {"priority": "3"}, "priority"),
        "for nothing there is": (POLICY | {"apply-to": "things"}, "things"),
    }

    @pytest.mark.parametrize("fault", WRONG)
    def test_wrong_ones(self, api, vhost, name, kind, fault):
        body, word = self.WRONG[fault]
        path = (kind, vhost, name("policy"))
        answer = api.put(*path, body=body)
        assert answer.status == 400, answer
        assert word in str(answer.json["reason"]), answer
        missing(api.get(*path))

    def test_in_a_vhost_that_is_not_there(self, api, kind):
        missing(api.put(kind, "no vhost", "p", body=POLICY))
        missing(api.get(kind, "no vhost"))
        missing(api.get(kind, "no vhost", "p"))
        missing(api.delete(kind, "no vhost", "p"))


def test_operators_may_not_set_everything(api, vhost, name):
    body = {"pattern": "x", "definition": {"dead-letter-exchange": "x"}}
    assert api.put("policies", vhost, name(), body=body).status == 201
    assert api.put("operator-policies", vhost, name(), body=body).status == 400


def test_limits_are_parameters_of_a_vhost(api, vhost):
    path = ("parameters", "vhost-limits", vhost, "limits")
    missing(api.get(*path))
    assert api.put(*path, body={"value": {"max-queues": 500}}).status == 201
    assert api.put(*path, body={"value": {"max-queues": 600}, "name": "limits", "vhost": vhost}).status == 204
    row = {"component": "vhost-limits", "vhost": vhost, "name": "limits", "value": {"max-queues": 600}}
    assert api.read(*path) == row
    for listed in (("parameters",), path[:2], path[:3]):
        assert row in api.read(*listed)
    assert api.read("vhost-limits", vhost) == [{"vhost": vhost, "value": {"max-queues": 600}}]
    refusal(api.put(*path, body={}), 400, "bad_request", "value")
    assert (api.delete(*path).status, api.delete(*path).status) == (204, 404)


def test_parameters_nobody_knows(api, vhost):
    assert api.put("parameters", "doors", vhost, "n", body={"value": 1}).status == 400
    assert api.read("parameters", "doors") == []
    missing(api.get("parameters", "vhost-limits", "no vhost"))


@pytest.mark.own_broker
@pytest.mark.parametrize("component", ["shovel", "federation-upstream", "federation-upstream-set"])
def test_a_parameter_that_has_no_effect_is_told(api, vhost, component):
    path = ("parameters", component, vhost, "n")
    for status in (201, 204):
        answer = api.put(*path, body={"value": {"uri": "amqp://"}})
        assert (answer.status, answer.headers["leveret-unheeded"]) == (status, component)
    answer = api.put("parameters", "vhost-limits", vhost, "limits", body={"value": {"max-queues": 100}})
    assert (answer.status, answer.headers["leveret-unheeded"]) == (201, None)
    api.done("DELETE", "parameters", "vhost-limits", vhost, "limits")
    api.done("DELETE", *path)


def test_a_password_stays_when_its_address_is_put_back(server, api, vhost):
    if server.is_rabbitmq:
        pytest.skip("RabbitMQ shows the password")
    path = ("parameters", "federation-upstream", vhost, "up")

    def stored():
        return api.read("definitions", vhost)["parameters"]

    secret = {"uri": ["amqp://a:geheim@b", "amqp://c"], "expires": 1}
    api.done("PUT", *path, body={"value": secret})
    shown = api.read(*path)["value"]
    assert shown == {"uri": ["amqp://a:***@b", "amqp://c"], "expires": 1}
    assert api.put(*path, body={"value": shown | {"expires": 2}}).status == 204
    assert [row["value"] for row in stored()] == [secret | {"expires": 2}]
    for uri in ("amqp://a:***@elsewhere", "amqp://x:***@b"):
        refusal(api.put(*path, body={"value": {"uri": uri}}), 400, "bad_request")
    refusal(api.put(*path[:-1], "new", body={"value": {"uri": "amqp://a:***@b"}}), 400, "bad_request")
    assert [row["value"] for row in stored()] == [secret | {"expires": 2}]
    api.done("DELETE", *path)


def test_global_parameters(api):
    path = ("global-parameters", "management-test")
    missing(api.get(*path))
    assert api.put(*path, body={"name": path[1], "value": {"a": [1, None]}}).status == 201
    assert api.put(*path, body={"name": "other", "value": 5}).status == 204
    assert api.read(*path) == {"name": path[1], "value": 5}
    assert {"name": path[1], "value": 5} in api.read("global-parameters")
    refusal(api.put(*path, body={"name": path[1]}), 400, "bad_request", "value")
    assert (api.delete(*path).status, api.delete(*path).status) == (204, 404)


def test_the_name_of_the_cluster(api):
    before = api.read("cluster-name")
    assert api.put("cluster-name", body={"name": "hares"}).status == 204
    assert api.read("cluster-name") == {"name": "hares"}
    assert api.read("overview")["cluster_name"] == "hares"
    refusal(api.put("cluster-name", body={}), 400, "bad_request", "name")
    api.done("PUT", "cluster-name", body=before)
