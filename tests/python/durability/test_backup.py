"""`leveret storage backup`: copies of a broker that works, and of one that does not run."""

import os
import re
import signal
import socket
import subprocess
import threading

import pytest

from durability import message
from durability.link import Gone, Link
from support.broker import Leveret, binary
from support.deadline import eventually
from wire import frames

pytestmark = pytest.mark.own_broker

QUEUE = "work"
SMALL = {"storage.journal_file": "256KiB", "storage.journal_budget": "1MiB"}
"""So small that checkpoints come all the time, and messages go to segments."""


def backup(data_dir, target, **options):
    """Runs the command and answers its (exit code, standard output, standard error)."""
    words = [str(binary()), "storage", "backup", "--data-dir", str(data_dir), str(target)]
    done = subprocess.run(words, env=Leveret.environment(), capture_output=True, text=True, timeout=60, **options)
    return done.returncode, done.stdout, done.stderr


def refused(data_dir, target, text):
    """The command fails with one line that has `text` in it."""
    code, out, err = backup(data_dir, target)
    assert (code, out) == (1, ""), (out, err)
    assert err.startswith("leveret: cannot back up ") and text in err and err.count("\n") == 1, err


class Known:
    """What clients know of the messages in the queue."""

    def __init__(self):
        self.sizes = {}
        self.confirmed = set()
        self.asked = set()
        self.gone = set()

    def copy(self):
        """As it is now."""
        found = Known()
        # The other way round than messages go, so that none is missed on its way.
        found.gone, found.asked, found.confirmed = set(self.gone), set(self.asked), set(self.confirmed)
        found.sizes = dict(self.sizes)
        return found


