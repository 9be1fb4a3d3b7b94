"""The clients of the crash loop. Each works on one channel until the broker is gone; all it sees is in the ledger.

What is uncertain is noted before it is sent, and what is certain after its answer has come.
"""

import random
import threading

from durability import message
from durability.ledger import ASKED, GONE, KEPT, MARKED, SEEN, Transaction
from durability.link import Gone, Link
from wire import frames

SHARED = ["s0", "s1", "s2", "s3", "s4", "s5"]
"""Queues that many publish to. s0 to s3 are bound to the fanout; s3 and s5 are read by get, the others by consumers."""

FANOUT, DIRECT = "all", "one"
BACKLOG = 60_000_000
"""Bytes of messages in the ledger from which on publishers only send small ones."""


def prepare(address):
    """Declares what the crew shares."""
    link = Link(address)
    link.call("exchange.declare", exchange=FANOUT, type="fanout", durable=True)
    link.call("exchange.declare", exchange=DIRECT, type="direct", durable=True)
    for queue in [*SHARED, "gets", "purged", "t0", "t1", "u0", "u1"]:
        link.call("queue.declare", queue=queue, durable=True)
        link.call("queue.bind", queue=queue, exchange=DIRECT, routing_key=queue)
    for queue in SHARED[:4]:
        link.call("queue.bind", queue=queue, exchange=FANOUT)
    link.bye()


class Worker:
    """One client. It is kept from crash to crash; its connection is not."""

    def __init__(self, name, ledger, rng):
        self.name = name
        self.ledger = ledger
        self.rng = random.Random(rng.random())
        self.life = 0
        self.stop = threading.Event()
        self.link = None
        self.next_tag = 1

    @property
    def channel(self):
        """The name of its channel, which is another one after each crash."""
        return f"{self.name}.{self.life}"

    def run(self, address):
        """Works until the broker is gone or it is told to stop."""
        self.life += 1
        try:
            self.link = Link(address)
            self.begin()
            while not self.stop.is_set():
                self.step()
        except Gone:
            pass
        except Exception as error:  # whatever it is, the test has to hear of it
            self.ledger.fail(f"{self.channel}: {type(error).__name__}: {error}")

    def begin(self):
        """What is done once on a new channel; nothing by default."""

    def step(self):
        """A piece of work."""
        raise NotImplementedError

    def audit(self, link):
        """Judges what only this worker knows, after a restart."""

    def size(self):
        """The size of the next message."""
        size = message.any_size(self.rng)
        held = len(self.ledger.messages)
        return size % 200 if held * 2_500 > BACKLOG else size

    def publish_confirmed(self, targets):
        """Publishes a message for each (exchange, key, queues) in one go and waits for all confirms."""
        entries = [self.ledger.sent(self.channel, queues, self.size()) for _, _, queues in targets]
        for entry, (exchange, key, _) in zip(entries, targets):
            self.link.send(message.publish(exchange, key, entry.uid, entry.size))
        open_tags = dict(enumerate(entries, self.next_tag))
        self.next_tag += len(entries)
        while open_tags:
            method, _ = self.link.next()
            assert method.name == "basic.ack", method
            tag = method.number("delivery_tag")
            done = [number for number in open_tags if number <= tag] if method.args["multiple"] else [tag]
            for number in done:
                self.ledger.confirmed(open_tags.pop(number))

    def select_confirms(self):
        """Turns confirms on."""
        self.link.call("confirm.select")
        self.next_tag = 1


class Publisher(Worker):
    """Publishes to the shared queues, one or many at a time. In a heavy life it begins with more than queues keep in
    memory."""

    HEAVY = 6
    """Large batches in a heavy life."""

    def begin(self):
        self.select_confirms()
        self.heavy = self.HEAVY if self.ledger.heavy else 0

    def size(self):
        if self.heavy:
            return self.rng.choice((0, 500, 2_000, 20_000, 60_000))
        return super().size()

    def step(self):
        if self.heavy:
            target = self.rng.choice([(FANOUT, "", SHARED[:4]), ("", "s4", ["s4"]), ("", "s5", ["s5"])])
            self.publish_confirmed([target] * 80)
            self.heavy -= 1
            return
        choices = [(FANOUT, "", SHARED[:4])]
        for queue in SHARED:
            choices += [("", queue, [queue]), (DIRECT, queue, [queue])]
        count = self.rng.choice((1, 1, 5, 30))
        self.publish_confirmed([self.rng.choice(choices) for _ in range(count)])


