"""What programs that watch or steer a broker ask for, as raw HTTP, and the fields they read of it."""

import pytest

from management.test_topology import missing
from support.deadline import eventually


@pytest.fixture
def busy(opened, vhost, queue):
    """A queue with three ready messages, two that are delivered, and a connection that stays."""
    made = queue()
    connection = opened(vhost)
    channel = connection.channel()
    channel.confirm_delivery()
    for _ in range(5):
        channel.basic_publish("", made, b"x")
    for _ in range(2):
        channel.basic_get(made)
    channel.basic_consume(queue(), lambda *_: None)
    return made, connection


def read_when(api, condition, connection, *path, **query):
    """What a path answers once it holds; statistics come a little later."""

    def ready():
        connection.process_data_events(0)
        found = api.read(*path, **query)
        return found if condition(found) else None

    return eventually(ready, lambda: f"{path} in time: {api.read(*path, **query)}")


def counted(found):
    """Whether a queue's numbers are there."""
    return found.get("messages") == 5 and found.get("messages_unacknowledged") == 2 and "publish" in found.get("message_stats", {})


def test_keda(api, vhost, busy):
    made, connection = busy
    found = read_when(api, counted, connection, "queues", vhost, made)
    assert (found["name"], found["messages"], found["messages_unacknowledged"]) == (made, 5, 2)
    assert isinstance(found["message_stats"]["publish_details"]["rate"], int | float)
    # With a pattern of names it asks for a page.
    query = {"page": 1, "use_regex": "true", "pagination": "false", "name": f"^{made}$", "page_size": 100}
    page = api.read("queues", vhost, **query)
    assert [(item["name"], item["messages"]) for item in page["items"]] == [(made, 5)]
    assert api.read("queues", vhost, **query | {"name": "^nothing$"})["items"] == []
    missing(api.get("queues", vhost, "nothing"))


def test_flower(api, vhost, busy):
    made, connection = busy
    read_when(api, counted, connection, "queues", vhost, made)
    found = {item["name"]: item for item in api.read("queues", vhost)}[made]
    assert {"name", "messages", "consumers"} <= set(found)


def test_spring(api, vhost, busy):
    made, connection = busy
    found = read_when(api, lambda found: counted(found) and "state" in found, connection, "queues", vhost, made)
    assert found["state"] in ("running", "idle")
    assert found["consumer_details"] == [] and isinstance(found["arguments"], dict)


# What the exporter of kbudde, the agents of Datadog and New Relic, and Zabbix read.
EXPORTED = {
    ("overview",): [
        *("cluster_name", "rabbitmq_version", "erlang_version", "management_version", "node", "listeners", "contexts"),
        *("object_totals.channels", "object_totals.connections", "object_totals.consumers", "object_totals.exchanges"),
        *("object_totals.queues", "queue_totals.messages", "queue_totals.messages_ready"),
        *("queue_totals.messages_unacknowledged", "queue_totals.messages_details.rate"),
        *("message_stats.publish", "message_stats.publish_details.rate", "message_stats.confirm"),
        *("message_stats.deliver_get", "message_stats.get", "churn_rates.connection_created", "exchange_types"),
    ],
    ("nodes",): [
        *("name", "running", "mem_used", "mem_limit", "mem_alarm", "disk_free", "disk_free_limit", "disk_free_alarm"),
        *("fd_used", "fd_total", "sockets_used", "sockets_total", "partitions", "uptime", "run_queue", "proc_used"),
        *("processors", "mem_used_details.rate", "type", "os_pid", "rates_mode"),
    ],
    ("queues",): [
        *("name", "vhost", "durable", "auto_delete", "exclusive", "arguments", "node", "type", "policy", "state"),
        *("messages", "messages_ready", "messages_unacknowledged", "messages_details.rate", "messages_ram"),
        *("messages_persistent", "message_bytes", "message_bytes_ready", "message_bytes_unacknowledged"),
        *("message_bytes_ram", "message_bytes_persistent", "memory", "consumers", "consumer_utilisation"),
        *("consumer_capacity", "effective_policy_definition", "head_message_timestamp", "exclusive_consumer_tag"),
        *("message_stats.publish", "message_stats.deliver_get_details.rate", "message_stats.get", "message_stats.ack"),
        *("messages_paged_out", "message_bytes_paged_out", "single_active_consumer_tag", "operator_policy"),
    ],
    ("exchanges",): ["name", "vhost", "type", "durable", "auto_delete", "internal", "arguments", "user_who_performed_action"],
    ("connections",): [
        *("name", "vhost", "user", "node", "host", "port", "peer_host", "peer_port", "protocol", "auth_mechanism", "ssl"),
        *("state", "type", "channels", "channel_max", "frame_max", "timeout", "connected_at", "client_properties"),
        *("recv_oct", "recv_cnt", "send_oct", "send_cnt", "send_pend", "recv_oct_details.rate", "send_oct_details.rate"),
        *("garbage_collection", "reductions", "user_who_performed_action"),
    ],
    ("channels",): [
        *("name", "number", "connection_details.name", "connection_details.peer_host", "connection_details.peer_port"),
        *("user", "vhost", "node", "state", "confirm", "transactional", "consumer_count", "messages_unacknowledged"),
        *("messages_uncommitted", "messages_unconfirmed", "acks_uncommitted", "prefetch_count", "global_prefetch_count"),
    ],
    ("consumers",): [
        *("arguments", "ack_required", "active", "activity_status", "consumer_tag", "exclusive", "prefetch_count"),
        *("channel_details.name", "channel_details.number", "channel_details.user", "channel_details.connection_name"),
        *("channel_details.peer_host", "channel_details.peer_port", "channel_details.node", "queue.name", "queue.vhost"),
    ],
    ("bindings",): [
        *("source", "vhost", "destination", "destination_type", "routing_key", "arguments", "properties_key"),
    ],
    ("vhosts",): ["name", "tracing", "cluster_state", "description", "tags", "metadata"],
}


