"""Many sequences at once, and what came of them."""

from __future__ import annotations

import collections
import concurrent.futures
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field

from .compare import Difference, Pair
from .generate import Generator
from .operations import Operation
from .shrink import shrink

CONFIRMATIONS = 2


@dataclass(frozen=True)
class Task:
    """One seed to run."""

    pair: Pair
    seed: int
    length: int
    shrinks: bool


@dataclass(frozen=True)
class Outcome:
    """What came of a seed."""

    seed: int
    operations: int
    difference: Difference | None = None
    sequence: tuple[Operation, ...] = ()
    passing: bool = False
    """It differed once and then no more."""
    failure: str = ""
    evened: collections.Counter[str] = field(default_factory=collections.Counter)

    def text(self) -> str:
        """The difference as readable text."""
        if self.failure:
            return f"== seed {self.seed}: the test itself failed\n{self.failure}"
        assert self.difference is not None
        lines = [f"== seed {self.seed}, operation {self.difference.at + 1}"]
        lines += [f"{n:3} {operation.text()}" for n, operation in enumerate(self.sequence, 1)]
        left, right = self.difference.rabbitmq.lines(), self.difference.leveret.lines()
        lines += [f"    RabbitMQ: {line}" for line in left if line not in right]
        lines += [f"    Leveret:  {line}" for line in right if line not in left]
        lines += [f"    both:     {line}" for line in left if line in right]
        return "\n".join(lines)


def run_one(task: Task) -> Outcome:
    """One seed, with the shrinking of its difference."""
    sequence = Generator(task.seed).sequence(task.length)
    try:
        evened: collections.Counter[str] = collections.Counter()
        found = task.pair.run(sequence, evened)
        if found is None:
            return Outcome(task.seed, len(sequence), evened=evened)
        if found.known:
            return Outcome(task.seed, found.at + 1, found, tuple(sequence[: found.at + 1]), evened=evened)
        found = task.pair.confirm(sequence, CONFIRMATIONS)
        if found is None:
            return Outcome(task.seed, len(sequence), passing=True)
        sequence = sequence[: found.at + 1]
        if task.shrinks and not found.known:
            sequence, found = shrink(task.pair, sequence, found)
        return Outcome(task.seed, found.at + 1, found, tuple(sequence))
    except Exception:
        return Outcome(task.seed, 0, failure=traceback.format_exc())


def outcomes(pool: concurrent.futures.ProcessPoolExecutor, tasks: list[Task]) -> Iterator[Outcome]:
    """What came of each, as it comes. When we are told to end, what has not begun is left."""
    try:
        for done in concurrent.futures.as_completed([pool.submit(run_one, task) for task in tasks]):
            yield done.result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def run_all(tasks: list[Task], workers: int) -> int:
    """All of them; prints the differences as they come and a summary, and answers how many were not known."""
    begin = time.monotonic()
    names: collections.Counter[str] = collections.Counter()
    operations = passing = bad = 0
    with concurrent.futures.ProcessPoolExecutor(workers) as pool:
        for outcome in outcomes(pool, tasks):
            operations += outcome.operations
            passing += outcome.passing
            names.update(outcome.evened)
            if outcome.difference is not None and outcome.difference.known:
                names[outcome.difference.known] += 1
            elif outcome.difference is not None or outcome.failure:
                bad += 1
                print(outcome.text(), flush=True)
    seconds = time.monotonic() - begin
    print(f"\n{len(tasks)} sequences, {operations} operations, {seconds:.0f} s ({len(tasks) / seconds:.1f} sequences/s)")
    print(f"{bad} differences, {sum(names.values())} known ones, {passing} that did not come again")
    for name, count in names.most_common():
        print(f"  {count:5} {name}")
    return bad