class Consumer(Worker):
    """Consumes from a shared queue and settles in all ways."""

    def __init__(self, name, ledger, rng, queue):
        super().__init__(name, ledger, rng)
        self.queue = queue

    def begin(self):
        self.held = {}
        self.asked = []
        self.last = {}
        self.link.call("basic.qos", prefetch_count=self.rng.choice((1, 10, 100)))
        self.link.call("basic.consume", self.take, queue=self.queue)

    def take(self, method, content):
        """Notes a delivery and settles it, or not."""
        assert method.name == "basic.deliver", method
        redelivered = method.args["redelivered"]
        entry = self.ledger.delivered(self.queue, redelivered, content)
        if entry is None:
            return
        if not redelivered:
            if entry.uid < self.last.get(entry.channel, 0):
                self.ledger.fail(f"{self.queue}: message {entry.uid} came after {self.last[entry.channel]}")
            self.last[entry.channel] = entry.uid
        tag = method.number("delivery_tag")
        self.held[tag] = entry
        kind = self.rng.random()
        if kind < 0.6:
            self.settle([tag], frames.method("basic.ack", delivery_tag=tag))
        elif kind < 0.7:
            self.settle(list(self.held), frames.method("basic.ack", delivery_tag=tag, multiple=True))
        elif kind < 0.75:
            self.settle([tag], frames.method("basic.reject", delivery_tag=tag))
        elif kind < 0.85:
            del self.held[tag]
            self.link.send(frames.method("basic.nack", delivery_tag=tag, requeue=True))

    def settle(self, tags, data):
        """Acknowledges, or rejects for good."""
        for tag in tags:
            entry = self.held.pop(tag)
            entry.copies[self.queue].removal = ASKED
            self.asked.append(entry)
        self.link.send(data)

    def step(self):
        for _ in range(self.rng.randrange(1, 30)):
            method, content = self.link.next(patience=120)
            self.take(method, content)
        if not self.held:
            return
        # Something to acknowledge, so that the answer waits for the journal, and with it for the delivery marks.
        seen = [entry for entry in self.held.values() if entry.copies[self.queue].delivered == SEEN]
        tag = max(self.held)
        self.settle([tag], frames.method("basic.ack", delivery_tag=tag))
        certain, self.asked = self.asked, []
        self.link.call("queue.declare", self.take, queue=self.queue, passive=True)
        for entry in certain:
            entry.copies[self.queue].removal = GONE
        self.ledger.counts["acknowledged"] += len(certain)
        for entry in seen:
            entry.copies[self.queue].delivered = MARKED


class Getter(Worker):
    """Takes from shared queues by basic.get; the answer to the next get makes an acknowledgement certain."""

    def begin(self):
        self.asked = []

    def step(self):
        queue = self.rng.choice(("s3", "s5"))
        got = self.link.get(queue)
        for entry, copy in self.asked:
            copy.removal = GONE
        self.ledger.counts["acknowledged"] += len(self.asked)
        self.asked = []
        if got is None:
            self.stop.wait(0.01)
            return
        method, content = got
        entry = self.ledger.delivered(queue, method.args["redelivered"], content)
        if entry is None:
            return
        tag = method.number("delivery_tag")
        if self.rng.random() < 0.7:
            entry.copies[queue].removal = ASKED
            self.asked.append((entry, entry.copies[queue]))
            self.link.send(frames.method("basic.ack", delivery_tag=tag))
        else:
            self.link.send(frames.method("basic.reject", delivery_tag=tag, requeue=True))