def has(found, field):
    """Whether an object has a field, which may be inside another one."""
    for key in field.split("."):
        if not isinstance(found, dict) or key not in found:
            return False
        found = found[key]
    return True


def lacking(found, fields):
    """The fields that are not in the object, or not in the fullest of the list."""
    candidates = found if isinstance(found, list) else [found]
    return min(([field for field in fields if not has(one, field)] for one in candidates), key=len, default=fields)


@pytest.mark.parametrize("path", EXPORTED, ids="/".join)
def test_exporters(api, vhost, busy, path):
    made, connection = busy
    read_when(api, counted, connection, "queues", vhost, made)
    fields = EXPORTED[path]
    read_when(api, lambda found: lacking(found, fields) == [], connection, *path)
    # They ask for no more than they read.
    columns = ",".join(fields)
    assert lacking(api.read(*path, columns=columns), fields) == []


@pytest.mark.own_broker
def test_keys_of_version_4(api, vhost, busy):
    made, connection = busy
    found = read_when(api, counted, connection, "queues", vhost, made)
    assert has(found, "message_stats.deliver_get")
    overview = api.read("overview")
    keys = ["cluster_tags", "node_tags", "default_queue_type", "is_op_policy_updating_enabled", "product_name", "product_version"]
    assert lacking(overview, [*keys, "disable_stats", "enable_queue_totals"]) == []
    (own,) = [one for one in api.read("vhosts") if one["name"] == vhost]
    assert lacking(own, ["default_queue_type", "protected_from_deletion", "metadata.description"]) == []
    assert api.read("whoami")["is_internal_user"] in (True, False)


def test_terraform(api, vhost, name):
    """It makes a thing, reads it, and expects 404 once it is gone."""
    queue, exchange = name(), name()
    things = [
        (("exchanges", vhost, exchange), {"type": "fanout", "durable": True, "auto_delete": False}),
        (("queues", vhost, queue), {"durable": False, "auto_delete": True, "arguments": {"x-message-ttl": 5000}}),
        (("policies", vhost, name()), {"pattern": ".*", "definition": {"max-length": 3}, "priority": 0, "apply-to": "queues"}),
        (("operator-policies", vhost, name()), {"pattern": ".*", "definition": {"expires": 30000}, "priority": 1, "apply-to": "queues"}),
    ]
    for path, body in things:
        answer = api.put(*path, body=body | {"vhost": vhost, "name": path[2]})
        assert answer.status in (201, 204), (path, answer)
        found = api.read(*path)
        assert {key: found[key] for key in body} == body
    between = ("bindings", vhost, "e", exchange, "q", queue)
    answer = api.post(*between, body={"routing_key": "", "arguments": {"key": "value"}})
    key = answer.headers["location"].split("/")[-1]
    # The location is escaped once more than the key.
    assert api.send("GET", "/api/bindings/{}/e/{}/q/{}/{}".format(vhost.replace("/", "%2F"), exchange, queue, key)).status == 200
    for path, _ in reversed(things):
        assert api.delete(*path).status == 204
        missing(api.get(*path))
