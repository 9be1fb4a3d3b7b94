"""The memory budget of messages: beyond it, messages that are not stored are moved to disk, and come back unharmed."""

import threading
import time

import pytest

from durability.backlog import MIB, Backlog, count, drain, drain_by_get, kilobyte, mixed, resident, segment_bytes, segments, take
from durability.link import Link
from support.deadline import eventually
from wire import frames

pytestmark = [pytest.mark.own_broker, pytest.mark.timeout(120)]

BUDGET = 20 * MIB
SETTINGS = {"memory.messages": BUDGET, "memory.high_watermark": "400MiB", "memory.check_interval": "100ms"}
TOTAL = 100 * MIB


def transient(_uid):
    """The delivery mode of every message."""
    return 1


def link_to(broker):
    """A new link."""
    return Link((broker.host, broker.port))


class Watch:
    """Looks how much memory the broker has, all the while it is entered."""

    def __init__(self, broker):
        self.broker = broker
        self.highest = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self):
        while not self._end.wait(0.02):
            self.highest = max(self.highest, resident(self.broker))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join(10)


def expect_budget(broker, published):
    """All but the budget of that many bytes of bodies is in segments.

    Resident memory does not tell: the allocator gives back late what was freed, and how much that is depends on how fast
    the machine is.
    """
    eventually(lambda: segment_bytes(broker.data_dir) >= published - BUDGET, "messages leave memory", 30)


def expect_no_segments(broker):
    """All segments are gone."""
    eventually(lambda: not segments(broker.data_dir), "the segments are gone", 20)


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("way", ["consume", "get"])
def test_transient_messages_leave_memory_and_come_back(on, durable, way):
    broker = on(SETTINGS)
    link = link_to(broker)
    link.call("queue.declare", queue="q", durable=durable)
    backlog = Backlog(mixed if way == "consume" else kilobyte, transient)
    with Watch(broker) as watch:
        backlog.publish(link, TOTAL)
        expect_budget(broker, TOTAL)
        assert count(link) == backlog.last
        if way == "consume":
            found = drain(link, backlog.last)
        else:
            found = drain_by_get(link, backlog.last, pipelined=200)
    backlog.check(found, range(1, backlog.last + 1))
    assert watch.highest < 400 * MIB
    assert not broker.has_logged("blocked|low on memory"), broker.log_text()[-2000:]
    assert not broker.complaints()
    expect_no_segments(broker)


def test_a_restart_removes_them(on):
    """By kill -9 and in order: nothing is left of transient messages, and persistent ones are all there."""
    broker = on(SETTINGS)
    for end in ("kill", "stop"):
        link = link_to(broker)
        for queue, durable in (("d", True), ("t", False)):
            link.call("queue.declare", queue=queue, durable=durable)
            Backlog(kilobyte, transient).publish(link, 40 * MIB, queue)
        stored = Backlog()
        stored.publish(link, 2 * MIB, "d")
        expect_budget(broker, 80 * MIB)
        if end == "kill":
            broker.kill()
        else:
            assert broker.stop() == 0
        broker = on(SETTINGS)
        assert not segments(broker.data_dir)
        link = link_to(broker)
        assert not link.exists("queue", "t")
        stored.check(drain(link, stored.last, "d"), range(1, stored.last + 1))
        assert link.get("d") is None


def test_mixed_messages_keep_their_order(on):
    """Persistent ones leave for the journal, transient ones for segments; each has its place in the queue."""
    broker = on(SETTINGS | {"storage.journal_file": "1MiB", "storage.journal_budget": "2MiB"})
    link = link_to(broker)
    link.call("queue.declare", queue="q", durable=True)
    backlog = Backlog(mode=lambda uid: 1 if uid // 5 % 2 else 2)
    backlog.publish(link, 80 * MIB)
    eventually(lambda: segments(broker.data_dir), "some were moved")
    half = backlog.last // 2
    backlog.check(drain_by_get(link, half, pipelined=500), range(1, half + 1))
    broker.kill()
    broker = on(SETTINGS)
    link = link_to(broker)
    left = [uid for uid in range(half + 1, backlog.last + 1) if backlog.mode(uid) == 2]
    assert count(link) == len(left)
    backlog.check(drain(link, len(left)), left, redelivered=None)


def test_what_comes_back_from_a_consumer_takes_its_place(on):
    """It is redelivered in front of what was moved to disk meanwhile."""
    broker = on(SETTINGS)
    link = link_to(broker)
    link.call("queue.declare", queue="q")
    backlog = Backlog(kilobyte, transient)
    backlog.publish(link, 10 * MIB)
    taker = link_to(broker)
    taker.call("basic.consume", queue="q", consumer_tag="c")
    held = take(taker, backlog.last)
    backlog.check(held, range(1, backlog.last + 1))
    taker.call("basic.cancel", consumer_tag="c")
    first = backlog.last + 1
    backlog.publish(link, 60 * MIB)
    expect_budget(broker, 60 * MIB)
    taker.peer.drop()
    eventually(lambda: count(link) == backlog.last, "what was held is ready again")
    found = drain(link, backlog.last)
    backlog.check(found[: first - 1], range(1, first), redelivered=True)
    backlog.check(found[first - 1 :], range(first, backlog.last + 1))
    expect_no_segments(broker)


def test_purge_and_delete_of_what_was_moved(on):
    """The files go with it, and memory too."""
    broker = on(SETTINGS)
    link = link_to(broker)
    for queue in ("purged", "deleted"):
        link.call("queue.declare", queue=queue)
        backlog = Backlog(kilobyte, transient)
        backlog.publish(link, 40 * MIB, queue)
    expect_budget(broker, 80 * MIB)
    assert link.call("queue.purge", queue="purged").number("message_count") == backlog.last
    assert link.call("queue.delete", queue="deleted").number("message_count") == backlog.last
    expect_no_segments(broker)
    after = Backlog(kilobyte, transient)
    after.publish(link, MIB, "purged")
    after.check(drain(link, after.last, "purged"), range(1, after.last + 1))


def test_a_queue_that_flows_beside_a_long_one(on):
    """Somebody publishes and consumes through another queue while memory is over its budget."""
    broker = on(SETTINGS)
    link, flow = link_to(broker), link_to(broker)
    link.call("queue.declare", queue="q")
    flow.call("queue.declare", queue="flow")
    flow.call("basic.consume", queue="flow", no_ack=True)
    backlog = Backlog(kilobyte, transient)
    end = time.monotonic() + 60
    for number in range(60):
        backlog.publish(link, MIB)
        flow.send(frames.publish("flow", b"%d" % number * 5000))
        assert take_body(flow) == b"%d" % number * 5000
        assert time.monotonic() < end
    expect_budget(broker, 60 * MIB)
    backlog.check(drain(link, backlog.last), range(1, backlog.last + 1))


def take_body(link):
    """The body of the next delivery."""
    return link.next()[1].body