class AutomaticGetter(Worker):
    """Publishes to a queue of its own and takes from it without acknowledgement.

    The next confirm makes it certain that what was taken is gone; a get under way takes the oldest message.
    """

    def begin(self):
        self.select_confirms()
        self.taken = []

    def step(self):
        self.publish_confirmed([("", "gets", ["gets"])] * self.rng.randrange(1, 8))
        for copy in self.taken:
            copy.removal = GONE
        self.taken = []
        for _ in range(self.rng.randrange(8)):
            waiting = self.ledger.by_queue["gets"]
            oldest = next((entry for entry in waiting.values() if entry.copies["gets"].removal == KEPT), None)
            if oldest is not None:
                oldest.copies["gets"].removal = ASKED
            got = self.link.get("gets", no_ack=True)
            assert (got is None) == (oldest is None), f"got {got}, where {oldest and oldest.uid} stood first"
            if got is not None:
                entry = self.ledger.delivered("gets", got[0].args["redelivered"], got[1])
                assert entry is oldest, f"got {entry and entry.uid} before {oldest.uid}"
                self.taken.append(entry.copies["gets"])


class Purger(Worker):
    """Fills a queue of its own and purges it."""

    def begin(self):
        self.select_confirms()

    def step(self):
        for _ in range(self.rng.randrange(1, 4)):
            self.publish_confirmed([("", "purged", ["purged"])] * self.rng.randrange(1, 20))
        entries = list(self.ledger.by_queue["purged"].values())
        for entry in entries:
            entry.copies["purged"].removal = ASKED
        purge = ("purged", [entry.uid for entry in entries])
        self.ledger.purges.append(purge)
        count = self.link.call("queue.purge", queue="purged").number("message_count")
        assert count == len(entries), f"purged {count} messages of {len(entries)}"
        self.ledger.purges.remove(purge)
        self.ledger.drop_queue("purged")


class Transactor(Worker):
    """Publishes to two queues of its own and a shared one, and acknowledges from its own, in transactions."""

    def __init__(self, name, ledger, rng, queues):
        super().__init__(name, ledger, rng)
        self.queues = queues

    def begin(self):
        self.link.call("tx.select")

    def step(self):
        transaction = Transaction()
        self.ledger.transactions.append(transaction)
        for _ in range(self.rng.randrange(4)):
            self.acknowledge(transaction)
        for _ in range(self.rng.randrange(1, 6)):
            queue = self.rng.choice([*self.queues, "s5"])
            entry = self.ledger.sent(self.channel, [queue], self.size(), possible=False)
            transaction.published.append((entry, queue))
            self.link.send(message.publish(self.rng.choice(("", DIRECT)), queue, entry.uid, entry.size))
        if self.rng.random() < 0.15:
            self.link.call("tx.rollback")
            self.link.call("basic.recover", requeue=True)
            for entry, queue in transaction.published:
                self.ledger.forget(queue, entry.uid)
            self.ledger.transactions.remove(transaction)
            return
        transaction.committing = True
        for entry, _ in transaction.published:
            entry.possible = True
        for entry, queue in transaction.acknowledged:
            entry.copies[queue].removal = ASKED
        self.link.call("tx.commit")
        transaction.committed = True
        for entry, _ in transaction.published:
            self.ledger.confirmed(entry)
        for entry, queue in transaction.acknowledged:
            entry.copies[queue].removal = GONE
        self.ledger.counts["transactions"] += 1

    def acknowledge(self, transaction):
        """Takes a message from one of its queues and acknowledges it in the transaction."""
        queue = self.rng.choice(self.queues)
        got = self.link.get(queue)
        if got is None:
            return
        method, content = got
        entry = self.ledger.delivered(queue, method.args["redelivered"], content)
        if entry is not None:
            transaction.acknowledged.append((entry, queue))
            self.link.send(frames.method("basic.ack", delivery_tag=method.number("delivery_tag")))


