"""Celery with a worker process of its own: broker over AMQP, results over rpc://."""

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import celery.exceptions
import pika
import pytest
from celery import chain, group

from support.deadline import eventually

pytestmark = [pytest.mark.xdist_group("celery"), pytest.mark.timeout(90)]

FOLDER = Path(__file__).parent
START_SECONDS = 40
STOP_SECONDS = 30


class Worker:
    """A Celery worker in a process group of its own."""

    def __init__(self, environment, queues, concurrency=2):
        self.name = f"worker-{uuid.uuid4().hex[:8]}@suite"
        command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-n", self.name, "-Q", ",".join(queues)]
        command += ["-c", str(concurrency), "--loglevel", "INFO", "--without-mingle"]
        self.lines = []
        self.process = subprocess.Popen(
            command,
            cwd=FOLDER,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with self.process.stdout as stream:
            for line in stream:
                self.lines.append(line.decode("utf-8", "replace"))

    def wait_ready(self):
        """Waits for the worker's own word."""

        def ready():
            assert self.process.poll() is None, "".join(self.lines)
            return any(" ready." in line for line in list(self.lines))

        eventually(ready, "the worker is ready", START_SECONDS, pause=0.05)

    def stop(self, number=signal.SIGTERM):
        """Ends it and answers the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            # Celery answers this signal with where each of its threads is.
            self.process.send_signal(signal.SIGUSR1)
            time.sleep(1)
            os.killpg(self.process.pid, signal.SIGKILL)
            self._reader.join(5)
            raise AssertionError("the worker did not end\n" + "".join(self.lines)) from None
        self._reader.join(5)
        return code


class Setting:
    """The application as the tests see it, the queues, and how to start workers."""

    def __init__(self, broker, prefix):
        self.prefix = prefix
        self.environment = {
            **os.environ,
            "SUITE_PREFIX": prefix,
            "SUITE_BROKER": broker.url(),
            "C_FORCE_ROOT": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        os.environ.update(SUITE_PREFIX=prefix, SUITE_BROKER=broker.url())
        sys.path.insert(0, str(FOLDER))
        try:
            self.tasks = importlib.import_module("tasks")
        finally:
            sys.path.remove(str(FOLDER))

    def queue(self, stem):
        """A queue's full name."""
        return f"{self.prefix}.{stem}"

    def worker(self, *stems):
        """Starts a worker of these queues."""
        return Worker(self.environment, [self.queue(stem) for stem in stems])


@pytest.fixture(scope="module")
def setting(broker):
    """One application for the module; its durable queues are gone afterwards."""
    made = Setting(broker, f"celery-{uuid.uuid4().hex[:8]}")
    yield made
    made.tasks.app.close()
    with pika.BlockingConnection(broker.parameters()) as connection:
        channel = connection.channel()
        for stem in ("default", "urgent", "held", "pidbox", "reply.pidbox", "events"):
            channel.queue_delete(made.queue(stem))
            channel.exchange_delete(made.queue(stem))


@pytest.fixture(scope="module")
def worker(setting):
    """A worker of two queues, which must end cleanly when told to."""
    worker = setting.worker("default", "urgent")
    worker.wait_ready()
    yield worker
    assert worker.stop() == 0, "".join(worker.lines)


@pytest.fixture
def tasks(setting, worker):
    """The tasks, with somebody to do them."""
    return setting.tasks


def test_task(tasks):
    assert tasks.add.delay(2, 3).get(timeout=20) == 5


def test_many_tasks(tasks):
    results = [tasks.add.delay(number, number) for number in range(50)]
    assert [result.get(timeout=30) for result in results] == [2 * number for number in range(50)]


def test_a_task_that_raises(tasks):
    with pytest.raises(ValueError, match="on purpose"):
        tasks.fails.delay().get(timeout=20)


def test_retries(tasks):
    assert tasks.third_time.delay().get(timeout=20) == 2


def test_countdown(tasks):
    asked = time.time()
    assert tasks.when.apply_async(countdown=1).get(timeout=20) - asked >= 0.95


def test_group(tasks):
    result = group(tasks.add.s(number, 1) for number in range(10)).apply_async()
    assert result.get(timeout=30) == list(range(1, 11))


def test_chain(tasks):
    assert chain(tasks.add.s(1, 2), tasks.add.s(3), tasks.add.s(4)).apply_async().get(timeout=20) == 10


def test_routing_to_another_queue(tasks, setting):
    assert tasks.urgent.delay().get(timeout=20) == setting.queue("urgent")


def test_priority(tasks):
    assert tasks.priority.apply_async(priority=7).get(timeout=20) == 7


def test_a_task_that_may_expire(tasks):
    assert tasks.add.apply_async((1, 1), expires=60).get(timeout=20) == 2


def test_inspect_ping_and_the_registered_tasks(tasks, worker):
    inspect = tasks.app.control.inspect(timeout=5, destination=[worker.name])
    assert inspect.ping() == {worker.name: {"ok": "pong"}}
    assert "suite.add" in inspect.registered()[worker.name]


def test_add_and_cancel_a_consumer_at_run_time(tasks, worker, setting):
    late = setting.queue("held")
    control = tasks.app.control
    assert control.add_consumer(late, destination=[worker.name], reply=True, timeout=5)
    assert tasks.add.apply_async((4, 5), queue=late).get(timeout=20) == 9
    assert control.cancel_consumer(late, destination=[worker.name], reply=True, timeout=5)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGQUIT])
def test_a_task_goes_to_another_worker_when_the_first_is_shut_down(setting, worker, tmp_path, how):
    """acks_late: the worker is killed, or shut down cold, while it works; its message comes back redelivered."""
    notes = tmp_path / "notes"
    first = setting.worker("held")
    first.wait_ready()
    result = setting.tasks.hold.apply_async((str(notes),), queue=setting.queue("held"))
    eventually(notes.exists, "the first worker has begun", 20)

    def active():
        return (setting.tasks.app.control.inspect([first.name], timeout=2).active() or {}).get(first.name)

    # A cold shutdown gives up only what the worker's main process knows to have begun, and waits for the rest.
    eventually(active, "it knows that it has", 20)
    if how == signal.SIGKILL:
        os.killpg(first.process.pid, how)
    first.stop(how)
    second = setting.worker("held")
    try:
        second.wait_ready()
        assert result.get(timeout=20) == "done"
    except celery.exceptions.TimeoutError:
        pytest.fail("no result; the workers say:\n" + "".join(first.lines + second.lines))
    finally:
        code = second.stop()
    logs = "".join(first.lines + second.lines)
    assert code == 0, logs
    lines = notes.read_text().split()
    assert lines[1::2] == ["False", "True"], logs
    assert lines[0] != lines[2], logs
