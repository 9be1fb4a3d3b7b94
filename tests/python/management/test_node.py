"""The node, its health, and what is asked of the whole broker."""

import pytest

from management.test_topology import missing, refusal
from support.deadline import eventually
from support.management import api_of


def check(api, *path):
    """A health check."""
    return api.get("health", "checks", *path)


HEALTHY = [
    ("alarms",),
    ("local-alarms",),
    ("virtual-hosts",),
    ("node-is-quorum-critical",),
    ("certificate-expiration", "1", "days"),
    ("certificate-expiration", "2", "weeks"),
    ("certificate-expiration", "3", "months"),
    ("certificate-expiration", "1", "years"),
]


@pytest.mark.parametrize("path", HEALTHY)
def test_checks_of_a_healthy_node(api, path):
    answer = check(api, *path)
    assert (answer.status, answer.json["status"]) == (200, "ok")


def test_certificates_need_a_time(api):
    answer = check(api, "certificate-expiration", "1", "moons")
    refusal(answer, 400, "bad_request", "days, weeks, months, years")
    assert check(api, "certificate-expiration", "x", "days").status == 400


def test_listeners(server, api):
    port = server.broker.port
    assert check(api, "port-listener", port).json == {"status": "ok", "port": port}
    failed = check(api, "port-listener", 1)
    assert failed.status == 503
    assert (failed.json["status"], failed.json["missing"]) == ("failed", 1)
    assert {port, api.port} <= set(failed.json["ports"])
    assert check(api, "port-listener", "door").status in (400, 404)
    for name in ("amqp", "amqp091", "http"):
        assert check(api, "protocol-listener", name).json["status"] == "ok", name
    failed = check(api, "protocol-listener", "stomp")
    assert (failed.status, failed.json["status"], failed.json["missing"]) == (503, "failed", "stomp")
    assert {"amqp", "http"} <= set(failed.json["protocols"])


@pytest.mark.own_broker
@pytest.mark.parametrize(
    "path",
    [
        ("quorum-queues-without-elected-leaders", "all-vhosts"),
        ("metadata-store", "initialized"),
        ("metadata-store", "initialized", "with-data"),
    ],
)
def test_checks_of_version_4(api, path):
    answer = check(api, *path)
    assert (answer.status, answer.json["status"]) == (200, "ok")


@pytest.mark.own_broker
@pytest.mark.parametrize(
    "name", ["is-in-service", "below-node-connection-limit", "ready-to-serve-clients", "reached-target-cluster-size"]
)
def test_probes_need_no_credentials(api, name):
    answer = check(api.by(None), name)
    assert (answer.status, answer.json["status"]) == (200, "ok")


@pytest.mark.own_broker
@pytest.mark.parametrize("watermark", ["memory", "disk"])
def test_checks_of_a_node_with_an_alarm(on, watermark):
    settings = {"memory": {"memory.high_watermark": "1 MiB"}, "disk": {"disk.free_limit": "1000 TiB"}}[watermark]
    broker = on(settings)
    with api_of(broker) as api:
        eventually(lambda: check(api, "alarms").status == 503, "the alarm is told")
        answer = check(api, "local-alarms")
        assert (answer.status, answer.json["status"]) == (503, "failed")
        assert watermark in str(answer.json["alarms"])
        (node,) = api.read("nodes")
        assert node[{"memory": "mem_alarm", "disk": "disk_free_alarm"}[watermark]] is True


def test_the_aliveness_test_leaves_nothing_to_be_read(api, vhost):
    assert api.read("aliveness-test", vhost) == {"status": "ok"}
    assert api.read("aliveness-test", vhost) == {"status": "ok"}
    missing(api.get("aliveness-test", "no vhost"))


def test_the_node(server, api):
    (node,) = api.read("nodes")
    name = api.read("overview")["node"]
    assert (node["name"], node["running"], node["type"]) == (name, True, "disc")
    assert api.read("nodes", name)["name"] == name
    assert node["mem_used"] > 0 and node["mem_limit"] > 0 and node["uptime"] > 0
    assert node["fd_used"] > 0 and node["fd_total"] >= node["fd_used"]
    assert node["disk_free"] > 0
    assert (node["mem_alarm"], node["disk_free_alarm"], node["partitions"]) == (False, False, [])
    if not server.is_rabbitmq:
        missing(api.get("nodes", "nobody@nowhere"))
    assert api.read("nodes", name, "memory")["memory"]["total"]["rss"] > 0


def test_attempts_to_log_in_are_counted(api):
    node = api.read("overview")["node"]
    assert api.by("nobody", "x").get("whoami").status == 401
    (counted,) = [row for row in api.read("auth", "attempts", node) if row["protocol"] == "http"]
    assert counted["auth_attempts_failed"] >= 1
    assert counted["auth_attempts"] == counted["auth_attempts_failed"] + counted["auth_attempts_succeeded"]
    assert isinstance(api.read("auth", "attempts", node, "source"), list)
    assert api.delete("auth", "attempts", node).status == 204
    rows = [row for row in api.read("auth", "attempts", node) if row["protocol"] == "http"]
    assert sum(row["auth_attempts_failed"] for row in rows) == 0
    missing(api.get("auth", "attempts", "nobody@nowhere"))


def test_what_the_whole_broker_is_told(api):
    assert api.delete("reset").status == 204
    assert api.delete("reset", api.read("overview")["node"]).status == 204
    missing(api.delete("reset", "nobody@nowhere"))
    assert api.post("rebalance", "queues", body={}).status == 204


def test_the_version(api):
    overview = api.read("overview")
    major, minor, patch = overview["rabbitmq_version"].split(".")
    assert (int(major), int(minor)) >= (3, 8) and patch.isdigit()
    assert {"amqp", "http"} <= {listener["protocol"] for listener in overview["listeners"]}
    names = {kind["name"] for kind in overview["exchange_types"]}
    assert {"direct", "fanout", "topic", "headers"} <= names


@pytest.mark.own_broker
def test_features(api):
    flags = {flag["name"]: flag for flag in api.read("feature-flags")}
    assert all(flag["state"] == "enabled" for flag in flags.values())
    for path in (("deprecated-features",), ("deprecated-features", "used")):
        assert all({"name", "deprecation_phase"} <= set(feature) for feature in api.read(*path))
    assert api.read("auth", "hash_password", "secret")["ok"]
    assert api.by(None).read("auth")["oauth_enabled"] is False
