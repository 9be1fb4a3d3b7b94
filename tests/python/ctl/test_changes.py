"""What commands change, beside users, vhosts, permissions and policies, which have tests of their own."""

import json
import os
import subprocess

import pika
import pika.exceptions
import pytest

from ctl.run import done, fails, on_broker
from support.broker import Leveret, binary
from support.deadline import eventually, pump
from support.messages import is_there, publish

pytestmark = pytest.mark.own_broker


def rows(broker, *words):
    """A list as JSON."""
    return json.loads(done(broker, *words, "--json"))


def closed_with(connection):
    """What a connection is closed with."""
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as caught:
        pump(connection, lambda: False, "it is closed", 5)
    return caught.value.reply_code, caught.value.reply_text


def test_queues_are_purged_and_deleted(on, opened):
    broker = on()
    connection = opened(broker)
    channel = connection.channel()
    channel.queue_declare("q")
    publish(channel, "", "q", "1", "2")
    assert "not empty" in fails(broker, 65, "delete_queue", "q", "--if-empty")
    done(broker, "purge_queue", "q")
    assert channel.queue_declare("q", passive=True).method.message_count == 0
    done(broker, "delete_queue", "-e", "-u", "q")
    assert not is_there(connection, "q")
    for command in ("purge_queue", "delete_queue"):
        assert fails(broker, 65, command, "q") == 'leveret: there is no queue "q"\n'
        assert fails(broker, 65, command, "q", "-p", "v") == 'leveret: there is no vhost "v"\n'


def test_connections_are_closed(on, opened):
    broker = on({"vhosts.names": '["other"]', "auth.users.ci.password": "x"})
    first, second = opened(broker), opened(broker, user="ci", password="x")
    third, last = opened(broker, "other"), opened(broker)
    [name] = [row["pid"] for row in rows(broker, "list_connections", "pid", "user") if row["user"] == "ci"]
    done(broker, "close_connection", name, "go away")
    assert closed_with(second) == (320, "CONNECTION_FORCED - go away")
    assert "there is no connection" in fails(broker, 65, "close_connection", name, "go away")
    assert done(broker, "close_all_connections", "-p", "other", "bye") == "1 connections closed\n"
    assert done(broker, "close_all_connections", "--global", "--limit", "0", "bye") == "0 connections closed\n"
    assert closed_with(third)[1] == "CONNECTION_FORCED - bye"
    done(broker, "close_all_user_connections", "guest", "enough")
    assert closed_with(first)[1] == closed_with(last)[1] == "CONNECTION_FORCED - enough"
    assert rows(broker, "list_connections") == []
    code, _, err = on_broker(broker, "close_all_connections", "tschüß")
    assert code == 64 and "plain ASCII" in err


def test_parameters_are_set_and_cleared(on):
    broker = on()
    done(broker, "set_parameter", "vhost-limits", "limits", '{"max-queues": 3}')
    assert rows(broker, "list_parameters") == [
        {"component": "vhost-limits", "name": "limits", "value": {"max-queues": 3}}
    ]
    assert rows(broker, "list_vhost_limits", "-p", "/") == [{"vhost": "/", "limits": {"max-queues": 3}}]
    done(broker, "clear_parameter", "vhost-limits", "limits")
    assert rows(broker, "list_parameters") == []
    fails(broker, 65, "clear_parameter", "vhost-limits", "limits")
    fails(broker, 65, "set_parameter", "nothing", "n", "1")
    _, _, err = on_broker(broker, "set_parameter", "shovel", "s", '{"src-uri": "amqp://", "src-queue": "a"}')
    assert err == "leveret: it is kept and has no effect: shovel is not supported\n"
    done(broker, "set_global_parameter", "colour", '"green"')
    assert {"name": "colour", "value": "green"} in rows(broker, "list_global_parameters")
    done(broker, "clear_global_parameter", "colour")
    assert "colour" not in done(broker, "list_global_parameters")
    assert 'there is no global parameter "colour"' in fails(broker, 65, "clear_global_parameter", "colour")
    assert "should be JSON" in fails(broker, 65, "set_global_parameter", "colour", "green")