class Churner(Worker):
    """Declares, binds, unbinds and deletes what only it uses, and publishes to it."""

    QUEUES = ("c0", "c1", "c2")
    EXCHANGES = ("x0", "x1")
    TYPES = ("direct", "fanout", "topic", "headers")

    def __init__(self, name, ledger, rng):
        super().__init__(name, ledger, rng)
        self.state = {}  # (kind, name): True, False, or None while that is open

    def begin(self):
        self.select_confirms()

    def is_there(self, *what):
        """Whether it exists, as far as is known."""
        return self.state.get(what, False)

    def change(self, what, there, method, /, **arguments):
        """Makes or removes something; open until its -ok."""
        self.state[what] = None
        self.link.call(method, **arguments)
        self.state[what] = there

    def step(self):
        kind = self.rng.random()
        queue, exchange = self.rng.choice(self.QUEUES), self.rng.choice(self.EXCHANGES)
        if kind < 0.3:
            self.turn_queue(queue)
        elif kind < 0.45:
            self.turn_exchange(exchange)
        elif kind < 0.65:
            self.turn_binding(queue, exchange)
        else:
            self.publish_to(queue, exchange)

    def turn_queue(self, queue):
        """Deletes the queue, or declares it anew."""
        if not self.is_there("queue", queue):
            self.change(("queue", queue), True, "queue.declare", queue=queue, durable=True)
            return
        bindings = [what for what in self.state if what[0] == "binding" and what[1] == queue]
        for what in bindings:
            self.state[what] = None if self.state[what] else False
        self.change(("queue", queue), False, "queue.delete", queue=queue)
        self.ledger.drop_queue(queue)
        for what in bindings:
            self.state[what] = False

    def turn_exchange(self, exchange):
        """Deletes the exchange, or declares it anew with any type."""
        if not self.is_there("exchange", exchange):
            kind = self.rng.choice(self.TYPES)
            self.change(("exchange", exchange), True, "exchange.declare", exchange=exchange, type=kind, durable=True)
            return
        bindings = [what for what in self.state if what[0] == "binding" and what[2] == exchange]
        for what in bindings:
            self.state[what] = None if self.state[what] else False
        self.change(("exchange", exchange), False, "exchange.delete", exchange=exchange)
        for what in bindings:
            self.state[what] = False

    def turn_binding(self, queue, exchange):
        """Binds or unbinds, if both ends are there."""
        if not (self.is_there("queue", queue) and self.is_there("exchange", exchange)):
            return
        what = ("binding", queue, exchange)
        verb = "unbind" if self.is_there(*what) else "bind"
        self.change(what, verb == "bind", f"queue.{verb}", queue=queue, exchange=exchange, routing_key="k")

    def routed_to(self, exchange):
        """The queues that a message to the exchange reaches."""
        return [queue for queue in self.QUEUES if self.is_there("binding", queue, exchange)]

    def publish_to(self, queue, exchange):
        """Publishes to both, if they are there."""
        targets = []
        if self.is_there("queue", queue):
            targets += [("", queue, [queue])] * self.rng.randrange(4)
        if self.is_there("exchange", exchange) and self.routed_to(exchange):
            targets.append((exchange, "k", self.routed_to(exchange)))
        if targets:
            self.publish_confirmed(targets)

    def audit(self, link):
        """All that an -ok was seen for is as it said; what was open is settled."""
        for kind, names in (("queue", self.QUEUES), ("exchange", self.EXCHANGES)):
            for name in names:
                self.settle((kind, name), link.exists(kind, name))
        for exchange in self.EXCHANGES:
            bound = self.bound_to(link, exchange) if self.is_there("exchange", exchange) else []
            for queue in self.QUEUES:
                self.settle(("binding", queue, exchange), queue in bound)

    def settle(self, what, there):
        """Compares one thing with what is known of it."""
        known = self.state.get(what, False)
        if known is not None and known != there:
            self.ledger.fail(f"{what} should {'' if known else 'not '}exist after the crash")
        self.state[what] = there

    def bound_to(self, link, exchange):
        """The queues that a probe reaches. Nothing else is ready in them."""
        link.send(frames.publish("k", b"probe", exchange=exchange))
        queues = [queue for queue in self.QUEUES if self.is_there("queue", queue)]
        return [queue for queue in queues if link.get(queue, no_ack=True) is not None]
