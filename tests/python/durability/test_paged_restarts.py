"""Restarts of a broker whose queues are in segments, in the middle of everything, several in a row on one directory."""

import random
import time

import pytest

from durability import message
from durability.backlog import (
    MIB,
    Backlog,
    ack,
    count,
    disk_bytes,
    drain,
    drain_by_get,
    kilobyte,
    read_bytes,
    segments,
    take,
    wait_for_segments,
)
from durability.link import Link
from durability.strace import Strace
from support.deadline import eventually
from wire import frames

pytestmark = [pytest.mark.own_broker, pytest.mark.timeout(120)]

SMALL = {"storage.journal_file": "128KiB", "storage.journal_budget": "256KiB"}


@pytest.fixture(params=["clean", "kill", "both"])
def restarted(request, on):
    """`restarted(broker)` ends a broker, cleanly or by kill -9 or now so and now so, and answers the next one."""
    rng = random.Random(7)

    def restart(broker):
        if request.param == "kill" or (request.param == "both" and rng.random() < 0.5):
            broker.kill()
        else:
            assert broker.stop() == 0
        again = on(broker.settings)
        damage = [record for record in again.records() if record["level"] == "ERROR"]
        assert not damage, damage
        return again

    return restart


def link_to(broker):
    """A new link."""
    return Link((broker.host, broker.port))


def barrier(link, queue="q"):
    """After it the channel's acknowledgements are certain."""
    return count(link, queue)


def test_a_drain_with_restarts_in_between(on, restarted):
    """What was acknowledged for certain stays away, the rest is there, in order; new messages stand behind it."""
    broker = on(SMALL)
    link = link_to(broker)
    link.call("queue.declare", queue="q", durable=True)
    backlog = Backlog()
    backlog.publish(link, 10 * MIB)
    wait_for_segments(broker.data_dir)
    gone, flagged = 0, 0
    for turn in range(6):
        broker = restarted(broker)
        link = link_to(broker)
        assert count(link) == backlog.last - gone
        part = backlog.last // 8
        link.call("basic.qos", prefetch_count=part + 50)
        link.call("basic.consume", queue="q", consumer_tag="c")
        found = take(link, part + 50)
        backlog.check(found, range(gone + 1, gone + part + 51), redelivered=None)
        certain = [delivery for delivery in found if delivery.uid <= flagged]
        assert all(delivery.redelivered for delivery in certain)
        link.call("basic.cancel", consumer_tag="c")
        ack(link, found[part - 1].tag)
        barrier(link)
        gone += part
        flagged = found[-1].uid
        if turn % 2:
            backlog.publish(link, MIB)
    broker = restarted(broker)
    link = link_to(broker)
    assert count(link) == backlog.last - gone
    found = drain(link, backlog.last - gone)
    backlog.check(found, range(gone + 1, backlog.last + 1), redelivered=None)
    assert all(delivery.redelivered for delivery in found if delivery.uid <= flagged)
    # Of what was never delivered, marks may flag those of the next 4,096 positions.
    assert not any(delivery.redelivered for delivery in found if delivery.uid > flagged + 2 * 4096)


def test_every_second_message_was_acknowledged(on, restarted):
    """The holes stay holes, in messages that were moved before and after, and a start knows the count."""
    broker = on(SMALL)
    link = link_to(broker)
    link.call("queue.declare", queue="q", durable=True)
    backlog = Backlog()
    backlog.publish(link, 8 * MIB)
    left = list(range(1, backlog.last + 1))
    for _ in range(4):
        link.call("basic.consume", queue="q")
        found = take(link, len(left))
        backlog.check(found, left, redelivered=None)
        for delivery in found[::2]:
            ack(link, delivery.tag, multiple=False)
        left = [delivery.uid for delivery in found[1::2]]
        barrier(link)
        broker = restarted(broker)
        link = link_to(broker)
        assert count(link) == len(left)
    found = drain_by_get(link, len(left), pipelined=50)
    backlog.check(found, left, redelivered=True)
    assert link.get("q") is None
    eventually(lambda: not segments(broker.data_dir), "the segments are gone", 20)


def test_restarts_one_after_the_other_change_nothing(on, restarted):
    """Nobody consumes; files come and go, as checkpoints go on where the last ones ended."""
    broker = on(SMALL)
    link = link_to(broker)
    backlogs = {}
    for number in range(12):
        queue = f"q{number}"
        link.call("queue.declare", queue=queue, durable=True)
        backlogs[queue] = Backlog()
    sizes = []
    for turn in range(5):
        for queue, backlog in backlogs.items():
            backlog.publish(link, 100_000, queue)
        broker = restarted(broker)
        link = link_to(broker)
        assert {queue: count(link, queue) for queue in backlogs} == {
            queue: backlog.last for queue, backlog in backlogs.items()
        }
        sizes.append(disk_bytes(broker.data_dir))
        queued = 12 * 100_000 * (turn + 1)
        assert sizes[-1] < 2 * queued + 12 * MIB, sizes
    for queue, backlog in backlogs.items():
        backlog.check(drain(link, backlog.last, queue), range(1, backlog.last + 1))