def test_what_is_said_of_a_vhost_is_changed_in_part(on):
    broker = on()
    done(broker, "add_vhost", "v", "--description", "old", "--tags", "a,b")
    done(broker, "update_vhost_metadata", "v", "--description", "new")
    columns = ["name", "description", "tags", "default_queue_type"]
    assert rows(broker, "list_vhosts", *columns)[1] == {
        "name": "v",
        "description": "new",
        "tags": ["a", "b"],
        "default_queue_type": "classic",
    }
    assert 'there is no vhost "w"' in fails(broker, 65, "update_vhost_metadata", "w", "--tags", "x")
    assert on_broker(broker, "update_vhost_metadata", "v")[0] == 64


def test_a_vhost_is_tagged_and_protected(on):
    broker = on()
    done(broker, "add_vhost", "v", "--description", "of tests", "--tags", "a")
    done(broker, "set_vhost_tags", "v", "b", "c")
    columns = ["name", "description", "tags", "protected_from_deletion"]
    told = {"name": "v", "description": "of tests", "tags": ["b", "c"], "protected_from_deletion": False}
    assert told in rows(broker, "list_vhosts", *columns)
    # A script whose variable is empty.
    done(broker, "set_vhost_tags", "v", "")
    done(broker, "enable_vhost_deletion_protection", "v")
    assert told | {"tags": [], "protected_from_deletion": True} in rows(broker, "list_vhosts", *columns)
    fails(broker, 70, "delete_vhost", "v")
    done(broker, "restart_vhost", "-p", "v")
    done(broker, "disable_vhost_deletion_protection", "v")
    done(broker, "delete_vhost", "v")
    for words in (["set_vhost_tags", "v", "x"], ["enable_vhost_deletion_protection", "v"], ["restart_vhost", "-p", "v"]):
        assert fails(broker, 65, *words) == 'leveret: there is no vhost "v"\n', words


def test_permissions_are_set_in_all_vhosts(on):
    broker = on({"vhosts.names": '["other"]'})
    done(broker, "add_user", "alice", "secret")
    done(broker, "set_permissions_globally", "alice", "^a", ".*", "")
    patterns = {"configure": "^a", "write": ".*", "read": ""}
    found = rows(broker, "list_user_permissions", "alice")
    assert [{"vhost": row["vhost"], **{key: row[key] for key in patterns}} for row in found] == [
        {"vhost": vhost, **patterns} for vhost in ("/", "other")
    ]
    assert fails(broker, 67, "set_permissions_globally", "nobody", ".*", ".*", ".*") == "leveret: User \"nobody\" does not exist\n"


def test_tracing_is_turned_on_and_off(on, opened):
    broker = on()
    channel = opened(broker).channel()
    channel.queue_declare("traces")
    channel.queue_bind("traces", "amq.rabbitmq.trace", "publish.#")
    done(broker, "trace_on")
    assert rows(broker, "list_vhosts", "name", "tracing") == [{"name": "/", "tracing": True}]
    publish(channel, "amq.direct", "k", "m")
    eventually(lambda: channel.basic_get("traces", auto_ack=True)[2] == b"m", "a trace")
    done(broker, "trace_off")
    publish(channel, "amq.direct", "k", "m")
    assert channel.basic_get("traces")[0] is None
    fails(broker, 65, "trace_on", "-p", "nowhere")


def test_alarms_follow_limits_that_are_set(on):
    broker = on({"memory.high_watermark": "0"})
    checks = ("check_local_alarms", "check_alarms")
    for check in checks:
        done(broker, check)
    for words, name in [
        (["set_vm_memory_high_watermark", "absolute", "1MiB"], "memory"),
        (["set_disk_free_limit", "1000TiB"], "disk"),
    ]:
        done(broker, *words)
        eventually(lambda: on_broker(broker, "check_local_alarms")[0] == 69, f"an alarm of {name}")
        for check in checks:
            assert name in fails(broker, 69, check)
        done(broker, *words[:-1], "1" if name == "disk" else "1TiB")
        eventually(lambda: on_broker(broker, "check_local_alarms")[0] == 0, f"no alarm of {name}")
    done(broker, "set_vm_memory_high_watermark", "0.9")
    done(broker, "set_disk_free_limit", "mem_relative", "0")
    fails(broker, 65, "set_vm_memory_high_watermark", "1.5")
    fails(broker, 65, "set_disk_free_limit", "much")


