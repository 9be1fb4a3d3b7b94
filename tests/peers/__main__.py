"""The command line of the comparison with other brokers."""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import machine, results, table
from .brokers import KINDS
from .measure import Pace
from .process import Broker, Missing
from .rounds import Contest
from .rows import ROWS, Row

FILES = 65536
QUIET_LOAD = 0.3
OUTPUT = machine.ROOT / "target" / "peers.json"


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="tests/bench-peers.sh", description="Measure brokers side by side.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only these rows; all without")
    parser.add_argument("--list", action="store_true", help="list the rows with their commands and end")
    parser.add_argument("--smoke", action="store_true", help="one short round, to see that all of it works")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "5")), help="default 5, or ROUNDS")
    seconds = float(os.environ.get("SECONDS_PER_RUN", "10"))
    parser.add_argument("--seconds", type=float, default=seconds, help="of each run; default 10, or SECONDS_PER_RUN")
    parser.add_argument("--warmup", type=float, default=2, help="seconds before that are not counted; default 2")
    names = ",".join(kind.name for kind in KINDS)
    parser.add_argument("--brokers", default=names, metavar="NAMES", help=f"those to measure, of {names}; default all there are")
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()), help="where the brokers have their data")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="the JSON file; default target/peers.json")
    asked = parser.parse_args()
    unknown = set(asked.rows) - {row.name for row in ROWS}
    if unknown:
        parser.error(f"no row {', '.join(sorted(unknown))}; there are {', '.join(row.name for row in ROWS)}")
    unknown = set(asked.brokers.split(",")) - {kind.name for kind in KINDS}
    if unknown:
        parser.error(f"no broker {', '.join(sorted(unknown))}; there are {names}")
    if asked.rounds < 1 or asked.seconds <= 0 or asked.warmup < 0:
        parser.error("at least one round, and seconds above 0")
    return asked


def installed(names: list[str]) -> Iterator[type[Broker]]:
    """The brokers among these that are on this machine; those that are not are told."""
    for kind in KINDS:
        if kind.name in names:
            try:
                kind.find()
                yield kind
            except Missing as missing:
                print(f"{kind.title} is left out: {missing}", file=sys.stderr)


def chosen(names: list[str]) -> list[Row]:
    """The rows of these names, or all."""
    return [row for row in ROWS if not names or row.name in names]


def allow_files() -> None:
    """Lets brokers and clients have as many files as are needed for the connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def main() -> int:
    """Measure, write, print; 0 unless nothing could be measured."""
    asked = options()
    # So that what was started ends with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    allow_files()
    rows = chosen(asked.rows)
    if asked.list:
        for row in rows:
            print(f"{row.name:12} {row.title}: {row.shown()}")
        return 0
    pace = Pace(1, 0, True, 1) if asked.smoke else Pace(asked.seconds, asked.warmup, False)
    kinds = list(installed(asked.brokers.split(",")))
    if not kinds:
        return 1
    facts = machine.facts(asked.dir)
    if facts["load_average"] > QUIET_LOAD:
        print(f"the machine is not quiet (load average {facts['load_average']:.2f}): numbers will be too low", file=sys.stderr)
    if facts["file_system"] == "tmpfs":
        print(f"{asked.dir} is in memory: say by --dir where there is a disk, or rows with it mean nothing", file=sys.stderr)
    contest = Contest(rows, kinds, pace, 1 if asked.smoke else asked.rounds, asked.dir, facts)
    try:
        for document in contest.run():
            results.write(document, asked.out)
    except KeyboardInterrupt:
        print("interrupted: what is finished is kept", file=sys.stderr)
    document = contest.document()
    results.write(document, asked.out)
    tables = (table.markdown(document, aside, aligned=True) for aside in (False, True))
    print("\n\n".join(filter(None, (table.conditions(document), *tables, "\n".join(table.problems(document))))))
    print(f"written to {asked.out}", file=sys.stderr)
    return 0 if contest.measured() else 1


if __name__ == "__main__":
    sys.exit(main())
