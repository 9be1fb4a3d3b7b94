"""kill -9 at any moment, again and again on one directory, and an audit of the ledger after it.

LEVERET_CRASH_CYCLES  how many kills (25)
LEVERET_CRASH_SEED    the seed of a run to repeat, as far as threads and disks let it repeat
LEVERET_CRASH_KEEP    a directory: the data of the last kills before a failure are copied to it
"""

import os
import random
import shutil
import threading
import time
from pathlib import Path

import pytest

from durability import crew
from durability.ledger import Ledger
from durability.link import Gone, Link
from support.broker import Leveret
from wire import frames

pytestmark = pytest.mark.own_broker

CYCLES = int(os.environ.get("LEVERET_CRASH_CYCLES", "25"))
SEED = int(os.environ.get("LEVERET_CRASH_SEED", random.SystemRandom().randrange(10**9)))
KEEP = os.environ.get("LEVERET_CRASH_KEEP")
CHAIN = 4
"""Kills in a row after which the queues are emptied; before that the audit puts everything back."""


class Loop:
    """A data directory, the broker on it, the crew and its ledger."""

    def __init__(self, directory, seed):
        self.rng = random.Random(seed)
        self.ledger = Ledger()
        self.directory = directory
        self.broker = None
        self.kills = 0
        self.slowest_start = 0.0
        self.churner = self.hire(crew.Churner, "churner")
        self.workers = [
            self.churner,
            *(self.hire(crew.Publisher, f"publisher{number}") for number in range(3)),
            *(self.hire(crew.Consumer, f"consumer.{queue}", queue) for queue in ("s0", "s1", "s2", "s4")),
            *(self.hire(crew.Transactor, f"tx.{name}", [f"{name}0", f"{name}1"]) for name in ("t", "u")),
            self.hire(crew.Getter, "getter"),
            self.hire(crew.AutomaticGetter, "automatic"),
            self.hire(crew.Purger, "purger"),
        ]

    def hire(self, kind, name, *more):
        """A worker with a random generator of its own."""
        return kind(name, self.ledger, self.rng, *more)

    def settings(self):
        """Other sizes of files at every start, mostly small, so that their borders are met often."""
        size = self.rng.choice((4, 16, 64, 256, 1024, 65536))
        # Long backlogs go to segments, and are read from there again by the next lives.
        self.ledger.heavy = self.rng.random() < 0.3
        if self.ledger.heavy:
            size = self.rng.choice((16, 64, 256))
        return {
            "storage.journal_file": f"{size}KiB",
            "storage.journal_budget": f"{size * self.rng.choice((1, 4))}KiB",
            "storage.sync": self.rng.choice(("always", "always", "always", "100ms", "never")),
            "memory.messages": self.rng.choice(("8MiB", "1GiB")),
        }

    def start(self):
        """Starts a broker on the directory; sometimes it is killed while it starts."""
        while True:
            self.broker = Leveret(self.settings(), data_dir=self.directory)
            if self.kills and self.rng.random() < 0.2:
                self.broker.launch()
                time.sleep(self.rng.uniform(0, 0.03))
                self.broker.kill()
                self.kills += 1
                continue
            begin = time.monotonic()
            self.broker.start()
            self.slowest_start = max(self.slowest_start, time.monotonic() - begin)
            damage = [record for record in self.broker.records() if record["level"] == "ERROR"]
            assert not damage, damage
            return (self.broker.host, self.broker.port)

    def cycle(self, seconds):
        """Lets the crew work and ends the broker, mostly by force."""
        address = (self.broker.host, self.broker.port)
        threads = [threading.Thread(target=worker.run, args=(address,), daemon=True) for worker in self.workers]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        if self.rng.random() < 0.1:
            assert self.broker.stop() == 0, self.broker.log_text()
        else:
            assert self.broker.running(), self.broker.log_text()
            self.broker.kill()
            self.kills += 1
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive(), f"{thread} does not end"
        if KEEP:
            shutil.rmtree(KEEP, ignore_errors=True)
            shutil.copytree(self.directory, KEEP)

    def audit(self, empty):
        """Compares all that is in the broker with the ledger."""
        link = Link((self.broker.host, self.broker.port))
        there = [queue for queue in self.churner.QUEUES if link.exists("queue", queue)]
        for queue in set(self.churner.QUEUES) - set(there):
            if self.churner.state.get(("queue", queue), False) is None:
                self.ledger.drop_queue(queue)
        queues = [*crew.SHARED, "gets", "purged", "t0", "t1", "u0", "u1", *there]
        self.ledger.audit({queue: link.all_of(queue) for queue in queues})
        for worker in self.workers:
            worker.audit(link)
        if empty:
            link.send(frames.method("basic.ack", delivery_tag=0, multiple=True))
        # The acknowledgements are certain with the answer.
        link.call("basic.qos", prefetch_count=1)
        if empty:
            for queue in queues:
                self.ledger.drop_queue(queue)
        link.bye()
        assert not self.ledger.errors, "\n".join(self.ledger.errors[:30])


@pytest.mark.timeout(60 + 10 * CYCLES)
def test_nothing_confirmed_is_lost_and_nothing_gone_comes_back(tmp_path, capsys):
    loop = Loop(tmp_path / "data", SEED)
    try:
        crew.prepare(loop.start())
        for cycle in range(1, CYCLES + 1):
            short = loop.rng.random() < (0.4 if loop.ledger.heavy else 0.8)
            loop.cycle(loop.rng.uniform(0.005, 0.8) if short else loop.rng.uniform(1.0, 1.6))
            loop.start()
            loop.audit(empty=cycle % CHAIN == 0)
        assert loop.broker.stop() == 0
    except (AssertionError, Gone) as error:
        log = loop.broker.log_text()[-3000:] if loop.broker else ""
        raise AssertionError(f"seed {SEED}, after {loop.kills} kills: {error}\n{log}") from error
    finally:
        if loop.broker.running():
            loop.broker.kill()
    used = sum(path.stat().st_blocks * 512 for path in Path(loop.directory).iterdir())
    with capsys.disabled():
        if "LEVERET_CRASH_CYCLES" in os.environ:
            print(f"\n{loop.kills} kills, {loop.ledger.counts}, slowest start {loop.slowest_start:.2f} s, {used} bytes")
