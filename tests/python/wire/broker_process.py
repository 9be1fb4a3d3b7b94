"""The broker under test: one that runs already, or a Leveret of our own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from support.broker import Leveret, running_broker

from .client import Peer, Stage


@dataclass(frozen=True)
class Target:
    """Where the broker listens and which one it is."""

    address: tuple[str, int]
    rabbitmq: bool
    log: list[str] | None = None
    """The lines of its log so far, when it is ours."""

    pid: int | None = None
    """Its process, when it is ours."""

    def cpu_seconds(self) -> float:
        """The processor time the broker has used, 0 when it is not ours."""
        if self.pid is None:
            return 0.0
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def silent(self) -> tuple[float, float]:
        """The least and the most seconds before a silent close."""
        return (2.0, 6.0) if self.rabbitmq else (0.8, 3.0)


def is_rabbitmq(address: tuple[str, int]) -> bool:
    """Whether the broker is RabbitMQ: it names Erlang as its platform."""
    peer = Peer(address)
    peer.advance(Stage.STARTED)
    peer.drop()
    assert peer.start is not None
    server = peer.start.args["server_properties"]
    assert isinstance(server, dict)
    return "Erlang" in str(server.get("platform", ""))


def running_target() -> Target | None:
    """The broker that LEVERET_TEST_URL names, if it is set."""
    broker = running_broker()
    if broker is None:
        return None
    address = (broker.host, broker.port)
    return Target(address, is_rabbitmq(address))


class OwnBroker(Leveret):
    """A Leveret of our own that keeps nothing on disk and may listen on another form of loopback."""

    def __init__(self, settings: Mapping[str, str], host: str = "127.0.0.1") -> None:
        super().__init__(settings)
        self.host = host
        self.start()
        self.target = Target((self.host, self.port), rabbitmq=False, log=self.lines, pid=self.process.pid)

    def command(self) -> list[str]:
        """The command line, with our host."""
        listen = f"[{self.host}]:0" if ":" in self.host else f"{self.host}:0"
        words = [str(word) for word in super().command()]
        words[words.index("--listen") + 1] = listen
        return words

    def _listening_port(self) -> int | None:
        ended = self.has_ended()
        for record in self.records():
            if record.get("message") == "listening":
                for value in record.values():
                    host, _, port = str(value).rpartition(":")
                    if host.strip("[]") == self.host:
                        return int(port)
        if ended:
            raise AssertionError(f"the broker ended: {self.log_text()}")
        return None
