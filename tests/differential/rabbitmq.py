"""A RabbitMQ of our own: Debian's package, without privileges, on free ports and in a temporary directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from support.broker import free_port
from support.deadline import eventually

PLACES = "/usr/lib/rabbitmq/lib"
START_SECONDS = 90


class Missing(Exception):
    """RabbitMQ is not installed."""


def programs() -> Path:
    """The directory of RabbitMQ's own scripts; Debian's wrappers insist on a user."""
    found = sorted(Path(PLACES).glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    if not found or shutil.which("epmd") is None:
        raise Missing("rabbitmq-server is not installed (Debian: apt-get install rabbitmq-server), and no --rabbitmq URL is given")
    return found[-1].parent


class RabbitMQ:
    """The server and its port mapper, both ours and both ended with us."""

    def __init__(self) -> None:
        self.scripts = programs()
        self.host, self.port = "127.0.0.1", free_port()
        self.user = self.password = "guest"
        self.directory = Path(tempfile.mkdtemp(prefix="differential-rabbitmq-"))
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> RabbitMQ:
        mapper, distribution = free_port(), free_port()
        environment = self._environment(mapper, distribution)
        log = (self.directory / "console.log").open("wb")
        for command in (["epmd", "-address", "127.0.0.1", "-port", str(mapper)], [str(self.scripts / "rabbitmq-server")]):
            self.processes.append(
                subprocess.Popen(
                    command,
                    env=environment,
                    cwd=self.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        eventually(self._listens, f"RabbitMQ listens; see {self.directory}", START_SECONDS, 0.2)
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _environment(self, mapper: int, distribution: int) -> dict[str, str]:
        place = self.directory
        (place / "rabbitmq.conf").write_text(
            f"listeners.tcp.local = 127.0.0.1:{self.port}\n"
            "disk_free_limit.absolute = 50MB\nlog.console = false\nlog.file.level = warning\n"
        )
        (place / "plugins").write_text("[].\n")
        (place / "env.conf").write_text("")
        ours = {
            "HOME": place,
            "ERL_EPMD_PORT": mapper,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"differential{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": distribution,
            "RABBITMQ_MNESIA_BASE": place / "data",
            "RABBITMQ_LOG_BASE": place / "log",
            "RABBITMQ_CONF_ENV_FILE": place / "env.conf",
            "RABBITMQ_CONFIG_FILE": place / "rabbitmq",
            "RABBITMQ_ENABLED_PLUGINS_FILE": place / "plugins",
            "RABBITMQ_PID_FILE": place / "pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        return {**os.environ, **{key: str(value) for key, value in ours.items()}}

    def _listens(self) -> bool:
        if self.processes[-1].poll() is not None:
            raise AssertionError(f"RabbitMQ ended with {self.processes[-1].returncode}; see {self.directory}")
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 1):
            return True
        return False
