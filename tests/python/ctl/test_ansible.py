"""The command lines of Ansible's modules for RabbitMQ, and what those read of the answers."""

import json
import os
import re
from pathlib import Path

import pytest

from ctl.run import finish
from support.broker import ROOT, binary

pytestmark = pytest.mark.own_broker

SCRIPTS = Path(ROOT) / "config" / "bin"


@pytest.fixture
def rabbitmqctl(on, tmp_path):
    """Runs RabbitMQ's tool as the modules do, and answers the lines that it prints."""
    broker = on()
    (tmp_path / "leveret").symlink_to(binary())
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LEVERET_STORAGE_DATA_DIR": str(broker.data_dir)}

    def execute(*words, before=()):
        code, out, err = finish([str(SCRIPTS / "rabbitmqctl"), "-q", *before, "-n", "leveret", *words], environment)
        assert code == 0, err
        return out.splitlines()

    execute.broker = broker
    return execute


def test_the_version_is_found(rabbitmqctl):
    as_object = json.loads("".join(rabbitmqctl("status", "--formatter", "json")))
    as_text = re.search(r"RabbitMQ version: (?P<version>.*)", "\n".join(rabbitmqctl("status")))
    assert as_text["version"] == as_object["rabbitmq_version"] and as_text["version"] >= "3.8.10"


def test_users_have_tags_and_permissions(rabbitmqctl):
    rabbitmqctl("add_user", "alice", "secret")
    rabbitmqctl("set_user_tags", "alice", "monitoring", "policymaker")
    rabbitmqctl("set_permissions", "-p", "/", "alice", "^a", ".*", "")
    users = json.loads("".join(rabbitmqctl("list_users", "--formatter", "json")))
    assert {"user": "alice", "tags": ["monitoring", "policymaker"]} in users
    [found] = json.loads("".join(rabbitmqctl("list_user_permissions", "alice", "--formatter", "json")))
    assert found == {"vhost": "/", "configure": "^a", "write": ".*", "read": ""} | found
    rabbitmqctl("authenticate_user", "alice", "secret")


def test_a_policy_that_is_there_is_recognized(rabbitmqctl):
    definition = {"max-length": 5, "overflow": "reject-publish"}
    rabbitmqctl("set_policy", "-p", "/", "p", r"^a\.b", json.dumps(definition), "--priority", "3", "--apply-to", "queues")
    _, line = rabbitmqctl("list_policies", "-p", "/")
    vhost, name, pattern, apply_to, tags, priority = line.split("\t")
    assert (vhost, name, pattern.replace("\\\\", "\\"), apply_to, priority) == ("/", "p", r"^a\.b", "queues", "3")
    assert json.loads(tags) == definition


def test_vhosts_are_traced(rabbitmqctl):
    rabbitmqctl("add_vhost", "v")
    assert "v\tfalse" in rabbitmqctl("list_vhosts", "name", "tracing")
    rabbitmqctl("trace_on", "-p", "v")
    assert "v\ttrue" in rabbitmqctl("list_vhosts", "name", "tracing")


def test_limits_are_one_object(rabbitmqctl):
    in_vhost = ["-p", "/"]
    assert rabbitmqctl("list_vhost_limits", before=in_vhost) == ["{}"]
    rabbitmqctl("set_vhost_limits", '{"max-connections": 64, "max-queues": 256}', before=in_vhost)
    [line] = rabbitmqctl("list_vhost_limits", before=in_vhost)
    assert json.loads(line) == {"max-connections": 64, "max-queues": 256}
    assert [json.loads(line) for line in rabbitmqctl("list_user_limits", "--user", "guest")] == [{}]
    rabbitmqctl("set_user_limits", "guest", '{"max-channels": 7}')
    assert [json.loads(line) for line in rabbitmqctl("list_user_limits", "--user", "guest")] == [{"max-channels": 7}]
    head, line = rabbitmqctl("list_vhost_limits", "--global")
    assert (head, line.split("\t")[0]) == ("vhost\tlimits", "/")
    assert rabbitmqctl("list_user_limits", "--global") == ["user\tlimits", 'guest\t{"max-channels":7}']


def test_parameters_and_feature_flags_are_rows(rabbitmqctl):
    rabbitmqctl("set_global_parameter", "x", '{"a": 1}')
    assert 'x\t{"a":1}' in rabbitmqctl("list_global_parameters")
    rabbitmqctl("set_vhost_limits", "-p", "/", '{"max-queues": 3}')
    assert 'vhost-limits\tlimits\t{"max-queues":3}' in rabbitmqctl("list_parameters", "-p", "/")
    assert "quorum_queue\tenabled" in rabbitmqctl("list_feature_flags")


def plugins(*words):
    """Exit code, lines and complaints of the script about plugins, which needs no broker."""
    code, out, err = finish([str(SCRIPTS / "rabbitmq-plugins"), *words])
    return code, out.splitlines(), err


def test_plugins_that_are_parts_of_the_broker_are_on():
    code, found, _ = plugins("-n", "rabbit", "list", "-E", "-m")
    assert code == 0 and {"rabbitmq_management", "rabbitmq_prometheus"} <= set(found)
    assert plugins("list", "prometheus") == (0, ["rabbitmq_prometheus"], "")
    for words in (["enable", "--offline", *found], ["-q", "enable", "--online", found[0]], ["set", found[0]]):
        assert plugins(*words) == (0, [], ""), words
    assert plugins("is_enabled", "rabbitmq_management")[0] == 0
    code, _, err = plugins("disable", "rabbitmq_management")
    assert code == 0 and "stays on" in err
    for words in (["enable", "rabbitmq_management", "rabbitmq_stomp"], ["is_enabled", "rabbitmq_stomp"], ["set", "rabbitmq_stomp"]):
        code, _, err = plugins(*words)
        assert code == 65 and "there is no plugin rabbitmq_stomp" in err, words
    assert plugins()[0] == plugins("directories")[0] == 64


def test_the_image_has_the_scripts():
    copied = (Path(ROOT) / "Dockerfile").read_text()
    assert all(f"config/bin/{script.name}" in copied for script in SCRIPTS.iterdir())