class Traffic:
    """Publishers and a consumer, each with a thread, until it is left. `known` is only added to, by one thread each."""

    PUBLISHERS = 2

    def __init__(self, broker):
        self.address = (broker.host, broker.port)
        self.known = Known()
        self.stop = threading.Event()
        self.errors = []
        link = Link(self.address)
        link.call("queue.declare", queue=QUEUE, durable=True)
        link.bye()
        works = [lambda number=number: self.publish(number) for number in range(self.PUBLISHERS)]
        self.threads = [threading.Thread(target=self.run, args=(work,), daemon=True) for work in (*works, self.consume)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()
        assert not self.errors, self.errors

    def run(self, work):
        """What a thread does; whatever goes wrong is told."""
        try:
            work()
        except (AssertionError, Gone, OSError) as error:
            self.errors.append(repr(error))

    def publish(self, number):
        """Publishes in batches and waits for the confirms."""
        link = Link(self.address)
        link.call("confirm.select")
        uid, tag = number + self.PUBLISHERS, 0
        while not self.stop.is_set():
            batch = range(uid, uid + 20 * self.PUBLISHERS, self.PUBLISHERS)
            uid = batch.stop
            for each in batch:
                size = each * 7919 % 3000
                self.known.sizes[each] = size
                link.send(message.publish("", QUEUE, each, size))
            while tag < (uid - number) // self.PUBLISHERS - 1:
                method, _ = link.next()
                assert method.name == "basic.ack", method
                tag = method.number("delivery_tag")
            self.known.confirmed.update(batch)
        link.bye()

    def consume(self):
        """Takes most of it; its answers make sure that what it acknowledged is gone."""
        link = Link(self.address)
        link.call("basic.qos", prefetch_count=50)
        while not self.stop.is_set():
            taken = []
            for _ in range(15):
                got = link.get(QUEUE)
                if got is None:
                    break
                method, content = got
                uid = message.number_of(content)
                # Some are never acknowledged.
                if uid % 10 == 0:
                    continue
                self.known.asked.add(uid)
                taken.append(uid)
                link.send(frames.method("basic.ack", delivery_tag=method.number("delivery_tag")))
            link.call("queue.declare", queue=QUEUE, passive=True)
            self.known.gone.update(taken)
        link.bye()


def audit(broker, before, after):
    """Judges a copy that was asked for when `before` was known, and was done at `after`. Answers what is in it."""
    link = Link((broker.host, broker.port))
    found = []
    for _, content in link.all_of(QUEUE):
        uid = message.number_of(content)
        assert message.is_intact(content, uid, after.sizes[uid]), uid
        found.append(uid)
    link.bye()
    for number in range(Traffic.PUBLISHERS):
        own = [uid for uid in found if uid % Traffic.PUBLISHERS == number]
        assert own == sorted(own), "in the order of their publisher"
    there = set(found)
    assert len(there) == len(found), "each once"
    assert not (lost := before.confirmed - there - after.asked), f"lost {sorted(lost)[:20]}"
    assert not (back := there & before.gone), f"came back {sorted(back)[:20]}"
    return there


@pytest.fixture
def on_copy():
    """Starts a broker on a copy; whatever still runs in the end is killed."""
    started = []

    def start(directory, settings=None):
        started.append(Leveret(settings or {}, data_dir=directory))
        started[-1].start()
        assert not started[-1].complaints()
        return started[-1]

    yield start
    for broker in started:
        if broker.running():
            broker.kill()


@pytest.mark.parametrize("sync", ["always", "100ms"])
def test_a_copy_of_a_working_broker_has_all_that_was_confirmed(on, on_copy, directory, tmp_path, sync):
    broker = on(SMALL | {"storage.sync": sync})
    copies = []
    with Traffic(broker) as traffic:
        known = traffic.known
        eventually(lambda: any(name.startswith("segment-") for name in os.listdir(directory)), "a segment is there")
        for number in range(3):
            at = len(known.confirmed)
            eventually(lambda at=at: len(known.confirmed) > at + 200, "publishers go on")
            copy = tmp_path / f"copy{number}"
            before = known.copy()
            code, out, err = backup(directory, copy)
            assert (code, err) == (0, "")
            assert out.startswith(f"{copy}: a copy of ") and out.count("\n") == 1, out
            copies.append((copy, before, known.copy()))
    assert broker.running()
    # All of it, now that nobody works.
    assert backup(directory, tmp_path / "last")[0] == 0
    copies.append((tmp_path / "last", known, known))
    for copy, before, after in copies:
        names = os.listdir(copy)
        assert "catalogue" in names and "control" not in names and "backup-incomplete" not in names, names
        assert copy.stat().st_mode & 0o777 == 0o700
        assert {os.stat(copy / name).st_mode & 0o777 for name in names} == {0o600}
        copied = on_copy(copy, SMALL)
        assert audit(copied, before, after), "something is left"
        assert copied.stop() == 0
    assert len([record for record in broker.records() if record["message"] == "a backup is complete"]) == 4


def test_a_stopped_broker_and_a_killed_one_are_copied_too(on, on_copy, directory, tmp_path):
    for end in ("clean", "kill"):
        broker = on(SMALL)
        with Traffic(broker) as traffic:
            eventually(lambda traffic=traffic: len(traffic.known.confirmed) > 1000, "publishers work")
        if end == "clean":
            assert broker.stop() == 0
            assert not (directory / "control").exists()
        else:
            broker.kill()
            assert (directory / "control").exists()
        code, _, err = backup(directory, tmp_path / end)
        assert (code, err) == (0, "")
        there = audit(on_copy(tmp_path / end, SMALL), traffic.known, traffic.known)
        again = on(SMALL)
        assert audit(again, traffic.known, traffic.known) == there
        link = Link((again.host, again.port))
        link.call("queue.delete", queue=QUEUE)
        link.bye()
        assert again.stop() == 0


def test_what_cannot_be_a_copy_is_refused(on, directory, tmp_path):
    refused(directory, tmp_path / "copy", "No such file or directory")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", tmp_path / "copy", "there is no data of a broker")
    assert not os.listdir(tmp_path / "empty")

    def try_all():
        refused(directory, directory, "is in")
        refused(directory, directory / "copy", "is in")
        refused(directory, tmp_path / "full", "is not empty")
        refused(directory, tmp_path / "full" / "file", "File exists")
        assert os.listdir(tmp_path / "full") == ["file"]

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    broker = on()
    try_all()
    link = Link((broker.host, broker.port))
    link.call("queue.declare", queue=QUEUE, durable=True)
    link.bye()
    assert backup(directory, tmp_path / "once")[0] == 0
    refused(directory, tmp_path / "once", "is not empty")
    assert broker.stop() == 0
    try_all()
    refused(directory, tmp_path / "once", "is not empty")


def test_a_relative_place_is_that_of_the_caller(on, directory, tmp_path):
    on()
    (tmp_path / "here").mkdir()
    code, out, _ = backup(directory, "copy", cwd=tmp_path / "here")
    # The user of a first start is in it, unless it was too early for that.
    assert code == 0 and re.fullmatch(re.escape(f"{tmp_path}/here/copy: a copy of ") + r"[01] files?, \d+ bytes\n", out)
    assert (tmp_path / "here" / "copy").is_dir()


def test_no_broker_starts_on_a_copy_that_is_not_whole(on, on_copy, directory, tmp_path):
    broker = on()
    link = Link((broker.host, broker.port))
    link.call("queue.declare", queue=QUEUE, durable=True)
    link.bye()
    copy = tmp_path / "copy"
    assert backup(directory, copy)[0] == 0
    (copy / "backup-incomplete").touch()
    before = sorted(os.listdir(copy))
    broken = Leveret(data_dir=copy)
    broken.launch()
    assert broken.wait() == 1
    assert broken.has_logged(f"leveret: cannot use the data in {copy}: backup-incomplete: it is a copy that was not")
    assert sorted(set(os.listdir(copy)) - {"lock"}) == before
    refused(copy, tmp_path / "another", "backup-incomplete")
    (copy / "backup-incomplete").unlink()
    on_copy(copy)


def test_a_broker_without_its_socket_is_not_copied_behind_its_back(on, directory, tmp_path):
    broker = on()
    (directory / "control").unlink()
    refused(directory, tmp_path / "copy", f"is in use by another process (pid {broker.process.pid})")


def test_a_client_that_asks_for_nothing_does_not_hold_up_the_end(on, directory):
    broker = on()
    place = os.open(directory, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as silent:
        # The directory's own path may be too long for the address of a socket.
        silent.connect(f"/proc/self/fd/{place}/control")
        assert broker.stop() == 0
    os.close(place)


def test_a_broker_goes_on_when_the_command_is_killed(on, on_copy, directory, tmp_path):
    broker = on(SMALL)
    with Traffic(broker) as traffic:
        eventually(lambda: len(traffic.known.confirmed) > 500, "publishers work")
        words = [str(binary()), "storage", "backup", "--data-dir", str(directory), str(tmp_path / "copy")]
        command = subprocess.Popen(words, env=Leveret.environment(), stdout=subprocess.DEVNULL)
        eventually(lambda: broker.has_logged("a backup begins"), "it has begun")
        command.send_signal(signal.SIGKILL)
        command.wait()
        done = r"a backup (is complete|failed)"
        eventually(lambda: broker.has_logged(done), "it has ended")
        before = traffic.known.copy()
        assert backup(directory, tmp_path / "next")[0] == 0
        after = traffic.known.copy()
    audit(on_copy(tmp_path / "next", SMALL), before, after)
    # Whole, or nothing.
    if os.listdir(tmp_path / "copy"):
        on_copy(tmp_path / "copy", SMALL)
