"""A disk that fails: nothing is confirmed that is not on it, and nothing that was confirmed is lost."""

import resource
import time
from concurrent.futures import ThreadPoolExecutor

import pika
import pika.exceptions
import pytest

from durability.link import Link
from durability.strace import Strace
from support.deadline import eventually
from support.messages import PERSISTENT, Consumer, drain, publish
from wire import frames

pytestmark = pytest.mark.own_broker

SIZE = 300_000
"""Of a message: every dozen of them the file is filled with zeros anew."""


def prepare(on):
    """Has the data directory made by a first start: that writes its user some time after it is ready."""
    broker = on()
    pika.BlockingConnection(broker.parameters()).close()
    assert broker.stop() == 0


@pytest.fixture
def broken(on, directory, tmp_path):
    """Starts a broker with a disk that fails in these ways: answers broker and trace."""

    def start(*faults, settings=None, paths=()):
        if not directory.exists():
            prepare(on)
        strace = Strace(tmp_path / "trace", *faults, paths=paths)
        return on(settings, strace.words), strace

    return start


def publish_until_it_fails(broker, count, confirmed):
    """Publishes messages one by one and notes those that were confirmed; answers the connection's error, if any."""
    connection = pika.BlockingConnection(broker.parameters())
    try:
        channel = connection.channel()
        channel.queue_declare("q", durable=True)
        channel.confirm_delivery()
        for number in range(count):
            publish(channel, "", "q", str(number).ljust(SIZE), properties=PERSISTENT)
            confirmed.append(number)
    except pika.exceptions.AMQPConnectionError as error:
        return error
    connection.close()
    return None


def numbers(broker):
    """The numbers of the messages in the queue; none if there is no queue."""
    channel = pika.BlockingConnection(broker.parameters()).channel()
    try:
        return [int(body) for body in drain(channel, "q")]
    except pika.exceptions.ChannelClosedByBroker as error:
        assert error.reply_code == 404
        return []


# The first of each kind are those of a new journal file: its header, what is copied to it, its name, its zeros, the
# declaration, and then a message each.
FAILURES = [f"fdatasync:error=EIO:when={n}" for n in (1, 2, 3, 8)]
FAILURES += [f"pwritev:error=EIO:when={n}" for n in (1, 2, 3, 9)]
FAILURES += [f"fsync:error=EIO:when={n}" for n in (1, 2, 3, 4)]
FAILURES += ["fdatasync:error=ENOSPC:when=4", "fsync:error=EROFS:when=2"]


@pytest.mark.parametrize("fault", FAILURES)
def test_after_a_failed_write_or_sync_nothing_is_confirmed_and_the_broker_ends(broken, on, fault):
    try:
        broker, strace = broken(fault)
    except AssertionError as error:
        # Counts are by thread: this was a sync of the start.
        assert "the broker ended with 1" in str(error)
        assert "os error" in str(error)
        return
    confirmed = []
    try:
        idle = pika.BlockingConnection(broker.parameters())
    except pika.exceptions.AMQPConnectionError:
        # And so it was, though not before it was ready.
        assert broker.wait() == 1 and broker.has_logged("os error")
        return
    error = publish_until_it_fails(broker, 40, confirmed)
    assert strace.injected() == 1, f"{fault} did not happen; {len(confirmed)} confirmed"
    assert error is not None, f"{len(confirmed)} messages were confirmed, some of them after {fault}"
    assert isinstance(error, pika.exceptions.ConnectionClosedByBroker), repr(error)
    assert (error.reply_code, error.reply_text) == (541, "INTERNAL_ERROR - storage failed")
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
        idle.sleep(10)
    assert closed.value.reply_code == 541
    assert broker.wait() == 1
    failures = [record for record in broker.records() if record["level"] == "ERROR"]
    assert "os error" in failures[0]["error"], failures
    assert "storage failed: " in broker.lines[-1]
    assert strace.syncs_after_a_failed_one() == []
    found = numbers(on())
    assert found[: len(confirmed)] == confirmed
    assert len(found) <= len(confirmed) + 1


