"""One measurement: a fresh broker on an empty directory, alone on the machine, and `leveret perf` against it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .brokers import Leveret
from .process import Broker, Failed
from .rows import DURATION, WARMUP, Document, Row, flat

PATIENCE_SECONDS = 300
IDLE_SECONDS = 5


@dataclass(frozen=True)
class Pace:
    """How long each run is."""

    seconds: float
    warmup: float
    smoke: bool
    idle: float = IDLE_SECONDS
    """How long a broker is idle before its memory is looked at."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    values: Mapping[str, float | None]
    notes: tuple[str, ...] = ()
    """What perf told beside the numbers: messages that did not come, a broker that blocked."""
    product: str = ""


def relay_words(row: Row, pace: Pace) -> list[str]:
    """The words after `leveret perf` for the relay that a row is compared with."""
    return ["relay", *flat(row.relay or {}), *timing(pace)]


def timing(pace: Pace, options: tuple[str, ...] = (DURATION, WARMUP)) -> list[str]:
    """The options that say how long, as far as a command has them."""
    values = {DURATION: pace.seconds, WARMUP: pace.warmup}
    return flat({option: f"{values[option]:g}" for option in options})


def perf(command: list[str], pace: Pace) -> tuple[Document, tuple[str, ...]]:
    """Runs `leveret perf` and answers its result and what it told on standard error."""
    line = [Leveret.binary(), "perf", *command, "--json", "-"]
    patience = pace.seconds + pace.warmup + PATIENCE_SECONDS
    try:
        done = subprocess.run(line, env=Leveret.clean(), capture_output=True, text=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"leveret perf {command[0]} did not end within {patience:.0f} s") from None
    told = tuple(filter(None, (text.strip().removeprefix("leveret: ") for text in done.stderr.splitlines())))
    if done.returncode != 0:
        raise Failed(f"leveret perf {command[0]}: {told[-1] if told else f'exit code {done.returncode}'}")
    return json.loads(done.stdout), told


def measure_broker(row: Row, kind: type[Broker], pace: Pace, directory: Path) -> Outcome:
    """One run of a row against a broker."""
    with (
        tempfile.TemporaryDirectory(prefix=f"peers-{kind.name}-", dir=directory) as place,
        kind(Path(place) / "broker") as broker,
    ):
        seconds = broker.start()
        broker.settle()
        if not row.command:
            time.sleep(pace.idle)
            document: Document = {"start": {"seconds": seconds, "rss_bytes": broker.resident_bytes()}}
            told: tuple[str, ...] = ()
        else:
            command = [*row.words(pace.smoke), *timing(pace, row.timing), "--url", broker.url()]
            process = ["--pid-file", str(broker.pid_file)] if row.kills else ["--pid", str(broker.pid())]
            with reviving(broker) if row.kills else contextlib.nullcontext():
                document, told = perf([*command, *process], pace)
        values = {measure.name: measure.read(document) for measure in row.measures}
        return Outcome(values, told, product(document))


@contextlib.contextmanager
def reviving(broker: Broker) -> Iterator[None]:
    """Starts the broker again when perf has killed it. After this it is stopped."""
    thread = threading.Thread(target=broker.revive, daemon=True)
    thread.start()
    try:
        yield
    finally:
        broker.stop()
        thread.join()


def measure_relay(row: Row, pace: Pace) -> Outcome:
    """One run of the relay that a row is compared with."""
    document, told = perf(relay_words(row, pace), pace)
    return Outcome({measure.name: measure.relay(document) for measure in row.measures if measure.relay is not None}, told)


def measure_sync(pace: Pace, directory: Path) -> float:
    """The p50 of a sync on the file system of the data, in microseconds."""
    document, _ = perf(["sync", "--dir", str(directory), "--count", "100" if pace.smoke else "2000"], pace)
    return float(document["sync"]["p50_us"])


def product(document: Mapping[str, Any]) -> str:
    """What the broker calls itself, with its version."""
    broker = document.get("broker") or {}
    return " ".join(str(part) for part in (broker.get("product"), broker.get("version")) if part)
