"""How the comparison starts brokers, waits for them and ends them: one that only shakes hands, and Leveret."""

import os
import socket
import sys
import threading

import pytest
from peers import measure
from peers.brokers import KINDS, Leveret, RabbitMQ
from peers.process import Broker, Failed, answers
from peers.rows import ROWS

SHAKES_HANDS = """
import pathlib, socket, sys
pathlib.Path("launches").open("a").write("x")
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection, _ = listener.accept()
    connection.recv(8)
    connection.sendall(bytes([1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 10, 0xCE]))
    connection.close()
"""


class ShakesHands(Broker):
    """A process that answers the protocol header and no more."""

    name = title = "hands"

    def command(self):
        return [sys.executable, "-c", SHAKES_HANDS, str(self.port)]


class Fails(Broker):
    """A process that ends at once."""

    name = title = "fails"

    def command(self):
        return [sys.executable, "-c", "import sys; print('no such luck'); sys.exit(3)"]


def is_there(pid):
    """Whether the process is there and not only waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_broker_is_started_measured_and_ended(tmp_path):
    with ShakesHands(tmp_path / "broker") as broker:
        assert 0 < broker.start() < broker.start_seconds
        pid = broker.pid()
        assert int(broker.pid_file.read_text()) == pid
        assert broker.resident_bytes() > 1_000_000
        broker.settle()
        assert answers(broker.port)
    assert not is_there(pid)
    assert not (tmp_path / "broker").exists()


def test_a_broker_that_is_killed_comes_back_on_the_same_port(tmp_path):
    with ShakesHands(tmp_path / "broker") as broker:
        broker.start()
        first = broker.pid()
        thread = threading.Thread(target=broker.revive)
        thread.start()
        os.kill(first, 9)
        thread.join(30)
        assert not thread.is_alive()
        second = broker.pid()
        assert second != first and int(broker.pid_file.read_text()) == second
        while not answers(broker.port):
            assert broker.process.poll() is None
    assert not is_there(second)


def test_a_broker_that_was_ended_does_not_come_back(tmp_path):
    broker = ShakesHands(tmp_path / "broker")
    broker.start()
    with measure.reviving(broker):
        pass
    assert broker.process.poll() is not None and not answers(broker.port)
    assert (tmp_path / "broker" / "launches").read_text() == "x"


def test_a_broker_that_ends_at_the_start_is_told_with_its_last_words(tmp_path):
    with Fails(tmp_path / "broker") as broker, pytest.raises(Failed, match="ended with 3 .*no such luck"):
        broker.start()


@pytest.mark.parametrize(
    "said", [b"", b"AMQP\x00\x00\x09\x01", b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes([1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 50])]
)
def test_only_a_connection_start_is_an_answer(said):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(8)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        assert not answers(listener.getsockname()[1])
        thread.join()


def test_a_port_where_nobody_listens_is_no_answer():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert not answers(bound.getsockname()[1])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_broker_is_told_to_listen_on_loopback_and_hears_no_setting_of_ours(kind, tmp_path, monkeypatch):
    names = ("LEVERET_AMQP_HEARTBEAT", "RABBITMQ_SERVER_START_ARGS", "LAVINMQ_AMQP_PORT")
    for name in names:
        monkeypatch.setenv(name, "7")
    broker = kind(tmp_path / kind.name)
    environment = broker.environment()
    assert not any(name.startswith(kind.name.upper()) for name in names if name in environment)
    told = " ".join(environment.values()) if kind is RabbitMQ else " ".join(broker.command())
    assert "127.0.0.1" in told and str(broker.port) in told.replace(":", " ").split()


@pytest.mark.own_broker
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_is_measured_with_leveret(row, tmp_path):
    outcome = measure.measure_broker(row, Leveret, measure.Pace(0.3, 0, True, 0), tmp_path)
    assert set(outcome.values) == {entry.name for entry in row.measures}
    # A short run may take too little CPU time to be measured, and only root is told what goes to the disk.
    missing = {name for name, value in outcome.values.items() if value is None}
    assert missing <= {"per_cpu_second", "client", "written"}
    assert row.name == "start" or outcome.product.startswith("Leveret ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.own_broker
@pytest.mark.parametrize("row", [row for row in ROWS if row.relay is not None], ids=lambda row: row.name)
def test_every_relay_is_measured(row):
    outcome = measure.measure_relay(row, measure.Pace(0.3, 0, True, 0))
    assert set(outcome.values) == {entry.name for entry in row.measures if entry.relay is not None}


def test_a_sync_is_measured(tmp_path):
    assert measure.measure_sync(measure.Pace(0.3, 0, True, 0), tmp_path) > 0


@pytest.mark.own_broker
def test_a_run_that_fails_is_told(tmp_path):
    row = next(row for row in ROWS if row.name == "latency")
    with pytest.raises(Failed, match="leveret perf latency: "):
        measure.perf([*row.words(), "--url", "amqp://guest:guest@127.0.0.1:1/"], measure.Pace(1, 0, True))
