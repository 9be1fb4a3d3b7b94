"""A consumer that a busy publisher feeds is served by the publisher's task: nothing is lost or late when it comes and goes."""

import threading

import pytest

from durability.backlog import take
from durability.link import Link
from support.deadline import eventually
from wire import frames

pytestmark = [pytest.mark.own_broker, pytest.mark.timeout(120)]

CHUNK = 10_000
MOVED_IN = "served by the task of the one that feeds it"


class Consumer(threading.Thread):
    """Takes what comes until it is the message `last`."""

    def __init__(self, link):
        super().__init__(daemon=True)
        self.link = link
        self.found = []
        self.last = None

    def run(self):
        while self.found[-1:] != [self.last]:
            self.found += (delivery.uid for delivery in take(self.link, 1))


def chunk(first, count=CHUNK):
    """Messages of 16 bytes, numbered in hexadecimal."""
    return b"".join(frames.publish("q", b"%016x" % uid) for uid in range(first, first + count))


@pytest.mark.parametrize("how", ["closes", "breaks off"])
def test_a_fed_consumer_gets_everything_in_order_whoever_publishes(on, how):
    broker = on({"log.level": "debug"})
    address = (broker.host, broker.port)
    links = [Link(address) for _ in range(3)]
    consumer = Consumer(links[0])
    consumer.link.call("queue.declare", queue="q")
    consumer.link.call("basic.consume", queue="q", consumer_tag="c", no_ack=True)
    consumer.start()

    sent = 0
    while not broker.has_logged(MOVED_IN):
        assert sent < 200 * CHUNK, "it never moves in"
        links[1].send(chunk(sent))
        sent += CHUNK
    if how == "closes":
        links[1].bye()
    else:
        links[1].peer.sock.close()
    # What it sent is published then.
    eventually(lambda: broker.has_logged("connection closed"), "the publisher is gone")

    consumer.last = sent
    links[2].send(chunk(sent, 1))
    consumer.join(60)
    assert not consumer.is_alive(), f"{len(consumer.found)} of {sent + 1} came"
    assert consumer.found == list(range(sent + 1))
