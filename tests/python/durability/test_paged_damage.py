"""Damage to what queues have on disk: what is not harmed is served, in order; what is harmed is told, and never served.

"q" has a backlog of messages of about 1 KiB, most of it in segments, when the broker is stopped.
"""

import pytest

from durability import message
from durability.backlog import MIB, Backlog, count, drain, drain_by_get, segments, take, wait_for_segments
from durability.link import Link
from durability.strace import ReaderFaults
from support.deadline import eventually
from wire import frames

pytestmark = [pytest.mark.own_broker, pytest.mark.timeout(120)]

SMALL = {"storage.journal_file": "512KiB", "storage.journal_budget": "1MiB"}
SEGMENT_HEADER, JOURNAL_HEADER = 32, 12
"""Bytes before a message in a segment and in the journal."""


def size_of(uid):
    """Some bodies lie apart from their headers."""
    return 30_000 if uid % 50 == 25 else 900 + uid % 200


def link_to(broker):
    """A new link."""
    return Link((broker.host, broker.port))


@pytest.fixture
def stopped(on):
    """A stopped broker with the backlog: answers its directory and the backlog."""

    def prepare(total=6 * MIB, queues=("q",)):
        broker = on(SMALL)
        link = link_to(broker)
        link.call("exchange.declare", exchange="all", type="fanout", durable=True)
        for queue in queues:
            link.call("queue.declare", queue=queue, durable=True)
            link.call("queue.bind", queue=queue, exchange="all")
        backlog = Backlog(size_of)
        backlog.publish(link, total, "", "all")
        # Each group proves that those before are on disk: damage in them is no torn end.
        for _ in range(3):
            backlog.publish(link, 1, "", "all")
        wait_for_segments(broker.data_dir)
        assert broker.stop() == 0
        return broker.data_dir, backlog

    return prepare


