"""A disk that fills up: publishers are blocked, consumers go on, and nothing that was confirmed is lost."""

from types import SimpleNamespace

import pytest

from durability import message
from durability.link import Link
from durability.small_disk import SmallDisk
from support.control import set_policy
from support.deadline import eventually
from wire import frames
from wire.client import Silence

pytestmark = [pytest.mark.own_broker, pytest.mark.timeout(120)]

MIB = 1024 * 1024
SETTINGS = {"storage.journal_file": "1MiB", "storage.journal_budget": "4MiB", "disk.free_limit": "8MiB"}
SIZE = 40_000
WINDOW = 10
"""Messages on their way: what of them is not read when publishers are blocked has to fit into socket buffers."""


def until_reserved(disk):
    """Waits for the reserve, which is made after the start."""
    eventually(lambda: disk.files().get("reserve") == 2 * MIB, "the reserve is made")


class Publisher:
    """Publishes numbered messages with confirms."""

    def __init__(self, broker, first=1):
        self.link = Link((broker.host, broker.port))
        self.link.call("queue.declare", queue="q", durable=True)
        self.link.call("confirm.select")
        self.first = first
        self.sent = first - 1
        self.confirmed = first - 1
        self.blocked = False

    def send(self):
        """Publishes the next one."""
        self.sent += 1
        self.link.send(message.publish("", "q", self.sent, SIZE))

    def note(self, method):
        """Notes a confirm, and answers the method's name."""
        if method.name == "basic.ack":
            self.confirmed = max(self.confirmed, self.first - 1 + method.number("delivery_tag"))
        else:
            assert method.name in ("connection.blocked", "connection.unblocked"), method
            self.blocked = method.name == "connection.blocked"
        return method.name

    def until_blocked(self):
        """Publishes until it is told to stop, and answers why."""
        while True:
            while self.sent < self.confirmed + WINDOW:
                self.send()
            method = self.link.next()[0]
            if self.note(method) == "connection.blocked":
                return method.args["reason"]

    def until_blocked_is(self, blocked):
        """Waits until publishers are blocked, or are not; perhaps that has come already, among confirms."""
        while self.blocked != blocked:
            self.note(self.link.next()[0])

    def settle(self):
        """Waits for the confirms of all that was published."""
        while self.confirmed < self.sent:
            self.note(self.link.next()[0])

    def confirms_left(self):
        """Notes the confirms that have come, until there is silence."""
        while True:
            try:
                self.note(self.link.peer.method(0.3))
            except Silence:
                return


class Taker:
    """Takes messages in order and acknowledges them."""

    def __init__(self, broker):
        self.link = Link((broker.host, broker.port))
        self.link.call("queue.declare", queue="q", durable=True)
        self.taken = 0

    def take(self, number):
        """Takes the next message, which is this one. False if there is none."""
        found = self.link.get("q")
        if found is None:
            return False
        method, content = found
        assert message.number_of(content) == number
        assert message.is_intact(content, number, SIZE)
        self.taken = number
        self.link.send(frames.method("basic.ack", delivery_tag=method.number("delivery_tag")))
        return True

    def drain(self):
        """Takes what is in the queue. When it returns the acknowledgements are written."""
        while self.take(self.taken + 1):
            pass
        self.settle()

    def settle(self):
        """Waits until the acknowledgements are written."""
        self.link.call("queue.declare", queue="q", passive=True)


@pytest.fixture
def disk(directory):
    """A disk of 32 MiB under the data directory."""
    small = SmallDisk(directory, 32 * MIB)
    yield small
    small.close()


def test_the_disk_is_looked_at_before_anybody_can_publish(on, leveret):
    """No disk has all of itself free."""
    broker = on({"disk.free_limit": "1.0"})
    messages = [record["message"] for record in broker.records()]
    assert messages.index("disk alarm: publishers are blocked") < messages.index("listening")
    alarm = next(record for record in broker.records() if record["message"].startswith("disk alarm"))
    assert 0 < alarm["free"] < alarm["limit"]
    publisher, taker = Publisher(broker), Taker(broker)
    publisher.send()
    assert publisher.note(publisher.link.next()[0]) == "connection.blocked"
    publisher.settle()
    assert taker.take(1), "who only consumes goes on"
    assert broker.stop() == 0

    in_memory = leveret({"disk.free_limit": "1.0"})
    publisher = Publisher(in_memory)
    publisher.send()
    publisher.settle()
    assert not in_memory.has_logged("disk alarm")


def test_filled_and_drained_twenty_times(on, disk):
    broker = on(SETTINGS, disk.wrapper)
    publisher, taker = Publisher(broker), Taker(broker)
    lowest = disk.free()
    for _ in range(20):
        assert publisher.until_blocked() == "low on disk"
        publisher.confirms_left()
        lowest = min(lowest, disk.free())
        taker.drain()
        assert taker.taken >= publisher.confirmed
        publisher.until_blocked_is(False)
        publisher.settle()
    assert lowest > 0
    taker.drain()
    assert taker.taken == publisher.sent
    assert broker.stop() == 0


