"""What is measured: the rows, what is read from each, and what Leveret must reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .process import Failed

Document = Mapping[str, Any]
"""A result of `leveret perf --json`."""

DURATION, WARMUP = "--duration", "--warmup"
MORE, LESS, NEITHER = "more", "less", "neither"


def at(path: str) -> Callable[[Document], float | None]:
    """Reads a number of a result by its names, with dots between; None if the result says null."""

    def read(document: Document) -> float | None:
        value: Any = document
        for name in path.split("."):
            if name not in value:
                raise Failed(f"the result has no {path}")
            value = value[name]
            if value is None:
                return None
        return float(value)

    return read


def quotient(over: str, under: str) -> Callable[[Document], float | None]:
    """One number of a result over another."""
    upper, lower = at(over), at(under)

    def read(document: Document) -> float | None:
        value, divisor = upper(document), lower(document)
        return None if value is None or not divisor else value / divisor

    return read


@dataclass(frozen=True)
class Measure:
    """One number of a row."""

    name: str
    title: str
    unit: str
    read: Callable[[Document], float | None]
    better: str = MORE
    target: float | None = None
    """What Leveret must reach, in the unit; None for what is only told."""
    relay: Callable[[Document], float | None] | None = None
    """The same number in a result of the relay, for rows that have one."""
    relay_limit: float | None = None
    """The multiple of the relay that Leveret must stay within."""
    per_sync: int | None = None
    """For what waits for the disk: how many can wait for one sync together."""
    aside: bool = False
    """Whether it only explains the others."""


@dataclass(frozen=True)
class Row:
    """One kind of work."""

    name: str
    title: str
    measures: tuple[Measure, ...]
    command: str = ""
    """The command of `leveret perf`; empty for what is measured without it."""
    options: Mapping[str, str | None] = field(default_factory=dict)
    smoke: Mapping[str, str] = field(default_factory=dict)
    """What a smoke run has in place of options."""
    timing: tuple[str, ...] = (DURATION, WARMUP)
    """Which of the two options the command takes."""
    kills: bool = False
    """Whether the command kills the broker, which is then to be started again."""
    relay: Mapping[str, str] | None = None
    """Options of the relay to compare with."""

    def words(self, smoke: bool = False) -> list[str]:
        """The words after `leveret perf`, without those that say where the broker is and how long."""
        return [self.command, *flat({**self.options, **(self.smoke if smoke else {})})]

    def shown(self) -> str:
        """What is run, for people."""
        return " ".join(["leveret perf", *self.words()]) if self.command else "starts the broker"


def flat(options: Mapping[str, str | None]) -> list[str]:
    """Options as words."""
    return [word for name, value in options.items() for word in (name, value) if word is not None]


def per_cpu_second(what: str, target: float | None, relay: bool = True, limit: float | None = None) -> Measure:
    """Messages for each second of the broker's CPU time."""
    return Measure(
        "per_cpu_second",
        f"{what} per CPU s",
        "/ CPU s",
        at("broker_process.messages_per_cpu_second"),
        target=target,
        relay=at("relay_process.messages_per_cpu_second") if relay else None,
        relay_limit=limit,
    )


CLIENT = Measure(
    "client",
    "messages that the client moves per CPU s of its own",
    "/ CPU s",
    at("client_process.messages_per_cpu_second"),
    NEITHER,
    aside=True,
)
CORES = Measure(
    "cores", "cores that the broker used", "", quotient("broker_process.cpu_seconds", "seconds"), NEITHER, aside=True
)
CONSUMED = Measure("rate", "messages/s", "/s", at("consumed_per_second"))