def test_definitions_are_exported_and_imported(on, opened, tmp_path):
    broker = on()
    channel = opened(broker).channel()
    channel.queue_declare("q", durable=True)
    channel.queue_bind("q", "amq.topic", "a.#")
    done(broker, "add_vhost", "v")
    done(broker, "add_user", "alice", "secret")
    file = tmp_path / "definitions.json"
    assert str(file) in done(broker, "export_definitions", str(file), "--format", "json")
    assert file.stat().st_mode & 0o777 == 0o600
    exported = json.loads(file.read_text())
    assert {queue["name"] for queue in exported["queues"]} == {"q"}
    assert json.loads(done(broker, "export_definitions", "-", "-p", "v"))["queues"] == []
    done(broker, "delete_user", "alice")
    done(broker, "delete_vhost", "v")
    done(broker, "delete_queue", "q")
    assert done(broker, "import_definitions", str(file)) == "definitions imported\n"
    again = json.loads(done(broker, "export_definitions"))
    for key in ("users", "vhosts", "queues", "bindings", "permissions"):
        assert sorted(map(str, again[key])) == sorted(map(str, exported[key])), key
    assert done(broker, "-s", "import_definitions", stdin=file.read_text()) == ""
    fails(broker, 65, "import_definitions", stdin="{")
    wrong = {"queues": [{"name": "a", "vhost": "nowhere"}, {"name": "b", "vhost": "nowhere"}]}
    code, _, err = on_broker(broker, "import_definitions", stdin=json.dumps(wrong))
    assert code == 65 and "nothing was imported; 2 things are wrong:\n  " in err and "nowhere" in err
    del wrong["queues"][1]
    assert "nowhere" in fails(broker, 65, "import_definitions", stdin=json.dumps(wrong))
    right = {"queues": [{"name": "new", "vhost": "/"}]}
    report = json.loads(done(broker, "import_definitions", "--dry-run", stdin=json.dumps(right)))
    assert report["counts"]["queues"] == {"created": 1, "changed": 0, "unchanged": 0}
    assert "new" not in done(broker, "export_definitions")
    fails(broker, 70, "import_definitions", str(tmp_path / "none"))


def test_an_import_tells_what_has_no_effect(on):
    broker = on()
    shovels = [{"vhost": "/", "component": "shovel", "name": f"s{number:02}", "value": {}} for number in range(22)]
    definitions = {
        "parameters": shovels,
        "policies": [{"vhost": "/", "name": "p", "pattern": "x", "definition": {"queue-mode": "lazy"}}],
        "exchanges": [{"vhost": "/", "name": "amq.topic", "type": "topic", "durable": True}],
    }
    code, out, err = on_broker(broker, "import_definitions", stdin=json.dumps(definitions))
    assert (code, out) == (0, "definitions imported\n")
    lines = err.splitlines()
    assert sum("without effect: parameters[" in line for line in lines) + sum("policies[0]" in line for line in lines) == 20
    assert "leveret: imported and without effect: 3 more" in lines
    assert any("not imported: " in line and "amq.topic" in line for line in lines)
    assert on_broker(broker, "-q", "import_definitions", stdin=json.dumps(definitions)) == (0, "definitions imported\n", "")


def test_progress_is_shown_to_a_person(on, tmp_path):
    broker = on()
    file = tmp_path / "definitions.json"
    queues = [{"vhost": "/", "name": f"q{number}", "durable": True} for number in range(1000)]
    file.write_text(json.dumps({"queues": queues}))
    for command in ("import_definitions", "export_definitions"):
        shown = shown_by(broker, command, str(file))
        assert b"100 % of " in shown and b"KiB" in shown, command
        # Nobody looks at a pipe.
        assert on_broker(broker, command, str(file))[2] == "", command
        assert shown_by(broker, "-q", command, str(file)) == b"", command
    assert len(json.loads(file.read_text())["queues"]) == 1000


def shown_by(broker, *words):
    """What a command that succeeds writes to a terminal as its standard error."""
    person, terminal = os.openpty()
    words = [str(binary()), "ctl", *words, "--data-dir", str(broker.data_dir)]
    with os.fdopen(person, "rb", buffering=0) as screen:
        with subprocess.Popen(words, env=Leveret.environment(), stdout=subprocess.DEVNULL, stderr=terminal) as command:
            os.close(terminal)
            shown = b"".join(iter(lambda: read_of(screen), b""))
        assert command.returncode == 0, shown
    return shown


def read_of(screen):
    """What a terminal shows; nothing once nobody writes to it any more."""
    try:
        return screen.read(4096)
    except OSError:
        return b""
