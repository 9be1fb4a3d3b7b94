"""Connections, channels and consumers as the API shows and closes them."""

import uuid

import pika.exceptions
import pytest

from management.test_topology import missing
from support.deadline import eventually


@pytest.fixture
def connected(opened, api, vhost):
    """A connection with a name of its own, and what the API calls it."""

    def connect(**options):
        given = uuid.uuid4().hex[:8]
        connection = opened(vhost, client_properties={"connection_name": given}, **options)

        def known():
            connection.process_data_events(0)
            found = [one for one in api.read("vhosts", vhost, "connections") if one.get("user_provided_name") == given]
            # RabbitMQ learns of what it does later.
            return found[0]["name"] if found and "state" in found[0] and "recv_oct" in found[0] else None

        return connection, eventually(known, "the connection is listed")

    return connect


def test_a_connection_is_listed_everywhere(connected, api, vhost):
    connection, name = connected()
    found = api.read("connections", name)
    assert (found["name"], found["vhost"], found["user"]) == (name, vhost, api.user)
    assert name == f"{found['peer_host']}:{found['peer_port']} -> {found['host']}:{found['port']}"
    assert found["client_properties"]["product"] == "Pika Python Client Library"
    assert (found["protocol"], found["auth_mechanism"], found["ssl"], found["type"]) == ("AMQP 0-9-1", "PLAIN", False, "network")
    assert found["state"] == "running" and found["connected_at"] > 1_700_000_000_000
    for listed in (("connections",), ("vhosts", vhost, "connections"), ("connections", "username", api.user)):
        assert name in [one["name"] for one in api.read(*listed)]
    missing(api.get("connections", "nothing"))
    assert api.read("connections", "username", "nobody") == []


def test_a_connection_is_closed_with_the_reason(connected, api):
    connection, name = connected()
    answer = api.delete("connections", name, headers={"X-Reason": "because of a test"})
    assert (answer.status, answer.body) == (204, b"")
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
        for _ in range(100):
            connection.process_data_events(0.1)
    assert closed.value.reply_code == 320
    assert "because of a test" in closed.value.reply_text
    eventually(lambda: api.get("connections", name).status == 404, "the connection is gone")
    assert name not in [one["name"] for one in api.read("connections")]


def test_without_a_reason_it_is_the_plugins(connected, api):
    connection, name = connected()
    api.done("DELETE", "connections", name)
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="CONNECTION_FORCED"):
        for _ in range(100):
            connection.process_data_events(0.1)


def test_all_connections_of_a_user_are_closed(user, opened, api, vhost):
    one = user("", vhost)
    connections = [opened(vhost, one.user, "secret") for _ in range(2)]

    def listed():
        for connection in connections:
            connection.process_data_events(0)
        return len(api.read("connections", "username", one.user)) == 2

    eventually(listed, "both are listed")
    assert api.delete("connections", "username", one.user).status == 204
    for connection in connections:
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker):
            for _ in range(100):
                connection.process_data_events(0.1)
    eventually(lambda: api.read("connections", "username", one.user) == [], "none is listed")
    assert api.delete("connections", "username", one.user).status == 204


