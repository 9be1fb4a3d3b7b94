"""Which broker, who asks it, and whether it is well."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from ctl.run import done, fails, finish, on_broker, run
from support.broker import ROOT, Leveret, binary, free_port
from support.deadline import eventually
from tls.authority import Authority

pytestmark = pytest.mark.own_broker

CHECKS = [
    ["ping"],
    ["check_running"],
    ["check_local_alarms"],
    ["check_alarms"],
    ["check_port_connectivity"],
    ["check_virtual_hosts"],
    ["check_certificate_expiration", "--within", "2", "--unit", "months"],
    ["check_if_node_is_quorum_critical"],
    ["check_protocol_listener", "amqp"],
]


def test_a_broker_that_is_well_passes_all_checks(on):
    broker = on()
    for check in CHECKS:
        assert done(broker, *check).count("\n") == 1, check
        assert done(broker, "-s", *check) == "", check
    done(broker, "check_port_listener", str(broker.port))
    fails(broker, 69, "check_port_listener", "1")
    fails(broker, 69, "check_protocol_listener", "mqtt")
    done(broker, "await_startup")
    done(broker, "wait", "-P", str(broker.process.pid))
    pidfile = broker.data_dir.parent / "pid"
    pidfile.write_text(f"{broker.process.pid}\n")
    done(broker, "wait", str(pidfile))
    assert broker.stop() == 0
    for check in CHECKS:
        assert "cannot reach a broker on" in fails(broker, 69, *check)
    fails(broker, 75, "await_startup", "-t", "1")
    assert "has ended" in fails(broker, 69, "wait", str(pidfile), "-t", "5")


def test_rabbitmqs_names_are_those_commands(on, tmp_path):
    broker = on()
    (tmp_path / "leveret").symlink_to(binary())
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "LEVERET_STORAGE_DATA_DIR": str(broker.data_dir),
    }
    scripts = Path(ROOT) / "config" / "bin"
    for words in ("ping", "check_running", "check_local_alarms", "check_port_connectivity", "check_virtual_hosts"):
        code, _, err = finish([str(scripts / "rabbitmq-diagnostics"), "-q", words], environment)
        assert (code, err) == (0, ""), words
    code, out, err = finish([str(scripts / "rabbitmqctl"), "-q", "add_vhost", "a b"], environment)
    assert (code, out, err) == (0, "", "")
    code, out, _ = finish([str(scripts / "rabbitmqctl"), "-q", "list_vhosts", "name"], environment)
    assert (code, out) == (0, "name\n/\na b\n")
    # What says how Erlang finds a node makes no difference.
    for words in (["-l", "list_vhosts", "name"], ["list_vhosts", "--longnames", "--erlang-cookie", "x", "name"]):
        assert finish([str(scripts / "rabbitmqctl"), "-s", *words], environment)[:2] == (0, "/\na b\n")
    code, out, _ = finish([str(scripts / "rabbitmq-diagnostics"), "status"], environment)
    assert code == 0 and "leveret@" in out


def test_status_and_report_say_how_it_is(on, opened):
    broker = on()
    opened(broker).channel().queue_declare("q")
    status = done(broker, "status")
    assert "Alarms            none\n" in status and f"amqp at 127.0.0.1:{broker.port}\n" in status
    status = json.loads(done(broker, "status", "--json"))
    assert status["pid"] == str(broker.process.pid) and status["alarms"] == []
    assert status["totals"]["queues"] == 1 and status["memory"]["used"] > 0
    cluster = json.loads(done(broker, "cluster_status", "--json"))
    assert cluster["running_nodes"] == [status["node"]]
    assert status["node"] in done(broker, "cluster_status")
    report = done(broker, "report")
    assert "Queues of vhost /\n" in report and "q\tclassic\t0\t0\t0" in report
    assert any(line.split("\t")[0] == "amqp" for line in done(broker, "listeners").splitlines())
    assert done(broker, "server_version").strip() == status["product_version"]


def test_a_broker_is_reached_from_elsewhere(leveret, tmp_path):
    authority = Authority(tmp_path)
    certificate, key = authority.server()
    ports = free_port(), free_port()
    broker = leveret(
        {
            "http.listen": f"127.0.0.1:{ports[0]}",
            "http.listen_tls": f"127.0.0.1:{ports[1]}",
            "tls.cert": certificate,
            "tls.key": key,
            "http.path_prefix": "/mq",
            "auth.failed_login_delay": 0,
        }
    )
    assert broker.data_dir is None, "there is no control socket"
    plain = ["--url", f"http://127.0.0.1:{ports[0]}/mq", "--username", "guest"]
    assert run(*plain, "--password", "guest", "list_users", "-s")[:2] == (0, "guest\t[administrator]\n")
    code, _, err = run(*plain, "--password", "wrong", "list_users")
    assert code == 69 and "does not let in" in err
    code, _, err = run("--url", f"http://127.0.0.1:{ports[0]}/mq", "ping")
    assert code == 69 and "does not let in" in err
    secret = {"LEVERET_PASSWORD": "guest", "LEVERET_USER": "guest", "LEVERET_URL": f"https://localhost:{ports[1]}/mq"}
    assert run("--ca", str(authority.path), "ping", environment=secret)[0] == 0
    code, _, err = run("ping", environment=secret)
    assert code == 69 and "certificate" in err
    code, _, err = run("ping", environment=secret | {"LEVERET_URL": "ftp://localhost"})
    assert code == 65 and "should be http://" in err
    code, _, err = run("ping", environment={"LEVERET_URL": f"http://127.0.0.1:{free_port()}"})
    assert code == 69 and "cannot reach a broker at" in err
    code, _, err = run("--username", "guest", "ping", "--data-dir", str(tmp_path))
    assert code == 64 and "--url" in err
    run(*plain, "--password", "guest", "add_user", "few", "secret")
    few = ["--url", plain[1], "--username", "few", "--password", "secret"]
    code, _, err = run(*few, "list_users")
    assert code == 69 and "refuses" in err


def test_it_works_without_an_api_for_others(on):
    broker = on({"http.listen": "[]", "http.path_prefix": "/elsewhere"})
    done(broker, "add_vhost", "v")
    assert done(broker, "-s", "list_vhosts", "name") == "/\nv\n"
    assert broker.port_of("http") is None


def test_a_wrong_command_line_is_told_from_a_wrong_command(on):
    broker = on()
    for words in (["nothing"], ["list_queues", "--formatter", "xml"], ["add_vhost"], [], ["ping", "--nothing"]):
        code, _, err = on_broker(broker, *words)
        assert code == 64 and ("error: " in err or "Usage:" in err), words
    code, out, err = run("--help")
    assert (code, err) == (0, "") and "move_messages" in out
    code, _, err = run("ping", "--set", "no.such=1")
    assert code == 78 and err.count("\n") == 1


def is_stopped(task):
    return (task / "stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def test_a_broker_that_hangs_is_not_waited_for(on):
    broker = on()
    pid = broker.process.pid
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{pid}/task")
    # On another processor a thread goes on for a moment.
    eventually(lambda: all(is_stopped(task) for task in tasks.iterdir()), "the broker does not stop")
    try:
        assert "does not answer" in fails(broker, 75, "ping", "-t", "1")
    finally:
        os.kill(pid, signal.SIGCONT)
    done(broker, "ping")


def test_a_log_that_was_moved_away_is_made_anew(tmp_path):
    log, old, data = tmp_path / "log", tmp_path / "log.1", str(tmp_path / "data")
    words = [str(binary()), "--data-dir", data, "--listen", "127.0.0.1:0", "--set", f"log.file={log}"]

    def ctl(*words):
        code, _, err = run(*words, "--data-dir", data)
        assert code == 0, err

    process = subprocess.Popen(words, env=Leveret.environment())
    try:
        ctl("await_startup")
        assert run("log_location", "--data-dir", data)[:2] == (0, f"{log}\n")
        ctl("add_vhost", "earlier")
        log.rename(old)
        ctl("rotate_logs")
        ctl("add_vhost", "later")
        assert "later" in log.read_text() and "later" not in old.read_text() and "earlier" in old.read_text()
    finally:
        process.terminate()
        process.wait(20)


def test_the_level_of_the_log_is_set(on):
    broker = on()
    assert done(broker, "set_log_level", "error") == ""
    done(broker, "add_vhost", "unlogged")
    done(broker, "set_log_level", "info")
    done(broker, "add_vhost", "noted")
    eventually(lambda: broker.has_logged("noted"), "the log has it")
    assert not broker.has_logged("unlogged")
    assert "there is no log level loud" in fails(broker, 65, "set_log_level", "loud")


def test_a_command_is_for_the_node_that_it_names(on):
    broker = on()
    node = json.loads(done(broker, "status", "--json"))["node"]
    for named in (node, "leveret"):
        done(broker, "-n", named, "add_user", f"of {named}", "secret")
        done(broker, "await_startup", "--node", named)
    for other in ("rabbit@elsewhere", "rabbit", node + "x"):
        told = fails(broker, 69, "-n", other, "add_user", "nobody", "secret")
        assert told == f"leveret: there is no node {other} here, the broker is {node}\n"
    assert "nobody" not in done(broker, "list_users")
