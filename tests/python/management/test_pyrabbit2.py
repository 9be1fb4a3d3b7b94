"""The client pyrabbit2."""

import pyrabbit2
import pyrabbit2.api
import pytest
from pyrabbit2.http import HTTPError

from support.deadline import eventually


@pytest.fixture(scope="module")
def client(api):
    """The client as an administrator."""
    return pyrabbit2.Client(f"{api.host}:{api.port}", api.user, api.password, timeout=10)


def test_the_broker(server, client):
    assert client.is_alive()
    assert client.get_whoami()["name"] == server.api.user
    assert client.get_overview()["node"] in [node["name"] for node in client.get_nodes()]
    assert "/" in client.get_vhost_names()
    assert client.get_cluster_name()["name"] == client.get_overview()["cluster_name"]
    assert isinstance(client.get_extensions(), list)
    with pytest.raises(pyrabbit2.api.APIError):
        client.is_alive("nothing")


def test_queues_and_messages(client, vhost, name):
    queue = name()
    client.create_queue(vhost, queue, durable=True, auto_delete=False, arguments={"x-max-length": 9})
    assert client.get_queue(vhost, queue)["durable"] is True
    assert client.publish(vhost, "amq.default", queue, "hello", properties={"priority": 1})
    assert client.publish(vhost, "amq.default", "nothing", "hello") is False
    eventually(lambda: client.get_queue(vhost, queue).get("messages") == 1, "the depth is known")
    assert client.get_queue_depth(vhost, queue) == 1
    (message,) = client.get_messages(vhost, queue, requeue=True)
    assert (message["payload"], message["properties"]) == ("hello", {"priority": 1})
    client.purge_queue(vhost, queue)
    assert client.get_messages(vhost, queue) == []
    assert queue in [found["name"] for found in client.get_queues(vhost)]
    client.delete_queue(vhost, queue)
    with pytest.raises(HTTPError) as missing:
        client.get_queue(vhost, queue)
    assert missing.value.status == 404


def test_exchanges_and_bindings(client, vhost, name):
    exchange, queue = name(), name()
    assert client.create_exchange(vhost, exchange, "direct")
    client.create_queue(vhost, queue)
    assert client.get_exchange(vhost, exchange)["type"] == "direct"
    assert exchange in [found["name"] for found in client.get_exchanges(vhost)]
    client.create_binding(vhost, exchange, queue, "key")
    bindings = [(one["source"], one["properties_key"]) for one in client.get_queue_bindings(vhost, queue)]
    assert set(bindings) == {("", queue), (exchange, "key")}
    assert {exchange} <= {one["source"] for one in client.get_bindings()}
    client.delete_binding(vhost, exchange, queue, "key")
    assert len(client.get_queue_bindings(vhost, queue)) == 1
    assert client.delete_exchange(vhost, exchange)


def test_users_vhosts_and_policies(client, name):
    user, vhost = name("rabbit2"), name("rabbit2")
    client.create_vhost(vhost)
    client.create_user(user, "secret", tags="management")
    client.set_vhost_permissions(vhost, user, "^a", "^b", "^c")
    expected = {"user": user, "vhost": vhost, "configure": "^a", "write": "^c", "read": "^b"}
    assert client.get_permission(vhost, user) == expected
    assert expected in client.get_permissions() and expected in client.get_vhost_permissions(vhost)
    assert client.get_user_permissions(user) == [expected]
    assert user in [found["name"] for found in client.get_users()]
    client.create_policy(vhost, "mine", pattern="^x", definition={"max-length": 5}, **{"apply-to": "queues"})
    assert client.get_policy(vhost, "mine")["definition"] == {"max-length": 5}
    assert "mine" in [policy["name"] for policy in client.get_all_policies()]
    client.delete_policy(vhost, "mine")
    client.delete_permission(vhost, user)
    client.delete_user(user)
    client.delete_vhost(vhost)
    assert vhost not in client.get_vhost_names()


def test_connections_and_definitions(client, opened, vhost, name):
    given = name("rabbit2")
    connection = opened(vhost, client_properties={"connection_name": given})

    def known():
        connection.process_data_events(0)
        return [one["name"] for one in client.get_connections() if one.get("user_provided_name") == given]

    (found,) = eventually(known, "the connection is listed")
    assert client.get_connection(found)["vhost"] == vhost
    client.delete_connection(found)
    assert {"users", "vhosts", "permissions", "queues", "exchanges", "bindings"} <= set(client.get_definitions())


def test_who_may_not_is_told(user, api):
    stranger = user("")
    client = pyrabbit2.Client(f"{api.host}:{api.port}", stranger.user, "secret", timeout=10)
    with pytest.raises(pyrabbit2.api.PermissionError):
        client.get_overview()