def test_a_channel_says_what_it_does(connected, api, vhost, queue):
    connection, name = connected()
    made = queue()
    first, second = connection.channel(), connection.channel()
    second.confirm_delivery()
    second.basic_qos(prefetch_count=7)
    second.basic_consume(made, lambda *_: None, consumer_tag="mine", arguments={"x-priority": 3})
    for _ in range(9):
        second.basic_publish("", made, b"x")
    first.tx_select()
    first.basic_publish("", made, b"x")

    def seen():
        connection.process_data_events(0)
        answer = api.get("channels", f"{name} (2)")
        found = answer.json if answer.status == 200 else {}
        known = found.get("message_stats") and found.get("consumer_details")
        return found if found.get("messages_unacknowledged") == 7 and known else None

    found = eventually(seen, "the channel's deliveries are seen")
    expected = {"number": 2, "user": api.user, "vhost": vhost, "confirm": True, "transactional": False, "prefetch_count": 7}
    assert {key: found[key] for key in expected} == expected
    assert (found["consumer_count"], found["messages_unconfirmed"], found["state"]) == (1, 0, "running")
    assert found["connection_details"]["name"] == name
    assert (found["message_stats"]["publish"], found["message_stats"]["confirm"]) == (9, 9)
    (consumer,) = found["consumer_details"]
    assert (consumer["consumer_tag"], consumer["queue"]) == ("mine", {"name": made, "vhost": vhost})
    tx = api.read("channels", f"{name} (1)")
    assert (tx["transactional"], tx["messages_uncommitted"]) == (True, 1)
    for listed in (("channels",), ("vhosts", vhost, "channels"), ("connections", name, "channels")):
        numbers = {one["number"] for one in api.read(*listed) if one["connection_details"]["name"] == name}
        assert numbers == {1, 2}
    assert api.read("connections", name)["channels"] == 2
    missing(api.get("channels", f"{name} (3)"))
    missing(api.get("channels", "nothing"))


def test_consumers(connected, api, vhost, queue):
    connection, name = connected()
    made = queue(x_single_active_consumer=True)
    channel = connection.channel()
    channel.basic_qos(prefetch_count=4)
    for tag in ("first", "second"):
        channel.basic_consume(made, lambda *_: None, consumer_tag=tag, auto_ack=tag == "second")

    def both():
        connection.process_data_events(0)
        found = {one["consumer_tag"]: one for one in api.read("consumers", vhost) if one["queue"]["name"] == made}
        # RabbitMQ learns of channels later.
        return found if len(found) == 2 and all(one["channel_details"] for one in found.values()) else None

    found = eventually(both, "both consumers are listed")
    first, second = found["first"], found["second"]
    assert (first["ack_required"], first["prefetch_count"], first["exclusive"]) == (True, 4, False)
    assert second["ack_required"] is False
    assert (first["active"], first["activity_status"]) == (True, "single_active")
    assert (second["active"], second["activity_status"]) == (False, "waiting")
    assert first["channel_details"]["connection_name"] == name
    assert {"first", "second"} <= {one["consumer_tag"] for one in api.read("consumers")}
    details = eventually(lambda: api.read("queues", vhost, made)["consumer_details"], "the queue knows its consumers")
    assert {one["consumer_tag"] for one in details} == {"first", "second"}


def test_numbers_of_a_queue(opened, api, vhost, queue):
    made = queue()
    channel = opened(vhost).channel()
    channel.confirm_delivery()
    for _ in range(5):
        channel.basic_publish("", made, b"12345")
    for _ in range(2):
        channel.basic_get(made)
    method, _, _ = channel.basic_get(made)
    channel.basic_ack(method.delivery_tag)

    def counted():
        channel.connection.process_data_events(0)
        found = api.read("queues", vhost, made)
        stats = found.get("message_stats", {})
        known = found.get("messages") == 4 and found.get("message_bytes") == 20
        return found if known and stats.get("ack") == 1 and stats.get("get") == 3 else None

    found = eventually(counted, lambda: f"counts are seen: {api.read('queues', vhost, made)}")
    assert (found["messages"], found["messages_ready"], found["messages_unacknowledged"]) == (4, 2, 2)
    assert (found["message_bytes"], found["message_bytes_ready"], found["message_bytes_unacknowledged"]) == (20, 10, 10)
    assert (found["message_stats"]["publish"], found["message_stats"]["deliver_get"]) == (5, 3)
    assert (found["consumers"], found["durable"], found["type"]) == (0, True, "classic")
    totals = api.read("overview")
    assert totals["queue_totals"]["messages"] >= 4
    assert totals["object_totals"]["queues"] >= 1 and totals["object_totals"]["connections"] >= 1