def test_a_purge_and_a_delete_of_what_is_in_segments_stay(on, restarted):
    broker = on(SMALL)
    link = link_to(broker)
    backlogs = {queue: Backlog() for queue in ("purged", "deleted", "kept")}
    for queue, backlog in backlogs.items():
        link.call("queue.declare", queue=queue, durable=True)
        backlog.publish(link, 2 * MIB, queue)
    wait_for_segments(broker.data_dir)
    broker = restarted(broker)
    link = link_to(broker)
    assert link.call("queue.purge", queue="purged").number("message_count") == backlogs["purged"].last
    assert link.call("queue.delete", queue="deleted").number("message_count") == backlogs["deleted"].last
    broker = restarted(broker)
    link = link_to(broker)
    assert count(link, "purged") == 0
    assert not link.exists("queue", "deleted")
    link.call("queue.declare", queue="deleted", durable=True)
    assert count(link, "deleted") == 0
    first = backlogs["purged"].last + 1
    backlogs["purged"].publish(link, MIB, "purged")
    broker = restarted(broker)
    link = link_to(broker)
    last = backlogs["purged"].last
    backlogs["purged"].check(drain(link, last - first + 1, "purged"), range(first, last + 1))
    backlogs["kept"].check(drain(link, backlogs["kept"].last, "kept"), range(1, backlogs["kept"].last + 1))
    eventually(lambda: not segments(broker.data_dir), "the segments are gone", 20)


def test_fan_out_is_carried_for_each_queue(on, restarted):
    """Bodies that several queues share in segments outlive restarts, and the queues that have them first."""
    broker = on(SMALL)
    link = link_to(broker)
    link.call("exchange.declare", exchange="all", type="fanout", durable=True)
    queues = ["a", "b", "c"]
    for queue in queues:
        link.call("queue.declare", queue=queue, durable=True)
        link.call("queue.bind", queue=queue, exchange="all")
    backlog = Backlog()
    backlog.publish(link, 5 * MIB, "", "all")
    while queues:
        broker = restarted(broker)
        link = link_to(broker)
        queue = queues.pop(0)
        backlog.check(drain(link, backlog.last, queue), range(1, backlog.last + 1))
        barrier(link, queue)
        for other in queues:
            assert count(link, other) == backlog.last
    eventually(lambda: not segments(broker.data_dir), "the segments are gone", 20)


def test_a_transaction_that_moves_messages_is_whole_after_any_kill(on):
    """Kills while transactions move messages from a paged queue to another: each is in one of the two."""
    broker = on(SMALL)
    link = link_to(broker)
    for queue in ("q", "moved"):
        link.call("queue.declare", queue=queue, durable=True)
    backlog = Backlog(kilobyte)
    backlog.publish(link, 3 * MIB)
    moved = 0
    for turn in range(4):
        tx = link_to(broker)
        tx.call("tx.select")
        for _ in range(5):
            tx.send(frames.method("basic.get", queue="q") * 40)
            some = take(tx, 40)
            backlog.check(some, range(moved + 1, moved + 41), redelivered=None)
            for delivery in some:
                tx.send(message.publish("", "moved", delivery.uid, backlog.size(delivery.uid)))
            ack(tx, some[-1].tag)
            tx.call("tx.commit")
            moved += 40
        # One more is on its way.
        tx.send(frames.method("basic.get", queue="q") * 40)
        some = take(tx, 40)
        for delivery in some:
            tx.send(message.publish("", "moved", delivery.uid, backlog.size(delivery.uid)))
        ack(tx, some[-1].tag)
        tx.send(frames.method("tx.commit"))
        if turn % 2:
            tx.wait("tx.commit-ok")
            moved += 40
        broker.kill()
        broker = on(SMALL)
        link = link_to(broker)
        there = count(link, "moved")
        assert there in (moved, moved + 40)
        moved = there
        assert count(link) == backlog.last - moved
    backlog.check(drain(link, moved, "moved"), range(1, moved + 1), redelivered=None)
    backlog.check(drain(link, backlog.last - moved), range(moved + 1, backlog.last + 1), redelivered=None)


def test_a_start_does_not_read_the_backlog(on):
    """It reads the journal's headers and the catalogue, however much is queued."""
    settings = {"storage.journal_file": "1MiB", "storage.journal_budget": "4MiB"}
    broker = on(settings)
    link = link_to(broker)
    link.call("queue.declare", queue="q", durable=True)
    backlog = Backlog(kilobyte)
    backlog.publish(link, 200 * MIB)
    broker.kill()
    broker = on(settings)
    eventually(lambda: broker.has_logged('"message":"ready"'), "it is ready")
    read = read_bytes(broker)
    assert read < 12 * MIB, f"{read} bytes were read"
    link = link_to(broker)
    assert count(link) == backlog.last
    link.send(frames.method("basic.get", queue="q") * 100)
    backlog.check(take(link, 100), range(1, 101))
    assert read_bytes(broker) < 24 * MIB


def test_messages_are_read_while_they_are_carried_to_another_file(on, tmp_path):
    """Little is left in the oldest files, so it is appended to the journal again, on a disk that takes its time to
    write: at any moment a get finds its message, in the old place or in the new one."""
    settings = {"storage.journal_file": "256KiB", "storage.journal_budget": "512KiB"}
    broker = on(settings)
    link = link_to(broker)
    queues = [f"q{number}" for number in range(80)]
    for queue in queues:
        link.call("queue.declare", queue=queue, durable=True)
    backlog = Backlog(lambda uid: 100)
    for queue in queues:
        backlog.publish(link, 1, queue)
    # Each start that writes begins a file; the third one is too much.
    broker.kill()
    broker = on(settings)
    link_to(broker).call("queue.declare", queue="more", durable=True)
    broker.kill()
    slow = Strace(tmp_path / "trace", "pwritev:delay_enter=150000")
    broker = on(settings, slow.words)
    link = link_to(broker)
    for uid, queue in enumerate(queues, 1):
        link.send(frames.method("basic.get", queue=queue))
        backlog.check(take(link, 1), [uid])
        # Each at another moment of what goes on.
        time.sleep(0.01)
    assert not [record for record in broker.records() if record["level"] == "ERROR"]
    assert not segments(broker.data_dir)
