"""The command line of the differential test."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import urllib.parse
from pathlib import Path

from peers.brokers import RabbitMQ
from peers.process import Missing
from support.broker import Leveret

from .compare import Address, Pair
from .generate import Generator
from .run import Task, run_all


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="tests/differential.sh", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the seed of the first sequence")
    parser.add_argument("--sequences", type=int, default=200, help="how many, with the seeds that follow")
    parser.add_argument("--length", type=int, default=40, help="operations in each")
    parser.add_argument("--shrink", action="store_true", help="make each sequence that differs as short as possible")
    parser.add_argument("--show", action="store_true", help="print the sequences and run nothing")
    parser.add_argument("--rabbitmq", metavar="URL", help="a running RabbitMQ instead of one of our own")
    parser.add_argument("--leveret", metavar="URL", help="a running Leveret instead of one of our own")
    parser.add_argument("--workers", type=int, default=2 * (os.cpu_count() or 1), help="sequences at a time")
    return parser.parse_args()


def address(url: str) -> Address:
    """The address in an AMQP URL."""
    parts = urllib.parse.urlparse(url)
    user, password = (urllib.parse.unquote(text or "guest") for text in (parts.username, parts.password))
    return Address(parts.hostname or "127.0.0.1", parts.port or 5672, user, password)


def main() -> int:
    """Start what is needed, run, and answer the exit code."""
    asked = options()
    # So that what was started ends with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    seeds = range(asked.seed, asked.seed + asked.sequences)
    if asked.show:
        for seed in seeds:
            print(f"== seed {seed}")
            for number, operation in enumerate(Generator(seed).sequence(asked.length), 1):
                print(f"{number:3} {operation.text()}")
        return 0
    with contextlib.ExitStack() as stack:
        try:
            if asked.rabbitmq:
                rabbitmq = address(asked.rabbitmq)
            else:
                RabbitMQ.find()
                place = stack.enter_context(tempfile.TemporaryDirectory(prefix="differential-rabbitmq-"))
                own = stack.enter_context(RabbitMQ(Path(place) / "broker"))
                own.start()
                rabbitmq = Address("127.0.0.1", own.port, "guest", "guest")
        except Missing as missing:
            print(f"SKIPPED: {missing}, and no --rabbitmq URL is given", file=sys.stderr)
            return 77
        if asked.leveret:
            leveret = address(asked.leveret)
        else:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="differential-leveret-"))
            ours = stack.enter_context(Leveret(data_dir=directory))
            leveret = Address(ours.host, ours.port, ours.user, ours.password)
        pair = Pair(rabbitmq, leveret)
        bad = run_all([Task(pair, seed, asked.length, asked.shrink) for seed in seeds], asked.workers)
        return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