@pytest.mark.parametrize("fault", ["fdatasync:error=EIO:when=4", "pwritev:error=EIO:when=8"])
def test_a_transaction_is_not_answered_after_a_failure(broken, on, fault):
    broker, _ = broken(fault)
    connection = pika.BlockingConnection(broker.parameters())
    channel = connection.channel()
    for queue in ("a", "b"):
        channel.queue_declare(queue, durable=True)
    channel.tx_select()
    done = 0
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
        while done < 20:
            publish(channel, "", "a", str(done), properties=PERSISTENT)
            publish(channel, "", "b", str(done), properties=PERSISTENT)
            channel.tx_commit()
            done += 1
    assert closed.value.reply_code == 541
    assert broker.wait() == 1
    channel = pika.BlockingConnection(on().parameters()).channel()
    found = [drain(channel, queue) for queue in ("a", "b")]
    assert found[0] == found[1]
    assert len(found[0]) in (done, done + 1)


@pytest.mark.parametrize(
    "fault",
    [
        "pwritev:error=ENOSPC:when=1..3",
        "pwritev:error=ENOSPC:when=4..7",
        "pwritev:error=EDQUOT:when=4..5",
        "pwrite64:error=ENOSPC:when=2..80",
        "openat:error=ENOSPC:when=1..3",
        "openat:error=EMFILE:when=1..3",
        "pwritev:error=EROFS:when=4..7",
        "pwritev:error=EINTR:when=2..4",
    ],
)
def test_a_disk_that_takes_nothing_is_waited_for(broken, on, fault):
    """No confirm while it is full; then it goes on as if nothing had been."""
    broker, strace = broken(fault)
    confirmed = []
    assert publish_until_it_fails(broker, 25, confirmed) is None
    assert strace.injected() > 0
    assert confirmed == list(range(25))
    if "when=4..7" in fault:
        assert broker.has_logged("the disk is full" if "ENOSPC" in fault else "the disk takes nothing")
        assert broker.has_logged("has room again")
    broker.kill()
    assert numbers(on()) == confirmed


def test_a_full_disk_blocks_publishers_and_lets_others_go_on(broken):
    """No confirm and no commit; publishers are told; what is in memory is still delivered."""
    broker, _ = broken("pwritev:error=ENOSPC:when=7+")
    reader = pika.BlockingConnection(broker.parameters()).channel()
    reader.queue_declare("q", durable=True)
    reader.queue_declare("transient")
    publisher = Link((broker.host, broker.port))
    publisher.call("confirm.select")
    publisher.send(frames.publish("q", b"0".ljust(100_000), delivery_mode=2))
    assert publisher.next()[0].name == "basic.ack"
    for number in range(1, 9):
        publisher.send(frames.publish("q", str(number).encode().ljust(100_000), delivery_mode=2))
        time.sleep(0.05)
    eventually(lambda: broker.has_logged("the disk is full"), "the disk is full")
    seen = []
    while not seen or seen[-1].name != "connection.blocked":
        seen.append(publisher.next(patience=5)[0])
        assert seen[-1].name in ("basic.ack", "connection.blocked"), seen
    assert seen[-1].args["reason"] == "low on disk"
    assert len(seen) < 6, f"confirms on a full disk: {seen}"
    publisher.peer.nothing(1)
    reader.queue_declare("q", passive=True)
    consumer = Consumer(reader, "q")
    assert consumer.take(1)[0].body.startswith(b"0")


def test_a_full_disk_does_not_keep_the_broker_from_ending(broken, on):
    broker, _ = broken("pwritev:error=ENOSPC:when=7+")
    connection = pika.BlockingConnection(broker.parameters())
    channel = connection.channel()
    channel.queue_declare("q", durable=True)
    for number in range(10):
        publish(channel, "", "q", str(number).ljust(SIZE), properties=PERSISTENT)
        time.sleep(0.05)
    eventually(lambda: broker.has_logged("the disk is full"), "the disk is full")
    broker.terminate()
    assert broker.wait(15) != 0, "it has lost unconfirmed messages and says that all is well"


