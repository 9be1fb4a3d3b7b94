"""Who sees what: monitoring users everything, others their own connections and what is in vhosts of theirs."""

import pytest

from management.test_view_counts import named

pytestmark = pytest.mark.own_broker


@pytest.fixture
def other(api, name):
    """A second vhost, in which the users of these tests have no permissions."""
    made = name("other")
    api.done("PUT", "vhosts", made, body={})
    yield made
    api.done("DELETE", "vhosts", made)


def test_a_user_sees_its_own(api, vhost, other, user, opened, name):
    one, two = user("management", vhost), user("management", vhost)
    connections = {who.user: opened(vhost, who.user, "secret") for who in (one, two)}
    made = name("seen")
    for who, connection in connections.items():
        channel = connection.channel()
        channel.queue_declare(f"{made}.{who}", durable=True)
        channel.basic_consume(f"{made}.{who}", lambda *_: None)
    api.done("PUT", "queues", other, made, body={})
    assert {row["user"] for row in one.read("connections")} == {one.user}
    assert {row["user"] for row in one.read("channels")} == {one.user}
    assert {row["channel_details"]["user"] for row in one.read("consumers")} == {one.user}
    assert {row["user"] for row in one.read("vhosts", vhost, "connections")} == {one.user}
    theirs = named(connections[two.user], api, vhost)
    assert one.get("connections", theirs).status == one.get("channels", f"{theirs} (1)").status == 401
    assert two.get("connections", theirs).status == two.get("channels", f"{theirs} (1)").status == 200
    assert one.read("connections", "username", two.user) == []
    assert {row["vhost"] for row in one.read("queues")} == {vhost}
    assert {f"{made}.{one.user}", f"{made}.{two.user}"} <= {row["name"] for row in one.read("queues")}
    assert {row["vhost"] for row in one.read("exchanges")} == {vhost}
    assert [row["name"] for row in one.read("vhosts")] == [vhost]
    for path in (("queues", other), ("exchanges", other), ("vhosts", other, "channels"), ("consumers", other)):
        assert one.get(*path).status == 401, path


def test_a_monitor_sees_everything(api, vhost, other, user, opened, name):
    one, monitor = user("management", vhost), user("monitoring")
    opened(vhost, one.user, "secret").channel()
    api.done("PUT", "queues", other, "q", body={})
    assert one.user in {row["user"] for row in monitor.read("connections")}
    assert one.user in {row["user"] for row in monitor.read("channels")}
    assert {vhost, other} <= {row["name"] for row in monitor.read("vhosts")}
    assert [row["name"] for row in monitor.read("queues", other)] == ["q"]
    rows = monitor.get("queues", headers={"x-vhost": other}).json
    assert {row["vhost"] for row in rows} == {other}


NODE = [("nodes",), ("nodes", "{node}"), ("nodes", "{node}", "memory"), ("nodes", "{node}", "memory", "relative")]


def test_the_node_is_for_monitors(api, vhost, user):
    node = api.read("overview")["node"]
    one, monitor = user("management", vhost), user("monitoring")
    for path in NODE:
        path = [node if part == "{node}" else part for part in path]
        assert one.get(*path).error == ("not_authorised", "Not monitor user"), path
        assert monitor.get(*path).status == 200, path
    assert api.read("nodes", node, memory="true")["memory"]["total"]["rss"] > 0
    overview = one.read("overview")
    assert "listeners" not in overview and "node" not in overview and "object_totals" in overview
    assert one.get("config", "effective").status == monitor.get("config", "effective").status == 401


def test_an_overview_counts_what_its_reader_sees(api, vhost, other, user, opened):
    one = user("management", other)
    opened(vhost).channel().queue_declare("", exclusive=True)
    totals = one.read("overview")["object_totals"]
    assert (totals["connections"], totals["channels"], totals["queues"]) == (0, 0, 0)
    assert totals["exchanges"] == 7


def test_the_configuration_has_no_secrets(api):
    options = api.read("config", "effective")
    assert options["stats"]["interval"] == "200ms"
    assert options["auth"]["default_pass"] != "guest"


def test_what_needs_no_login(api):
    nobody = api.by(None)
    assert nobody.read("version")["rabbitmq_version"] == api.read("overview")["rabbitmq_version"]
    assert nobody.read("auth") == {"oauth_enabled": False}
    assert nobody.get("overview").status == 401