ROWS: tuple[Row, ...] = (
    Row(
        "transient",
        "16 B transient, auto-ack, 1 publisher, 1 consumer",
        (per_cpu_second("messages", 3e6, limit=5), CONSUMED, CORES, CLIENT),
        "throughput",
        {"--size": "16"},
        relay={"--size": "16"},
    ),
    Row(
        "two-queues",
        "16 B, 2 publishers, 2 consumers, 2 queues",
        (
            Measure("rate", "messages/s", "/s", at("consumed_per_second"), target=3e6),
            per_cpu_second("messages", None, relay=False),
            CORES,
            CLIENT,
        ),
        "throughput",
        {"--size": "16", "--publishers": "2", "--consumers": "2", "--queues": "2"},
    ),
    Row(
        "topic",
        "topic exchange, 100 bindings, 16 B",
        (per_cpu_second("messages", 2e6), CONSUMED, CORES, CLIENT),
        "throughput",
        # With the one that matches.
        {"--size": "16", "--exchange-type": "topic", "--bindings": "99"},
        relay={"--size": "16"},
    ),
    Row(
        "fanout",
        "fanout to 10 queues, 16 B",
        (
            per_cpu_second("deliveries", 5e6),
            Measure("rate", "deliveries/s", "/s", at("consumed_per_second")),
            CORES,
            CLIENT,
        ),
        "fanout",
        {"--size": "16", "--queues": "10"},
        relay={"--size": "16"},
    ),
    Row(
        "persistent",
        "1 KiB persistent, 100 confirms in flight, ack every 10, prefetch 200",
        (
            per_cpu_second("messages", 300e3),
            Measure("rate", "messages/s", "/s", at("consumed_per_second"), target=200e3, per_sync=100),
            Measure(
                "written",
                "bytes written to disk for each",
                "B",
                quotient("broker_process.written_bytes", "published"),
                LESS,
                aside=True,
            ),
            CORES,
            CLIENT,
        ),
        "throughput",
        {
            "--durable": None,
            "--persistent": None,
            "--size": "1024",
            "--confirm": "100",
            "--ack": "10",
            "--prefetch": "200",
        },
        relay={"--size": "1024"},
    ),
    Row(
        "latency",
        "end to end at 1,000/s, 16 B",
        (
            Measure("p50", "p50", "us", at("latency.p50_us"), LESS, target=45, relay=at("latency.p50_us")),
            Measure("p99", "p99", "us", at("latency.p99_us"), LESS, target=110, relay=at("latency.p99_us")),
            Measure("p99_9", "p99.9", "us", at("latency.p99_9_us"), LESS, relay=at("latency.p99_9_us")),
        ),
        "latency",
        {"--size": "16", "--rate": "1000"},
        relay={"--size": "16", "--rate": "1000"},
    ),
    Row(
        "backlog",
        "a durable queue, 128 B persistent, 1,000 confirms in flight, 500,000 messages",
        (
            Measure("fill", "fill, messages/s", "/s", at("fill.per_second"), target=1e6, per_sync=1000),
            Measure("memory", "memory with all of them", "B", at("fill.broker_process.rss_bytes"), LESS, target=64e6),
            Measure("drain", "drain, messages/s", "/s", at("drain.per_second"), target=2e6),
        ),
        "backlog",
        {"--messages": "500000", "--size": "128", "--confirm": "1000"},
        {"--messages": "20000"},
        timing=(),
    ),
    Row(
        "recovery",
        "kill -9 with 1,000,000 messages of 128 B in a queue",
        (
            Measure("seconds", "until one is consumed again", "s", at("restart.first_message_seconds"), LESS, target=0.05),
            Measure("memory", "memory then", "B", at("restart.rss_bytes"), LESS),
        ),
        "backlog",
        {"--messages": "1000000", "--size": "128", "--confirm": "1000", "--kill": None},
        {"--messages": "20000"},
        timing=(),
        kills=True,
    ),
    Row(
        "connections",
        "5,000 idle connections with a channel each",
        (
            Measure("memory", "memory of each", "B", at("bytes_per_connection"), LESS, target=8e3),
            Measure("rate", "opened/s", "/s", at("opened_per_second"), target=8e3),
        ),
        "connections",
        # As many at a time as keep a broker busy: fewer wait for answers most of the time. As many in all as take half a
        # second: a tenth of one, for a fifth of them, is over before anything is warm.
        {"--count": "5000", "--threads": "16"},
        {"--count": "200", "--settle": "0.5"},
        timing=(),
    ),
    Row(
        "queues",
        "1,000 durable queues one after another",
        (
            Measure("declare", "declare/s", "/s", at("declare.per_second"), target=3e3, per_sync=1),
            Measure("bind", "bind/s", "/s", at("bind.per_second"), target=4e3, per_sync=1),
            Measure("publish", "publish with confirm/s", "/s", at("publish.per_second"), target=3e3, per_sync=1),
            Measure("delete", "delete/s", "/s", at("delete.per_second"), target=3e3, per_sync=1),
        ),
        "queues",
        {"--count": "1000"},
        {"--count": "50"},
        timing=(),
    ),
    Row(
        "churn",
        "connect, open a channel, declare, close, one client",
        (Measure("rate", "cycles/s", "/s", at("cycles_per_second"), target=2e3),),
        "churn",
        timing=(DURATION,),
    ),
    Row(
        "start",
        "a start with an empty data directory",
        (
            Measure("seconds", "time until a handshake is answered", "s", at("start.seconds"), LESS, target=0.015),
            Measure("idle", "idle memory", "B", at("start.rss_bytes"), LESS, target=10e6),
        ),
    ),
)
