"""A journal of many small files: what is consumed costs no space, and what stays is carried from file to file."""

import random
import threading
import time

import pytest

from durability import message
from durability.link import Link
from wire import frames

pytestmark = [pytest.mark.own_broker, pytest.mark.timeout(180)]

SMALL = {"storage.journal_file": "64KiB", "storage.journal_budget": "256KiB"}
TOTAL = 200_000_000
BATCH = 40


def disk_usage(directory):
    """Bytes that its files take on disk, and how many files there are."""
    sizes = []
    for path in directory.iterdir():
        try:
            sizes.append(path.stat().st_blocks * 512)
        except FileNotFoundError:
            continue
    return sum(sizes), len(sizes)


class Backlog:
    """Messages that stay in queues, published with confirms."""

    def __init__(self):
        self.sizes = {}
        self.uids = {}

    def publish(self, link, queue, exchange="", count=20, size=2_000):
        """Publishes some more, of sizes around `size`; `queue` is one, or all that the exchange leads to."""
        queues = [queue] if isinstance(queue, str) else queue
        first = len(self.sizes) + 1
        rng = random.Random(first)
        for uid in range(first, first + count):
            self.sizes[uid] = rng.randrange(2 * size)
            for name in queues:
                self.uids.setdefault(name, []).append(uid)
            link.send(message.publish(exchange, queues[0], uid, self.sizes[uid]))
        confirms(link, count)

    def check(self, link):
        """All of them are there, in order and intact."""
        for queue, uids in self.uids.items():
            found = link.all_of(queue)
            assert [message.number_of(content) for _, content in found] == uids
            for (_, content), uid in zip(found, uids):
                assert message.is_intact(content, uid, self.sizes[uid])
        link.call("basic.recover", requeue=True)


def confirms(link, count):
    """Waits for so many confirms since the last call."""
    missing = count
    link.tag = getattr(link, "tag", 0)
    while missing:
        method, _ = link.next()
        assert method.name == "basic.ack", method
        tag = method.number("delivery_tag")
        missing -= tag - link.tag if method.args["multiple"] else 1
        link.tag = max(link.tag, tag)


def flow(address, total, size=20_000):
    """Publishes and consumes so many bytes through the queue "flow", a batch at a time."""
    link = Link(address)
    link.call("confirm.select")
    body = frames.publish("flow", b"f" * size, delivery_mode=2)
    taker = Link(address)
    taker.call("basic.consume", queue="flow")
    for _ in range(total // (BATCH * size)):
        link.send(body * BATCH)
        for number in range(BATCH):
            tag = taker.next()[0].number("delivery_tag")
            if number == BATCH - 1:
                taker.send(frames.method("basic.ack", delivery_tag=tag, multiple=True))
        confirms(link, BATCH)
    taker.call("queue.declare", queue="flow", passive=True)
    link.bye()
    taker.bye()


def prepare(broker, *queues):
    """A link with confirms, and the queues bound to "both"."""
    link = Link((broker.host, broker.port))
    link.call("exchange.declare", exchange="both", type="fanout", durable=True)
    link.call("queue.declare", queue="flow", durable=True)
    for queue in queues:
        link.call("queue.declare", queue=queue, durable=True)
        link.call("queue.bind", queue=queue, exchange="both")
    link.call("confirm.select")
    return link


def test_what_is_consumed_takes_no_space(on, directory):
    """200 MB through a journal of 256 KiB, in the shade of a small backlog in two queues."""
    broker = on(SMALL)
    link = prepare(broker, "a", "b")
    backlog = Backlog()
    backlog.publish(link, ["a", "b"], "both")
    backlog.publish(link, "a")
    highest, end = (0, 0), threading.Event()

    def measure():
        nonlocal highest
        while not end.wait(0.05):
            highest = max(highest, disk_usage(directory))

    watch = threading.Thread(target=measure)
    watch.start()
    try:
        flow((broker.host, broker.port), TOTAL)
    finally:
        end.set()
        watch.join()
    time.sleep(2.5)
    left = disk_usage(directory)
    broker.kill()
    broker = on(SMALL)
    backlog.check(Link((broker.host, broker.port)))
    # Publishers wait when there are twice as many files as there should be. A file may be larger by a batch.
    assert highest[0] < 16 * 2**20, f"{highest[0]} bytes in {highest[1]} files"
    assert left[0] < 4 * 2**20, f"{left[0]} bytes in {left[1]} files"


def test_a_backlog_is_carried_through_dozens_of_files_and_kills(on, directory):
    broker = on(SMALL)
    link = prepare(broker, "a", "b", "c")
    backlog = Backlog()
    numbers = set()
    for round_number in range(5):
        link.call("queue.declare", queue=f"empty{round_number}", durable=True)
        backlog.publish(link, ["a", "b", "c"], "both")
        backlog.publish(link, "a", count=5, size=60_000)
        backlog.publish(link, "b", size=20)
        flow((broker.host, broker.port), 4_000_000)
        # Long enough for the journal to be looked at; the kill may hit the middle of that.
        time.sleep(random.uniform(0.9, 1.3))
        broker.kill()
        numbers |= {path.name for path in directory.iterdir()}
        broker = on(SMALL)
        link = Link((broker.host, broker.port))
        for number in range(round_number + 1):
            assert link.exists("queue", f"empty{number}")
        backlog.check(link)
        link.call("confirm.select")
    # Files are written over under the name they have; one that is made has its number in the name.
    highest = max(int(name.removeprefix("journal-")) for name in numbers if name.startswith("journal-"))
    assert highest > 24, f"no dozens of files were there: {sorted(numbers)}"


def test_delivery_marks_outlive_the_files_they_are_in(on):
    """A message that was delivered comes back as such, though the file that said so is retired."""
    broker = on(SMALL)
    link = prepare(broker, "a")
    backlog = Backlog()
    backlog.publish(link, "a", count=10)
    # The mark is in the journal; its file is retired while it holds no message of the queue.
    link.all_of("a")
    link.send(frames.method("basic.ack", delivery_tag=0, multiple=True))
    for _ in range(2):
        flow((broker.host, broker.port), 2_000_000)
        time.sleep(1.2)
    backlog.publish(link, "a", count=10)
    assert len(link.all_of("a")) == 10
    broker.kill()
    broker = on(SMALL)
    found = Link((broker.host, broker.port)).all_of("a")
    assert len(found) == 10
    assert all(redelivered for redelivered, _ in found)


def test_a_message_of_two_queues_is_carried_for_the_one_that_still_has_it(on):
    broker = on(SMALL)
    link = prepare(broker, "a", "b")
    backlog = Backlog()
    backlog.publish(link, ["a", "b"], "both", count=30)
    for queue in ("a", "b"):
        flow((broker.host, broker.port), 2_000_000)
        time.sleep(1.2)
        assert len(link.all_of(queue)) == 30
        link.send(frames.method("basic.ack", delivery_tag=0, multiple=True))
        link.call("queue.declare", queue=queue, passive=True)
        del backlog.uids[queue]
        flow((broker.host, broker.port), 2_000_000)
        time.sleep(1.2)
        broker.kill()
        broker = on(SMALL)
        link = Link((broker.host, broker.port))
        backlog.check(link)
        assert link.get(queue) is None
