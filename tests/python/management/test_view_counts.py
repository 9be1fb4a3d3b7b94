"""What clients do is counted where RabbitMQ counts it: queue, channel, exchange, vhost and the whole broker."""

import time

import pika
import pytest

from support.deadline import eventually

pytestmark = pytest.mark.own_broker


def stats(row, *keys):
    """Some of the counts of a row; zero for those that are not there."""
    return tuple(row.get("message_stats", {}).get(key, 0) for key in keys)


def named(connection, api, vhost):
    """The name of a client's connection."""
    port = connection._impl._transport._sock.getsockname()[1]
    rows = api.read("vhosts", vhost, "connections")
    return next(row["name"] for row in rows if row["peer_port"] == port)


@pytest.fixture
def traffic(api, vhost, queue, name, opened):
    """Five messages published through an exchange: two consumed and acknowledged, one taken by get, two left unacked."""
    made, exchange = queue(), name("exchange")
    api.done("PUT", "exchanges", vhost, exchange, body={"type": "direct"})
    api.done("POST", "bindings", vhost, "e", exchange, "q", made, body={"routing_key": "k"})
    connection = opened(vhost)
    channel = connection.channel()
    channel.confirm_delivery()
    for _ in range(5):
        channel.basic_publish(exchange, "k", b"12345")
    method, _, _ = channel.basic_get(made)
    channel.basic_ack(method.delivery_tag)
    channel.basic_qos(prefetch_count=2)
    got = []
    channel.basic_consume(made, lambda _c, method, *_: got.append(method.delivery_tag), consumer_tag="eater")
    eventually(lambda: connection.process_data_events(0.02) or len(got) == 2, "two deliveries")
    for tag in tuple(got):
        channel.basic_ack(tag)
    eventually(lambda: connection.process_data_events(0.02) or len(got) == 4, "two more")
    return made, exchange, connection, channel


def test_counts_are_right_everywhere(api, vhost, traffic):
    made, exchange, connection, channel = traffic
    read = lambda: api.read("queues", vhost, made)
    eventually(lambda: stats(read(), "ack") == (3,), lambda: f"the acknowledgements: {read()}")
    row = read()
    assert stats(row, "publish", "deliver", "get", "ack", "deliver_get", "redeliver") == (5, 4, 1, 3, 5, 0)
    assert (row["messages"], row["messages_ready"], row["messages_unacknowledged"]) == (2, 0, 2)
    assert (row["message_bytes"], row["message_bytes_unacknowledged"], row["consumers"]) == (10, 10, 1)
    assert [consumer["consumer_tag"] for consumer in row["consumer_details"]] == ["eater"]
    (delivered,) = row["deliveries"]
    assert (delivered["stats"]["deliver"], delivered["stats"]["ack"]) == (4, 3)

    of_connection = named(connection, api, vhost)
    row = api.read("channels", f"{of_connection} ({channel.channel_number})")
    assert stats(row, "publish", "confirm", "deliver", "get", "ack") == (5, 5, 4, 1, 3)
    assert (row["messages_unacknowledged"], row["consumer_count"], row["prefetch_count"]) == (2, 1, 2)
    assert (row["confirm"], row["transactional"], row["connection_details"]["name"]) == (True, False, of_connection)
    assert [consumer["queue"]["name"] for consumer in row["consumer_details"]] == [made]
    (published,) = row["publishes"]
    assert (published["exchange"], published["stats"]["publish"]) == ({"name": exchange, "vhost": vhost}, 5)
    assert row["deliveries"][0]["queue"] == {"name": made, "vhost": vhost}

    row = api.read("exchanges", vhost, exchange)
    assert stats(row, "publish_in", "publish_out") == (5, 5)
    assert [(one["channel_details"]["connection_name"], one["stats"]["publish"]) for one in row["incoming"]] == [
        (of_connection, 5)
    ]

    row = api.read("connections", of_connection)
    assert row["channels"] == 1 and row["recv_oct"] > 100 and row["send_oct"] > 100 and row["state"] == "running"
    assert row["client_properties"]["product"] == "Pika Python Client Library" and row["timeout"] == 0

    row = api.read("vhosts", vhost)
    assert row["messages"] >= 2 and stats(row, "publish")[0] >= 5 and row["recv_oct"] > 100
    overview = api.read("overview")
    assert overview["queue_totals"]["messages_unacknowledged"] >= 2
    assert overview["object_totals"]["consumers"] >= 1 and stats(overview, "confirm")[0] >= 5


def test_rates_come_and_go(api, vhost, queue, opened):
    made = queue()
    channel = opened(vhost).channel()
    rates = lambda: api.read("queues", vhost, made)

    def busy():
        for _ in range(20):
            channel.basic_publish("", made, b"x")
        row = rates()
        published = row.get("message_stats", {}).get("publish_details", {}).get("rate", 0)
        return published > 0 and row["messages_details"]["rate"] > 0 and row

    row = eventually(busy, "a rate of publishes", pause=0.05)
    assert row["state"] == "running" and "idle_since" not in row
    assert api.read("overview")["message_stats"]["publish_details"]["rate"] > 0
    still = lambda: rates()["message_stats"]["publish_details"]["rate"] == 0
    eventually(still, "the rate falls to zero", pause=0.05)


