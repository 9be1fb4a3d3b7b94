"""Lists: their columns and how they look."""

import csv
import io
import json

import pytest

from ctl.run import done, fails

pytestmark = pytest.mark.own_broker


def rows(broker, *words):
    """A list as JSON."""
    return json.loads(done(broker, *words, "--formatter", "json"))


def test_queues_have_the_columns_that_are_asked_for(on, opened):
    broker = on({"vhosts.names": '["other"]'})
    channel = opened(broker).channel()
    channel.queue_declare("a b", durable=True, arguments={"x-max-length": 5})
    for number in range(7):
        channel.basic_publish("", "a b", str(number).encode())
    opened(broker, "other").channel().queue_declare("elsewhere", auto_delete=True)
    channel.basic_qos()
    assert done(broker, "list_queues") == "name\tmessages\na b\t5\n"
    assert done(broker, "-s", "list_queues", "durable", "name", "arguments") == 'true\ta b\t{"x-max-length":5}\n'
    assert done(broker, "-q", "-p", "other", "list_queues", "name auto_delete") == "name\tauto_delete\nelsewhere\ttrue\n"
    assert rows(broker, "list_queues", "messages_ready", "messages_unacknowledged", "consumers", "type") == [
        {"messages_ready": 5, "messages_unacknowledged": 0, "consumers": 0, "type": "classic"}
    ]
    assert rows(broker, "list_queues", "-p", "other", "name") == [{"name": "elsewhere"}]
    pretty = done(broker, "list_queues", "--formatter", "pretty_table")
    assert pretty.splitlines()[3] == "│ a b  │ 5        │"
    assert 'there is no column "size"' in fails(broker, 64, "list_queues", "name", "size")
    assert 'there is no vhost "nowhere"' in fails(broker, 65, "list_queues", "-p", "nowhere")


def test_policies_that_apply_are_columns_of_queues(on, opened):
    broker = on()
    opened(broker).channel().queue_declare("q")
    done(broker, "set_policy", "p", "^q$", '{"max-length": 3, "expires": 1000000}')
    done(broker, "set_operator_policy", "o", "^q$", '{"max-length": 2}')
    columns = ["policy", "operator_policy", "effective_policy_definition"]
    assert rows(broker, "list_queues", *columns) == [
        {"policy": "p", "operator_policy": "o", "effective_policy_definition": {"max-length": 2, "expires": 1000000}}
    ]


def test_exchanges_and_bindings(on, opened):
    broker = on()
    channel = opened(broker).channel()
    channel.exchange_declare("x", "topic")
    channel.queue_declare("q,1")
    channel.queue_bind("q,1", "x", "a.#")
    listed = done(broker, "list_exchanges").splitlines()
    assert listed[0] == "name\ttype" and "x\ttopic" in listed and "amq.direct\tdirect" in listed
    columns = ["source_name", "source_kind", "destination_name", "destination_kind", "routing_key", "arguments"]
    listed = [line.split("\t") for line in done(broker, "list_bindings").splitlines()]
    assert listed[0] == columns and ["x", "exchange", "q,1", "queue", "a.#", "{}"] in listed
    text = done(broker, "list_bindings", "source_name", "destination_name", "routing_key", "--formatter", "csv")
    found = list(csv.reader(io.StringIO(text)))
    assert found[0] == ["source_name", "destination_name", "routing_key"]
    assert ["x", "q,1", "a.#"] in found and ["", "q,1", "q,1"] in found


def test_connections_channels_and_consumers(on, opened):
    broker = on()
    connection = opened(broker, client_properties={"connection_name": "mine"})
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("q")
    channel.basic_qos(prefetch_count=3)
    channel.basic_consume("q", lambda *_: None, consumer_tag="tag", arguments={"x-priority": 2})
    [found] = rows(broker, "list_connections", "name", "user", "vhost", "channels", "user_provided_name", "peer_host")
    name = found.pop("name")
    assert name.startswith("127.0.0.1:") and name.endswith(f" -> 127.0.0.1:{broker.port}")
    assert found == {
        "user": "guest",
        "vhost": "/",
        "channels": 1,
        "user_provided_name": "mine",
        "peer_host": "127.0.0.1",
    }
    [found] = rows(broker, "list_channels", "pid", "connection", "number", "confirm", "consumer_count", "vhost")
    assert found == {
        "pid": f"{name} (1)",
        "connection": name,
        "number": 1,
        "confirm": True,
        "consumer_count": 1,
        "vhost": "/",
    }
    assert done(broker, "list_consumers").splitlines() == [
        "queue_name\tchannel_pid\tconsumer_tag\tack_required\tprefetch_count\tactive\tactivity_status\targuments",
        f'q\t{name} (1)\ttag\ttrue\t3\ttrue\tup\t{{"x-priority":2}}',
    ]


def test_an_exclusive_queue_names_its_owner(on, opened):
    broker = on()
    opened(broker).channel().queue_declare("mine", exclusive=True)
    [name] = [row["name"] for row in rows(broker, "list_connections", "name")]
    assert rows(broker, "list_queues", "name", "owner_pid") == [{"name": "mine", "owner_pid": name}]


# Those of rabbitmqctl 4 for queues; one that is not known would spoil a script's whole list.
QUEUE_COLUMNS = """
    name durable auto_delete arguments policy operator_policy effective_policy_definition pid owner_pid exclusive
    exclusive_consumer_pid exclusive_consumer_tag messages_ready messages_unacknowledged messages messages_ready_ram
    messages_unacknowledged_ram messages_ram messages_persistent message_bytes message_bytes_ready
    message_bytes_unacknowledged message_bytes_ram message_bytes_persistent head_message_timestamp disk_reads disk_writes
    consumers consumer_utilisation consumer_capacity memory slave_pids synchronised_slave_pids state type leader members online
"""


def test_all_columns_of_rabbitmqs_tool_are_known(on, opened):
    broker = on()
    opened(broker).channel().queue_declare("q", durable=True)
    [queue] = rows(broker, "list_queues", *QUEUE_COLUMNS.split())
    assert set(queue) == set(QUEUE_COLUMNS.split())
    assert (queue["pid"], queue["disk_reads"], queue["disk_writes"]) == ("q", 0, 0)
    columns = "name tags description default_queue_type protected_from_deletion tracing cluster_state metadata".split()
    [vhost] = rows(broker, "list_vhosts", *columns)
    assert (vhost["protected_from_deletion"], list(vhost["cluster_state"].values())) == (False, ["running"])
    assert vhost["metadata"]["tags"] == vhost["tags"]
    rows(broker, "list_connections", "ssl_key_exchange", "ssl_hash", "name")


def test_queues_of_one_node_are_all_online(on, opened):
    broker = on()
    opened(broker).channel().queue_declare("q")
    for words in (["--online"], ["--local"], ["--online", "--offline"], []):
        assert rows(broker, "list_queues", *words, "name") == [{"name": "q"}], words
    assert rows(broker, "list_queues", "--offline", "name") == []
    assert rows(broker, "list_unresponsive_queues", "name") == []
    assert "there is no vhost" in fails(broker, 65, "list_unresponsive_queues", "-p", "nowhere")


def test_vhosts_are_names_unless_more_is_asked_for(on):
    broker = on({"vhosts.names": '["other"]'})
    # As scripts look for one among them.
    assert done(broker, "list_vhosts") == "name\n/\nother\n"
