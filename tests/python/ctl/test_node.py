"""What the tool says of the node and its log, and how it stops it; named as RabbitMQ's tools name it."""

import json
import os
import subprocess

import pytest

from ctl.run import done, fails, on_broker, run
from support.broker import Leveret, binary
from support.deadline import eventually

pytestmark = pytest.mark.own_broker


def rows(broker, *words):
    """A list as JSON."""
    return json.loads(done(broker, *words, "--json"))


def test_features_are_listed_and_there_for_good(on):
    broker = on()
    listed = rows(broker, "list_feature_flags")
    assert {"name": "quorum_queue", "state": "enabled"} in listed
    assert done(broker, "list_feature_flags", "name", "stability").startswith("name\tstability\n")
    for words in (["all"], ["quorum_queue"], ["--opt-in", "all"], ["--experimental", "quorum_queue"]):
        assert done(broker, "enable_feature_flag", *words) == ""
    assert "no feature flag nothing" in fails(broker, 65, "enable_feature_flag", "nothing")
    assert rows(broker, "list_deprecated_features") == rows(broker, "list_deprecated_features", "--used") == []
    assert done(broker, "check_if_any_deprecated_features_are_used").count("\n") == 1


def test_alarms_are_listed_and_fail_the_old_check_too(on):
    broker = on()
    assert done(broker, "alarms") == "no alarm is on\n"
    done(broker, "node_health_check")
    done(broker, "set_vm_memory_high_watermark", "absolute", "1MiB")
    node = json.loads(done(broker, "status", "--json"))["node"]
    eventually(lambda: done(broker, "alarms", "-s") == f"memory\t{node}\n", "the alarm is on")
    assert rows(broker, "alarms") == [{"alarm": "memory", "node": node}]
    assert "memory" in fails(broker, 69, "node_health_check")


def test_ports_are_tried_at_an_address(on):
    broker = on()
    done(broker, "check_port_connectivity", "--address", "127.0.0.1")
    done(broker, "check_port_connectivity", "-a", "localhost")
    assert "cannot be reached" in fails(broker, 69, "check_port_connectivity", "--address", "nowhere.invalid")


def test_the_one_node_is_all_there_is(on):
    broker = on()
    done(broker, "await_online_nodes", "1")
    assert "there is one node" in fails(broker, 69, "await_online_nodes", "2")
    done(broker, "set_cluster_name", "orders")
    assert json.loads(done(broker, "cluster_status", "--json"))["cluster_name"] == "orders"


def test_logins_are_counted_by_protocol(on, opened):
    broker = on()
    opened(broker)

    def attempts():
        return {row.pop("protocol"): row for row in rows(broker, "list_node_auth_attempt_stats")}

    one = {"auth_attempts": 1, "auth_attempts_failed": 0, "auth_attempts_succeeded": 1}
    assert attempts()["amqp091"] == one
    done(broker, "reset_node_auth_attempt_metrics")
    assert attempts()["amqp091"]["auth_attempts"] == 0


def test_queues_are_where_they_can_be(on):
    broker = on()
    for words in ([], ["all"], ["quorum"]):
        assert done(broker, "rebalance", *words) == ""


def test_memory_is_broken_down(on):
    broker = on()
    found = json.loads(done(broker, "memory_breakdown", "--json"))
    assert found["other_system"]["bytes"] > 0 and found["atom"] == {"bytes": 0, "percentage": 0.0}
    first = done(broker, "memory_breakdown", "--unit", "mb").splitlines()[0]
    assert first.startswith("other_system: ") and " mb (" in first and first.endswith("%)")
    code, _, err = on_broker(broker, "memory_breakdown", "--unit", "acres")
    assert code == 64 and "acres" in err


def test_the_end_of_the_log_is_shown(on):
    broker = on()
    for name in ("first", "second"):
        done(broker, "add_vhost", name)
    lines = done(broker, "log_tail", "-N", "1").splitlines()
    assert len(lines) == 1 and "second" in lines[0] and " INFO " in lines[0]
    assert "first" in done(broker, "log_tail") and "starts" in done(broker, "log_tail")
    assert done(broker, "log_location") == "<stdout>\n"


def test_the_log_is_followed(on):
    broker = on()
    words = [str(binary()), "ctl", "log_tail_stream", "--data-dir", str(broker.data_dir)]
    with subprocess.Popen(words, env=Leveret.environment(), stdout=subprocess.PIPE, bufsize=0) as following:
        os.set_blocking(following.stdout.fileno(), False)
        made = []

        def told():
            made.append(f"new{len(made)}")
            done(broker, "add_vhost", made[-1])
            return b"new" in (following.stdout.read(1 << 16) or b"")

        eventually(told, "what happens is shown")
        following.terminate()
    assert done(broker, "log_tail_stream", "--duration", "0") == ""


def test_the_tool_says_its_version_without_a_broker():
    expected = run("--version")
    assert expected[0] == 0 and expected[1].startswith("leveret")
    assert run("version") == (0, expected[1].split()[1] + "\n", "")
    code, out, _ = run("help")
    assert code == 0 and "list_queues" in out
    code, out, _ = run("help", "list_queues")
    assert code == 0 and "--offline" in out
    code, _, err = run("help", "nothing")
    assert code == 64 and "there is no command nothing" in err


def ended(process):
    """Whether a process that nobody has waited for yet is over."""
    with open(f"/proc/{process.pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("words", [["shutdown"], ["stop"], ["stop", "--idempotent"]], ids=" ".join)
def test_the_broker_is_stopped_and_waited_for(on, words):
    broker = on()
    assert "has ended" in done(broker, *words)
    assert ended(broker.process) and broker.wait() == 0


def test_stopping_what_does_not_run(on, tmp_path):
    broker = on()
    pidfile = tmp_path / "pid"
    pidfile.write_text(str(broker.process.pid))
    assert done(broker, "-q", "stop", str(pidfile)).count("\n") == 1
    assert ended(broker.process) and broker.wait() == 0
    for words in (["shutdown"], ["stop"]):
        assert "cannot reach a broker on" in fails(broker, 69, *words)
    assert done(broker, "stop", "--idempotent") == "no broker runs\n"
    code, _, err = run("--url", "http://127.0.0.1:1", "--username", "x", "--password", "y", "shutdown")
    assert code == 64 and "this machine" in err


def test_stopping_need_not_be_waited_for(on):
    broker = on()
    assert done(broker, "-s", "shutdown", "--no-wait") == ""
    assert broker.wait() == 0