def test_a_checkpoint_that_waits_for_a_full_disk_does_not_keep_the_broker_from_ending(broken):
    """Of several journal files it would retire some, where room is scarce, and waits for what is not written yet."""
    many = {"storage.journal_file": "64KiB", "storage.journal_budget": "64MiB"}
    broker, strace = broken("pwritev:error=ENOSPC:when=25+", settings=many)
    channel = pika.BlockingConnection(broker.parameters()).channel()
    channel.queue_declare("q", durable=True)
    for number in range(12):
        publish(channel, "", "q", str(number).ljust(SIZE), properties=PERSISTENT)
        time.sleep(0.05)
    eventually(lambda: broker.has_logged("disk alarm"), "the disk is full")
    # A checkpoint looks for room once a second; that it waits is not to be seen.
    before = strace.injected()
    eventually(lambda: strace.injected() > before + 15, "the journal has tried again for more than a second")
    broker.terminate()
    assert broker.wait(15) != 0, "it has lost unconfirmed messages and says that all is well"


@pytest.mark.parametrize("fault", ["pwritev:error=ENOSPC:when=1..40", "pwritev:error=EDQUOT:when=1..40"])
def test_it_starts_on_a_full_disk(on, directory, broken, fault):
    """What a killed process left in the operating system's memory is served at once, and durable when there is room."""
    broker = on()
    confirmed = []
    assert publish_until_it_fails(broker, 5, confirmed) is None
    broker.kill()
    # A checkpoint writes the catalogue on threads of its own: faults there would last longer than the journal's.
    broker, strace = broken(fault, paths=[directory / "journal-00000001"])
    eventually(lambda: broker.has_logged("the disk is full"), "the disk is full")
    connection = pika.BlockingConnection(broker.parameters())
    reader = Consumer(connection.channel(), "q")
    assert [int(delivery.body) for delivery in reader.take(5)] == confirmed
    # The retries go on for eight seconds.
    assert not broker.has_logged("has room again")
    publisher = connection.channel()
    publisher.confirm_delivery()
    publish(publisher, "", "q", "5", properties=PERSISTENT)
    assert broker.has_logged("has room again")
    assert strace.injected() == 40
    broker.kill()
    assert numbers(on()) == [*confirmed, 5]


def test_a_limit_of_the_file_size_is_waited_for(on):
    """SIGXFSZ would kill the process without a word."""
    prepare(on)
    broker = on()
    _, hard = resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE, (3_000_000, hard))
    publisher = pika.BlockingConnection(broker.parameters()).channel()
    publisher.queue_declare("q", durable=True)
    publisher.tx_select()
    for number in range(20):
        publish(publisher, "", "q", str(number).ljust(SIZE), properties=PERSISTENT)
    with ThreadPoolExecutor() as others:
        committed = others.submit(publisher.tx_commit)
        eventually(lambda: broker.has_logged("the disk takes nothing"), "the limit is reached")
        assert not committed.done()
        resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        committed.result()
    assert broker.has_logged("has room again")
    broker.kill()
    assert numbers(on()) == list(range(20))


def test_killed_between_two_removals_of_journal_files(broken, on):
    """Whatever the order of retiring, recycling and removing: each state in between can be started from."""
    many = {"storage.journal_file": "64KiB", "storage.journal_budget": "8MiB"}
    broker = on(many)
    channel = pika.BlockingConnection(broker.parameters()).channel()
    for queue in ("keep", "q"):
        channel.queue_declare(queue, durable=True)
    channel.confirm_delivery()
    publish(channel, "", "keep", "kept", properties=PERSISTENT)
    for _ in range(40):
        publish(channel, "", "q", "x" * 60_000, properties=PERSISTENT)
    channel.queue_purge("q")
    broker.kill()
    # With a smaller budget nearly all of these files are too many, and more than two of them are not used again.
    few = {"storage.journal_file": "64KiB", "storage.journal_budget": "256KiB"}
    broker, strace = broken("unlinkat:signal=SIGKILL:when=2", settings=few)
    eventually(lambda: not broker.running(), "the second removal kills it")
    assert sum("unlinkat(" in line for line in strace.lines()) >= 2
    again = on(few)
    channel = pika.BlockingConnection(again.parameters()).channel()
    assert drain(channel, "keep") == ["kept"]
    assert drain(channel, "q") == []
