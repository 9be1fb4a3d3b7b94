"""The brokers that are compared, and how each is started: as it comes, but on free ports of 127.0.0.1."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

from .machine import ROOT
from .process import Broker, Failed, Missing, free_port

RABBITMQ_PLACES = "/usr/lib/rabbitmq/lib"


class Leveret(Broker):
    """The binary of this checkout, or of LEVERET_BIN."""

    name = "leveret"
    title = "Leveret"

    @staticmethod
    def binary() -> str:
        """The program, which is the load generator too."""
        return os.environ.get("LEVERET_BIN", str(ROOT / "target" / "release" / "leveret"))

    @classmethod
    def find(cls) -> None:
        """Raises `Missing` if there is none."""
        if shutil.which(cls.binary()) is None:
            raise Missing(f"{cls.binary()} is not there: build it, or set LEVERET_BIN")

    def command(self) -> list[str]:
        return [
            self.binary(),
            "--data-dir",
            str(self.directory / "data"),
            "--listen",
            f"127.0.0.1:{self.port}",
            "--log-level",
            "warn",
        ]

    @staticmethod
    def clean() -> dict[str, str]:
        """Our environment without what would be a setting: every LEVERET_ or RABBITMQ_ variable."""
        return {key: value for key, value in os.environ.items() if not key.startswith(("LEVERET_", "RABBITMQ_"))}

    def environment(self) -> dict[str, str]:
        return {**self.clean(), "LEVERET_HTTP_LISTEN": "127.0.0.1:0", "LEVERET_PROMETHEUS_LISTEN": "127.0.0.1:0"}


class RabbitMQ(Broker):
    """Debian's package, without privileges, with a port mapper of its own and without plugins."""

    name = "rabbitmq"
    title = "RabbitMQ"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.mapper_port, self.distribution_port = free_port(), free_port()
        self.mapper: subprocess.Popen[bytes] | None = None

    @staticmethod
    def programs() -> list[Path]:
        """RabbitMQ's own scripts, one for each version; Debian's wrappers insist on a user."""
        return sorted(Path(RABBITMQ_PLACES).glob("rabbitmq_server-*/sbin/rabbitmq-server"))

    @classmethod
    def find(cls) -> None:
        """Raises `Missing` if there is none."""
        if not cls.programs() or shutil.which("epmd") is None:
            raise Missing("rabbitmq-server is not installed (Debian: apt-get install rabbitmq-server)")

    def command(self) -> list[str]:
        return [str(self.programs()[-1])]

    def environment(self) -> dict[str, str]:
        place = self.directory
        ours = {
            "HOME": place,
            "ERL_EPMD_PORT": self.mapper_port,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"peer{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": self.distribution_port,
            "RABBITMQ_MNESIA_BASE": place / "data",
            "RABBITMQ_LOG_BASE": place / "log",
            "RABBITMQ_CONF_ENV_FILE": place / "env.conf",
            "RABBITMQ_CONFIG_FILE": place / "rabbitmq",
            "RABBITMQ_ENABLED_PLUGINS_FILE": place / "plugins",
            "RABBITMQ_PID_FILE": self.pid_file,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        own = {key: value for key, value in os.environ.items() if not key.startswith("RABBITMQ_")}
        return {**own, **{key: str(value) for key, value in ours.items()}}

    def prepare(self) -> None:
        super().prepare()
        (self.directory / "rabbitmq.conf").write_text(
            f"listeners.tcp.local = 127.0.0.1:{self.port}\n"
            "disk_free_limit.absolute = 50MB\nlog.console = false\nlog.file.level = warning\n"
        )
        (self.directory / "plugins").write_text("[].\n")
        (self.directory / "env.conf").write_text("")
        if self.mapper is None:
            self.mapper = subprocess.Popen(
                ["epmd", "-address", "127.0.0.1", "-port", str(self.mapper_port)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def note_pid(self, pid: int) -> None:
        # What we start is a shell script; the machine under it writes its own pid.
        self.pid_file.unlink(missing_ok=True)

    def pid(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int(self.pid_file.read_text())
        raise Failed("RabbitMQ has not written its pid")

    def stop(self) -> None:
        super().stop()
        if self.mapper is not None:
            with contextlib.suppress(ProcessLookupError):
                self.mapper.send_signal(signal.SIGTERM)
            self.mapper.wait()
            self.mapper = None


class LavinMQ(Broker):
    """`lavinmq` on the PATH."""

    name = "lavinmq"
    title = "LavinMQ"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.other_ports = {option: free_port() for option in ("--http-port", "--mqtt-port", "--metrics-http-port")}

    @classmethod
    def find(cls) -> None:
        """Raises `Missing` if there is none."""
        if shutil.which("lavinmq") is None:
            raise Missing("lavinmq is not on the PATH")

    def command(self) -> list[str]:
        others = [word for option, port in self.other_ports.items() for word in (option, str(port))]
        data = str(self.directory / "data")
        return ["lavinmq", "--bind", "127.0.0.1", "--data-dir", data, "--amqp-port", str(self.port), *others]

    def environment(self) -> dict[str, str]:
        return {key: value for key, value in os.environ.items() if not key.startswith("LAVINMQ_")}


KINDS: tuple[type[Leveret] | type[RabbitMQ] | type[LavinMQ], ...] = (Leveret, RabbitMQ, LavinMQ)