def test_killed_and_started_again_when_it_is_low(on, disk):
    """What was confirmed is there, and publishers are blocked from the first publish on until there is room."""
    # Nothing is moved to segments, which would take room for a moment and then give some back.
    settings = SETTINGS | {"storage.journal_budget": "64MiB"}
    broker = on(settings, disk.wrapper)
    publisher = Publisher(broker)
    publisher.until_blocked()
    publisher.confirms_left()
    assert 0 < disk.free() < 8 * MIB
    broker.kill()
    broker = on(settings, disk.wrapper)
    again, taker = Publisher(broker, publisher.sent + 1), Taker(broker)
    again.send()
    again.until_blocked_is(True)
    kept = taker.link.call("queue.declare", queue="q", passive=True).number("message_count")
    # The one that was read before its connection was blocked is the last.
    assert publisher.confirmed <= kept - 1 <= publisher.sent
    while taker.taken < kept - 1:
        assert taker.take(taker.taken + 1)
    again.until_blocked_is(False)
    again.settle()
    assert taker.take(again.sent)
    assert taker.link.get("q") is None


def test_full_to_the_last_byte_the_reserve_takes_what_consumers_settle(on, disk):
    """Without an alarm before: the write that finds the disk full is written to the reserve, and so are removals."""
    settings = SETTINGS | {"storage.journal_file": "8MiB", "storage.journal_budget": "64MiB", "disk.free_limit": "0"}
    broker = on(settings, disk.wrapper)
    publisher, taker = Publisher(broker), Taker(broker)
    until_reserved(disk)
    disk.fill("other")
    assert publisher.until_blocked() == "low on disk"
    publisher.confirms_left()
    assert "reserve" not in disk.files()
    assert broker.has_logged("the reserve is used")
    assert not broker.has_logged("nothing is confirmed until there is room")
    taker.drain()
    assert taker.taken == publisher.confirmed
    broker.kill()
    broker = on(settings, disk.wrapper)
    again, taker = Publisher(broker, publisher.sent + 1), Taker(broker)
    assert taker.link.get("q") is None, "it was acknowledged, and that was written"
    disk.remove("other")
    until_reserved(disk)
    again.send()
    again.settle()
    assert taker.take(again.sent)


def test_the_reserve_comes_back_and_publishers_go_on(on, disk):
    settings = SETTINGS | {"storage.journal_file": "8MiB", "storage.journal_budget": "64MiB", "disk.free_limit": "0"}
    broker = on(settings, disk.wrapper)
    publisher, taker = Publisher(broker), Taker(broker)
    until_reserved(disk)
    for round_number in range(3):
        disk.fill("other")
        publisher.until_blocked()
        publisher.confirms_left()
        taker.drain()
        assert "reserve" not in disk.files()
        disk.remove("other")
        publisher.until_blocked_is(False)
        assert disk.files()["reserve"] == 2 * MIB, round_number
        publisher.settle()
    taker.drain()
    assert taker.taken == publisher.sent
    assert broker.stop() == 0


def test_dead_letters_wait_for_room_and_what_consumers_settle_does_not(on, disk):
    """A dead letter is a new message. On a full disk it would take the room that acknowledgements need."""
    settings = SETTINGS | {"storage.journal_file": "8MiB", "storage.journal_budget": "64MiB", "disk.free_limit": "0"}
    broker = on(settings, disk.wrapper)
    publisher, taker = Publisher(broker), Taker(broker)
    taker.link.call("queue.declare", queue="dead", durable=True)
    until_reserved(disk)
    disk.fill("other")
    assert publisher.until_blocked() == "low on disk"
    publisher.confirms_left()
    assert taker.take(1)
    # The reserve has room for the policy and for the marks of the dead, but not for letters.
    letters = {"message-ttl": 0, "dead-letter-exchange": "", "dead-letter-routing-key": "dead"}
    set_policy(SimpleNamespace(data_dir=disk.path), "letters", "^q$", letters)
    eventually(lambda: taker.link.get("q") is None, "all are dead")
    taker.settle()
    assert taker.link.get("dead") is None
    assert not broker.has_logged("nothing is confirmed until there is room")
    disk.remove("other")
    publisher.until_blocked_is(False)
    for number in range(2, publisher.confirmed + 1):
        method, content = eventually(lambda: taker.link.get("dead"), "a letter comes")
        assert message.number_of(content) == number
        taker.link.send(frames.method("basic.ack", delivery_tag=method.number("delivery_tag")))
    assert broker.stop() == 0
