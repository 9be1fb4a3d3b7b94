"""The management client of amqpstorm."""

import amqpstorm.management
import pytest

from support.deadline import eventually


@pytest.fixture(scope="module")
def client(api):
    """The client as an administrator."""
    return amqpstorm.management.ManagementApi(api.url, api.user, api.password, timeout=10)


def test_the_broker(server, client):
    overview = client.overview()
    assert overview["node"] in [node["name"] for node in client.nodes()]
    assert client.node(overview["node"])["name"] == overview["node"]
    assert client.whoami()["name"] == server.api.user
    assert client.cluster_name()["name"] == overview["cluster_name"]
    assert client.aliveness_test("/") == {"status": "ok"}
    assert client.healthchecks.get() == {"status": "ok"}


def test_queues_and_messages(client, vhost, name):
    queue = name()
    client.queue.declare(queue, vhost, durable=True, arguments={"x-max-length": 10})
    client.queue.declare(queue, vhost, passive=True)
    assert client.queue.get(queue, vhost)["arguments"] == {"x-max-length": 10}
    properties = {"content_type": "text/plain", "headers": {"key": "value", "number": 7}}
    for number in range(3):
        assert client.basic.publish(f"m{number}", queue, virtual_host=vhost, properties=properties) == {"routed": True}
    seen = client.basic.get(queue, vhost, requeue=True, count=2)
    assert [(message.body, message.properties["headers"]) for message in seen] == [
        ("m0", properties["headers"]),
        ("m1", properties["headers"]),
    ]
    (taken,) = client.basic.get(queue, vhost, to_dict=True)
    assert (taken["payload"], taken["payload_bytes"]) == ("m0", 2)
    client.queue.purge(queue, vhost)
    assert client.basic.get(queue, vhost) == []
    client.queue.delete(queue, vhost)
    with pytest.raises(amqpstorm.management.ApiError, match="NOT-FOUND|not found|Not Found"):
        client.queue.get(queue, vhost)


def test_pages_are_put_together(client, vhost, name):
    names = {name("page") for _ in range(7)}
    for queue in names:
        client.queue.declare(queue, vhost)
    found = client.queue.list(vhost, name="^page", use_regex=True, page_size=3)
    assert {queue["name"] for queue in found} == names
    assert client.queue.list(vhost, name="nothing") == []
    assert names <= {queue["name"] for queue in client.queue.list(show_all=True)}


def test_exchanges_and_bindings(client, vhost, name):
    exchange, target, queue = name(), name(), name()
    client.exchange.declare(exchange, "topic", vhost, durable=True)
    client.exchange.declare(target, "fanout", vhost, auto_delete=False)
    client.queue.declare(queue, vhost)
    assert client.exchange.get(exchange, vhost)["type"] == "topic"
    assert {exchange, target, "amq.direct"} <= {found["name"] for found in client.exchange.list(vhost)}
    client.queue.bind(queue, exchange, "a.*", vhost, arguments={})
    client.exchange.bind(target, exchange, "b.*", vhost)
    assert {(one["source"], one["routing_key"]) for one in client.queue.bindings(queue, vhost)} == {("", queue), (exchange, "a.*")}
    assert {one["destination"] for one in client.exchange.bindings(exchange, vhost)} == {queue, target}
    client.queue.unbind(queue, exchange, "a.*", vhost)
    client.exchange.unbind(target, exchange, "b.*", vhost)
    assert client.exchange.bindings(exchange, vhost) == []
    client.exchange.delete(exchange, vhost)
    with pytest.raises(amqpstorm.management.ApiError) as missing:
        client.exchange.declare(exchange, virtual_host=vhost, passive=True)
    assert missing.value.error_code == 404


def test_users_and_vhosts(client, name):
    user, vhost = name("storm"), name("storm/vhost")
    client.virtual_host.create(vhost)
    client.user.create(user, "secret", tags="monitoring")
    client.user.set_permission(user, vhost, "^a", "^b", "^c")
    expected = {"user": user, "vhost": vhost, "configure": "^a", "write": "^b", "read": "^c"}
    assert client.user.get_permission(user, vhost) == expected
    assert client.user.get_permissions(user) == [expected]
    assert expected in client.virtual_host.get_permissions(vhost)
    assert client.user.get(user)["tags"] == ["monitoring"]
    assert vhost in [found["name"] for found in client.virtual_host.list()]
    client.user.delete_permission(user, vhost)
    client.user.delete([user])
    client.virtual_host.delete(vhost)
    with pytest.raises(amqpstorm.management.ApiError):
        client.virtual_host.get(vhost)


def test_connections_are_listed_and_closed(client, opened, vhost, name):
    given = name("storm")
    connection = opened(vhost, client_properties={"connection_name": given})
    channel = connection.channel()

    def known():
        connection.process_data_events(0)
        return [one["name"] for one in client.connection.list() if one.get("user_provided_name") == given]

    (found,) = eventually(known, "the connection is listed")
    assert client.connection.get(found)["vhost"] == vhost

    def channels():
        connection.process_data_events(0)
        return [one for one in client.channel.list() if one["name"].startswith(found)]

    (one,) = eventually(channels, "the channel is listed")
    assert client.channel.get(one["name"])["number"] == channel.channel_number
    client.connection.close(found, reason="a storm")
    with pytest.raises(Exception, match="a storm"):
        for _ in range(100):
            connection.process_data_events(0.1)


def test_a_wrong_password_is_told(api):
    wrong = amqpstorm.management.ManagementApi(api.url, api.user, "wrong", timeout=10)
    with pytest.raises(amqpstorm.management.ApiError) as refused:
        wrong.overview()
    assert refused.value.error_code == 401