class Item:
    """A stored message: its file, where its item begins there, and how long that is."""

    def __init__(self, directory, uid, size):
        start = frames.properties(message.properties(uid))
        place = message.body(uid, size)[:400]
        # Segments first: a spare file of the journal may have what was moved to one.
        for path in sorted(directory.glob("segment-*")) + sorted(directory.glob("journal-*")):
            data = path.read_bytes()
            at = data.find(start)
            while at >= 0 and data.find(place, at, at + len(start) + 600) < 0:
                at = data.find(start, at + 1)
            if at >= 0:
                break
        else:
            raise AssertionError(f"message {uid} is nowhere")
        self.path = path
        header = SEGMENT_HEADER if path.name.startswith("segment-") else JOURNAL_HEADER
        # Before the properties: the header's frame up to them, the end of the names, the names ("all" and no key).
        self.begin = at - 19 - 1 - len("all") - 2 - header
        self.properties = at
        self.body = data.find(place, at)
        assert self.begin > 0 and self.body > 0

    def flip(self, at):
        """Turns a bit over."""
        with self.path.open("r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 0x10]))


def in_segment(directory, backlog, skip=100):
    """Some message in a segment: neither the first nor the last of it."""
    for uid in range(skip, backlog.last, 7):
        if size_of(uid) < 2000:
            item = Item(directory, uid, size_of(uid))
            if item.path.name.startswith("segment-"):
                return uid, item
    raise AssertionError("nothing is in a segment")


def told(broker):
    """What the log says is damaged, by whoever has met it: (file, offset)."""
    errors = [record for record in broker.records() if record["level"] == "ERROR"]
    return {(record["file"], record["offset"]) for record in errors if "offset" in record}


PLACES = {
    "first part": lambda item: item.properties + 1,
    "body": lambda item: item.body + 300,
    "length": lambda item: item.begin + 1,
    "checksum": lambda item: item.begin + 24,
    "position": lambda item: item.begin + 17,
    "header checksum": lambda item: item.begin + 29,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", ["consume", "get"])
def test_a_flipped_bit_in_a_segment_costs_one_message(stopped, on, place, way):
    directory, backlog = stopped()
    uid, item = in_segment(directory, backlog)
    item.flip(PLACES[place](item))
    broker = on(SMALL)
    link = link_to(broker)
    assert count(link) == backlog.last
    left = [number for number in range(1, backlog.last + 1) if number != uid]
    take_all = drain if way == "consume" else drain_by_get
    backlog.check(take_all(link, len(left)), left)
    assert link.get("q") is None
    assert count(link) == 0
    assert told(broker) == {(item.path.name, item.begin)}, broker.log_text()
    assert link.exists("queue", "q")


def test_a_message_that_several_queues_share_is_left_out_of_all_of_them(stopped, on):
    directory, backlog = stopped(queues=("q", "r", "s"))
    uid, item = in_segment(directory, backlog)
    item.flip(item.body + 100)
    broker = on(SMALL)
    link = link_to(broker)
    left = [number for number in range(1, backlog.last + 1) if number != uid]
    for queue in ("q", "r", "s"):
        backlog.check(drain(link, len(left), queue), left)
        assert count(link, queue) == 0
    assert {file for file, _ in told(broker)} == {item.path.name}


@pytest.mark.parametrize("place", ["first part", "body", "length"])
def test_a_flipped_bit_in_a_body_of_the_journal_costs_one_message(stopped, on, place):
    """In a part of the journal that is proven to be on disk."""
    directory, backlog = stopped()
    for uid in range(backlog.last - 300, backlog.last - 60):
        item = Item(directory, uid, size_of(uid))
        if item.path.name.startswith("journal-"):
            break
    item.flip(PLACES[place](item))
    broker = on(SMALL)
    link = link_to(broker)
    left = [number for number in range(1, backlog.last + 1) if number != uid]
    backlog.check(drain(link, len(left)), left)
    assert count(link) == 0
    assert told(broker) == {(item.path.name, item.begin)}, broker.log_text()


def test_damage_is_no_end_for_what_comes_after(stopped, on):
    """A hundred damaged messages all over; then checkpoints, restarts and new messages as ever."""
    directory, backlog = stopped()
    harmed = set()
    for uid in range(50, backlog.last - 100, backlog.last // 100):
        item = Item(directory, uid, size_of(uid))
        item.flip(item.body + 10)
        harmed.add(uid)
    broker = on(SMALL)
    link = link_to(broker)
    left = [number for number in range(1, backlog.last + 1) if number not in harmed]
    half = len(left) // 2
    backlog.check(drain_by_get(link, half, pipelined=half), left[:half])
    backlog.publish(link, 4 * MIB)
    left += range(left[-1] + 1, backlog.last + 1)
    ready = count(link)
    assert len(left) - half <= ready <= backlog.last - half
    broker.kill()
    broker = on(SMALL)
    link = link_to(broker)
    backlog.check(drain(link, len(left) - half), left[half:], redelivered=None)
    assert count(link) == 0
    eventually(lambda: len(segments(directory)) <= len(harmed), "what was served is gone from the disk")
    broker.kill()
    broker = on(SMALL)
    link = link_to(broker)
    assert link.get("q") is None


def test_a_missing_segment_costs_what_was_in_it(stopped, on):
    directory, backlog = stopped()
    _, item = in_segment(directory, backlog, backlog.last // 3)
    item.path.unlink()
    serve_the_rest(on, backlog, item)


@pytest.mark.parametrize("keep", [0, 100, 4096, 100_000])
def test_a_truncated_segment_costs_what_was_behind_its_end(stopped, on, keep):
    directory, backlog = stopped()
    _, item = in_segment(directory, backlog, backlog.last // 3)
    with item.path.open("r+b") as file:
        file.truncate(keep)
    serve_the_rest(on, backlog, item)


def serve_the_rest(on, backlog, item):
    """All that comes is right and in order, the file is told, and the queue goes on."""
    broker = on(SMALL)
    link = link_to(broker)
    assert count(link) == backlog.last
    link.call("basic.consume", queue="q", consumer_tag="c", no_ack=True)
    found = take(link, 1)
    while found[-1].uid < backlog.last:
        found += take(link, 1)
    uids = [delivery.uid for delivery in found]
    assert uids == sorted(set(uids))
    for delivery in found:
        backlog.check_content(delivery)
    # One retired piece of the journal is in it.
    assert backlog.last * 0.5 < len(uids) < backlog.last, f"{len(uids)} of {backlog.last}"
    assert {file for file, _ in told(broker)} == {item.path.name}, broker.log_text()[-2000:]
    assert count(link) == 0
    link.call("basic.cancel", consumer_tag="c")
    first = backlog.last + 1
    backlog.publish(link, 2 * MIB, "q")
    backlog.check(drain(link, backlog.last - first + 1), range(first, backlog.last + 1))
    assert broker.stop() == 0
    broker = on(SMALL)
    assert link_to(broker).get("q") is None


def test_a_read_that_fails_once_is_tried_again(stopped, on):
    _, backlog = stopped()
    broker = on(SMALL)
    link = link_to(broker)
    with ReaderFaults(broker, "pread64:error=EIO:when=1+10") as faults:
        backlog.check(drain(link, backlog.last), range(1, backlog.last + 1))
    assert faults.injected() > 0
    assert not told(broker)


def test_reads_that_fail_leave_out_messages_and_end_nothing(stopped, on):
    """What could not be read is gone from the queue and told; the rest is served, and other queues are too."""
    _, backlog = stopped()
    broker = on(SMALL)
    link, other = link_to(broker), link_to(broker)
    other.call("queue.declare", queue="other", durable=True)
    with ReaderFaults(broker, "pread64:error=EIO:when=3..6") as faults:
        found = []
        while not found or found[-1].uid is not None:
            link.send(frames.method("basic.get", queue="q", no_ack=True))
            found += take(link, 1)
        other.send(frames.publish("other", b"x", delivery_mode=2))
        assert other.get("other") is not None
    assert faults.injected() >= 4
    found.pop()
    uids = [delivery.uid for delivery in found]
    assert uids == sorted(set(uids))
    for delivery in found:
        backlog.check_content(delivery)
    assert len(uids) < backlog.last
    assert told(broker), "nothing was told"
    assert count(link) == 0
    assert broker.running()
