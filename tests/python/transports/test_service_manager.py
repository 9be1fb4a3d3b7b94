"""What a service manager hears over NOTIFY_SOCKET."""

import os
import signal
import socket
import subprocess

import pytest

from support.broker import Leveret
from support.deadline import eventually

pytestmark = pytest.mark.own_broker


class Managed(Leveret):
    """A broker that is told of a service manager."""

    def __init__(self, notify, watchdog=None, **options):
        super().__init__(**options)
        self.variables = {"NOTIFY_SOCKET": notify} | ({"WATCHDOG_USEC": str(watchdog)} if watchdog else {})

    def environment(self):
        return super().environment() | self.variables


@pytest.fixture
def manager(tmp_path):
    """The socket of a service manager, and what it has heard."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        yield listening


def next_but(manager, *unwanted):
    """The next thing it hears that is none of these."""
    while True:
        heard = manager.recv(4096).decode().split()
        if heard not in [list(one) for one in unwanted]:
            return heard


def test_it_hears_of_start_reload_life_and_end(manager, tmp_path):
    with Managed(str(tmp_path / "notify"), watchdog=200_000, data_dir=tmp_path / "data") as broker:
        alive = ["WATCHDOG=1"]
        assert next_but(manager, alive) == ["READY=1"]
        for _ in range(3):
            assert manager.recv(4096).decode().split() == alive
        broker.process.send_signal(signal.SIGHUP)
        reloading = next_but(manager, alive)
        assert reloading[0] == "RELOADING=1"
        assert reloading[1].startswith("MONOTONIC_USEC=")
        assert next_but(manager, alive) == ["READY=1"]
        broker.terminate()
        assert next_but(manager, alive) == ["STOPPING=1"]
        assert broker.wait() == 0


def test_without_a_watchdog_there_is_no_sign_of_life(manager, tmp_path):
    with Managed(str(tmp_path / "notify")):
        assert manager.recv(4096).decode().split() == ["READY=1"]
        manager.settimeout(0.3)
        with pytest.raises(TimeoutError):
            manager.recv(4096)


def test_ping_tells_whether_a_broker_runs(tmp_path):
    ping = ["ctl", "ping", "--data-dir", str(tmp_path / "data")]

    def code(broker):
        words = [broker.command()[0], *ping]
        return subprocess.run(words, env=broker.environment(), capture_output=True, check=False).returncode

    broker = Leveret(data_dir=tmp_path / "data")
    assert code(broker) == 69
    with broker:
        assert code(broker) == 0
    assert code(broker) == 69


def test_what_others_may_read_is_told(tmp_path):
    directory = tmp_path / "data"
    with Leveret(data_dir=directory) as broker:
        assert directory.stat().st_mode & 0o777 == 0o700
        assert all(path.stat().st_mode & 0o077 == 0 for path in directory.iterdir() if path.name != "control")
        assert not broker.has_logged("open to others")
    directory.chmod(0o750)
    config = tmp_path / "leveret.toml"
    config.write_text('[auth]\ndefault_pass = "hush"\n')
    config.chmod(0o644)
    with Leveret(data_dir=directory, wrapper=["env", f"LEVERET_CONFIG_FILE={config}"]) as broker:
        eventually(lambda: broker.has_logged("the data directory is open to others"), "a warning")
        assert broker.has_logged("everybody may read the passwords in the configuration")
        assert broker.has_logged("running as root") == (os.geteuid() == 0)
