"""What a busy management API costs: messages through a broker that is asked all the time, and through one that is not.

Runs take turns, in another order from round to round, so that all see the same of the machine. There are three kinds: nobody
asks anything; the broker is asked; another broker is asked, which moves no messages. The last one takes the same processor
time for whoever asks, which on one machine is a part of what is measured.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .brokers import Leveret
from .measure import Pace, perf
from .process import cpu_seconds, free_port

LOGIN = {"Authorization": "Basic " + base64.b64encode(b"guest:guest").decode()}
# What pages, exporters and scalers ask for.
PATHS = (
    "/api/overview",
    "/api/queues?page=1&page_size=100",
    "/api/nodes",
    "/api/connections",
    "/api/channels",
    "/metrics",
)
KINDS = ("quiet", "asked", "other asked")


class WithApi(Leveret):
    """A broker whose management API is where we know."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.http_port = free_port()

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "LEVERET_HTTP_LISTEN": f"127.0.0.1:{self.http_port}"}

    def fill(self, queues: int) -> None:
        """Declares so many queues, for lists to have something in them."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=30)) as api:
            for number in range(queues):
                ask(api, f"/api/queues/%2F/filler{number:05}", "PUT", b'{"durable": false}')


def ask(api: http.client.HTTPConnection, path: str, method: str = "GET", body: bytes | None = None) -> None:
    """Asks, and throws the answer away."""
    api.request(method, path, body, LOGIN)
    answer = api.getresponse()
    answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path} is answered with {answer.status}")


@contextlib.contextmanager
def asking(port: int, rate: float) -> Iterator[list[int]]:
    """Somebody asks for everything in turn, so many requests a second; the one number is how many were answered."""
    over, answered = threading.Event(), [0]

    def run() -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as api:
            due = time.monotonic()
            while not over.is_set():
                ask(api, PATHS[answered[0] % len(PATHS)])
                answered[0] += 1
                due += 1 / rate
                over.wait(max(0.0, due - time.monotonic()))

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(run)
        try:
            yield answered
        finally:
            over.set()
        # What went wrong with a request.
        asked.result()


def measure(kind: str, broker: WithApi, other: WithApi, rate: float, seconds: float) -> dict[str, float]:
    """One run: messages a second, those for a second of the broker's processor time, and requests that were answered."""
    ports = {"asked": broker.http_port, "other asked": other.http_port}
    with contextlib.ExitStack() as stack:
        answered = stack.enter_context(asking(ports[kind], rate)) if kind in ports else [0]
        before = cpu_seconds(broker.pid())
        pace = Pace(seconds=seconds, warmup=1, smoke=False)
        words = ["throughput", "--url", broker.url(), "--duration", f"{seconds:g}", "--warmup", "1", "--size", "16"]
        document, _ = perf(words, pace)
        spent = cpu_seconds(broker.pid()) - before
    return {"rate": document["consumed_per_second"], "processor": spent, "requests": answered[0]}


def report(runs: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Medians of each kind, and how its rate compares with that of the quiet runs of the same rounds."""
    found = {}
    for kind, all_runs in runs.items():
        ratios = [run["rate"] / quiet["rate"] for run, quiet in zip(all_runs, runs["quiet"], strict=True)]
        medians = {key: statistics.median(run[key] for run in all_runs) for key in all_runs[0]}
        found[kind] = {**medians, "of_quiet": statistics.median(ratios)}
    return found


def main() -> int:
    """Measures, and prints a line for each kind, or all of it as JSON."""
    parser = argparse.ArgumentParser(prog="tests/busy-api.sh", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=10, help="of each run")
    parser.add_argument("--rate", type=float, default=50, help="requests a second")
    parser.add_argument("--queues", type=int, default=1000, help="queues beside the one in use")
    parser.add_argument("--json", action="store_true", help="print all runs and the medians as JSON")
    wanted = parser.parse_args()
    runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="busy-api-")))
        broker = stack.enter_context(WithApi(place / "broker"))
        other = stack.enter_context(WithApi(place / "other"))
        for one in (broker, other):
            one.start()
            one.fill(wanted.queues)
            one.settle()
        for number in range(wanted.rounds):
            turn = number % len(KINDS)
            for kind in KINDS[turn:] + KINDS[:turn]:
                runs[kind].append(measure(kind, broker, other, wanted.rate, wanted.seconds))
                print(f"round {number + 1}, {kind}: {runs[kind][-1]['rate']:,.0f}/s", file=sys.stderr)
    found = report(runs)
    if wanted.json:
        print(json.dumps({"medians": found, "runs": runs}, indent=2))
        return 0
    for kind, row in found.items():
        words = f"{row['rate']:12,.0f}/s {row['of_quiet'] * 100 - 100:+6.2f} %"
        print(f"{kind:12}{words}   processor {row['processor']:.2f} s   requests {row['requests']:.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