def test_what_a_channel_counts_for_others_has_rates(api, vhost, queue, opened):
    made = queue()
    connection = opened(vhost)
    channel = connection.channel()
    channel.basic_consume(made, lambda *_: None, auto_ack=True)
    path = ("channels", f"{named(connection, api, vhost)} ({channel.channel_number})")

    def rates():
        of_channel = api.read(*path)
        rows = {
            "publishes": (of_channel["publishes"], "publish"),
            "deliveries": (of_channel["deliveries"], "deliver_no_ack"),
            "incoming": (api.read("exchanges", vhost, "amq.default")["incoming"], "publish"),
            "of the queue": (api.read("queues", vhost, made)["deliveries"], "deliver_no_ack"),
        }
        return {kind: row[0]["stats"][f"{key}_details"]["rate"] if row else 0 for kind, (row, key) in rows.items()}

    def busy():
        for _ in range(20):
            channel.basic_publish("", made, b"x")
        connection.process_data_events(0)
        return all(rates().values())

    eventually(busy, lambda: f"rates of all: {rates()}", pause=0.05)
    eventually(lambda: not any(rates().values()), lambda: f"they fall to zero: {rates()}", pause=0.05)


def test_ranges_have_samples(api, vhost, queue, opened):
    made = queue()
    channel = opened(vhost).channel()
    channel.basic_publish("", made, b"x")
    query = {"lengths_age": 60, "lengths_incr": 1, "msg_rates_age": 60, "msg_rates_incr": 1}

    def sampled():
        row = api.read("queues", vhost, made, **query)
        samples = row["messages_details"]["samples"]
        return len(samples) >= 2 and samples[0]["sample"] == 1 and row

    row = eventually(sampled, "two samples", pause=0.1)
    details = row["message_stats"]["publish_details"]
    assert {"rate", "samples", "avg", "avg_rate"} == set(details)
    stamps = [sample["timestamp"] for sample in details["samples"]]
    assert stamps == sorted(stamps, reverse=True) and abs(stamps[0] - time.time() * 1000) < 60_000
    assert {"samples", "avg"} <= set(api.read("overview", **query)["queue_totals"]["messages_details"])
    assert api.get("queues", vhost, made, query={"lengths_age": "x", "lengths_incr": 1}).status == 400


def test_one_consumer_is_active_at_a_time(api, vhost, queue, opened):
    made = queue(x_single_active_consumer=True)
    channel = opened(vhost).channel()
    for tag in ("first", "second"):
        channel.basic_consume(made, lambda *_: None, consumer_tag=tag)
    rows = {row["consumer_tag"]: row for row in api.read("consumers", vhost) if row["queue"]["name"] == made}
    assert [(rows[tag]["active"], rows[tag]["activity_status"]) for tag in ("first", "second")] == [
        (True, "single_active"),
        (False, "waiting"),
    ]
    assert api.read("queues", vhost, made)["single_active_consumer_tag"] == "first"


def test_an_exclusive_queue_names_its_owner(api, vhost, name, opened):
    connection = opened(vhost)
    made = name("own")
    connection.channel().queue_declare(made, exclusive=True)
    row = api.read("queues", vhost, made)
    assert (row["exclusive"], row["owner_pid_details"]["name"]) == (True, named(connection, api, vhost))
    assert made in [row["name"] for row in api.read("users", api.user, "queues")]


def test_transactions_are_shown(api, vhost, queue, opened):
    made, connection = queue(), opened(vhost)
    channel = connection.channel()
    channel.tx_select()
    for _ in range(3):
        channel.basic_publish("", made, b"x")
    channel.queue_declare(made, passive=True)
    path = ("channels", f"{named(connection, api, vhost)} ({channel.channel_number})")
    row = api.read(*path)
    assert (row["transactional"], row["messages_uncommitted"]) == (True, 3)
    channel.tx_commit()
    assert (api.read(*path)["messages_uncommitted"], api.read("queues", vhost, made)["messages"]) == (0, 3)


def test_without_statistics(api, vhost, queue, opened):
    made = queue()
    opened(vhost).channel().basic_publish("", made, b"x")
    totals = {"disable_stats": "true", "enable_queue_totals": "true"}

    def one():
        (row,) = [row for row in api.read("queues", vhost, **totals) if row["name"] == made]
        return row["messages"] == 1 and row

    row = eventually(one, "the message")
    assert "messages_details" not in row and "message_stats" not in row
    assert "messages" not in api.read("queues", vhost, made, disable_stats="true")


def test_unacked_messages_stay_when_their_channel_goes(api, vhost, queue, opened):
    made, connection = queue(), opened(vhost)
    channel = connection.channel()
    channel.basic_publish("", made, b"x", pika.BasicProperties(timestamp=77))
    eventually(lambda: channel.basic_get(made)[0], "the message")
    assert api.read("queues", vhost, made)["messages_unacknowledged"] == 1
    channel.close()
    row = api.read("queues", vhost, made)
    assert (row["messages_ready"], row["messages_unacknowledged"], row["head_message_timestamp"]) == (1, 0, 77)
    assert [channel["number"] for channel in api.read("connections", named(connection, api, vhost), "channels")] == []
