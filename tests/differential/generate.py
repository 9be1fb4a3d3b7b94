"""A random sequence of operations from a seed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from .arguments import PAUSE, SHORT_TTL, bad_arguments, good_arguments, profile
from .messages import publish
from .operations import Operation

CHANNELS = ("A1", "A2", "B1", "B2")
TYPES = ("direct", "fanout", "topic", "headers")
KEYS = ("a", "b", "a.b", "a.b.c", "")
PATTERNS = ("#", "*", "a.*", "*.b.#", "a", "b", "")
MATCHES = ("all", "any", "all", "any-with-x", "all-with-x", "wrong")


class Generator:
    """Draws operations; it knows names only, not what the brokers make of them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.about = profile(self.random)
        # In the names so that sequences do not meet: they run on the same brokers at the same time.
        self.queues = [f"d{seed}.q{n}" for n in range(self.random.randint(2, 4))]
        self.exchanges = [f"d{seed}.x{n}" for n in range(self.random.randint(1, 3))]
        # Every channel consumes from one queue, since messages of two would come in any order.
        self.consumes = {channel: self.random.choice(self.queues) for channel in CHANNELS}
        # A limit for a whole channel: not for quorum queues, which do not know it, nor beside consumers without
        # acknowledgements, which RabbitMQ makes wait for those of others.
        self.whole_channel = not self.about.has("quorum") and self.chance(0.3)
        self.published = 0
        self.consumers: list[tuple[str, str]] = []
        self.takers: list[str] = []
        """Channels that took something and may have it still."""

    def sequence(self, length: int) -> list[Operation]:
        """Declarations, then anything."""
        operations = [self.declare_queue(queue) for queue in self.queues]
        operations += [self.declare_exchange(exchange) for exchange in self.exchanges]
        operations += [self.bind() for _ in range(len(self.exchanges) + 1)]
        if self.about.has("confirm"):
            operations += [Operation(channel, "confirm.select") for channel in ("A1", "B1")]
        if self.about.has("tx"):
            operations.append(Operation("A2", "tx.select"))
        kinds, weights = zip(*self.weights(), strict=True)
        while len(operations) < length:
            operations.append(self.random.choices(kinds, weights)[0]())
        return [self.paused(operation) for operation in operations[:length]]

    def weights(self) -> list[tuple[Callable[[], Operation], float]]:
        """What is drawn how often."""
        errors = 1.0 if self.about.has("errors") else 0.15
        tx = 3.0 if self.about.has("tx") else 0.05
        return [
            (self.publish, 30),
            (self.get, 10),
            (self.consume, 8),
            (self.cancel, 2),
            (self.settle, 18),
            (self.declare_any_queue, 3),
            (self.declare_exchange, 1),
            (self.bind, 4),
            (self.unbind, 1),
            (self.purge, 1),
            (self.delete_queue, 1.5),
            (self.delete_exchange, 0.6),
            (self.qos, 2),
            (self.recover, 1),
            (self.close_channel, 0.7),
            (self.transaction, tx),
            (self.confirm, 1 if self.about.has("confirm") else 0.1),
            (self.bad_declare, errors),
            (self.bad_exchange, errors),
            (self.bad_tag, errors),
            (self.passive, errors),
            (self.strange, errors / 2),
        ]

    def paused(self, operation: Operation) -> Operation:
        """With a pause when messages expire in this sequence."""
        if not self.about.short or operation.pause:
            return operation
        quick = ("queue.declare", "exchange.declare", "exchange.bind", "queue.bind", "confirm.select", "tx.select")
        return operation if operation.method in quick else Operation(**{**operation.__dict__, "pause": PAUSE})

    def channel(self) -> str:
        """Any channel."""
        return self.random.choice(CHANNELS)

    def chance(self, probability: float) -> bool:
        """True this often."""
        return self.random.random() < probability

    # ------------------------------------------------------------------------------------------- topology

    def declare_queue(self, queue: str) -> Operation:
        """A declaration that ought to succeed."""
        args = good_arguments(self.random, self.about, self.queues, self.exchanges)
        quorum = args.get("x-queue-type") == "quorum"
        durable = quorum or self.chance(0.4)
        exclusive = not quorum and self.about.has("exclusive") and self.chance(0.35)
        auto_delete = not quorum and self.chance(0.1)
        flags = {"durable": durable, "exclusive": exclusive, "auto_delete": auto_delete}
        return Operation(self.channel(), "queue.declare", {"queue": queue, **flags, "arguments": args})

    def declare_any_queue(self) -> Operation:
        """A new declaration of a queue that may be there, or one without a name, or one that expires."""
        if self.chance(0.15):
            args = {"queue": "", "exclusive": True, "arguments": {}}
            return Operation(self.channel(), "queue.declare", args)
        if self.chance(0.1):
            args = {"queue": self.queues[0].replace(".q0", ".expiring"), "arguments": {"x-expires": SHORT_TTL}}
            return Operation(self.channel(), "queue.declare", args, pause=PAUSE)
        return self.declare_queue(self.random.choice(self.queues))

    def bad_declare(self) -> Operation:
        """A declaration with a strange argument or flag."""
        queue = self.random.choice([*self.queues, "amq.mine"])
        flags = {name: self.chance(0.3) for name in ("durable", "exclusive", "auto_delete")}
        args = bad_arguments(self.random)
        if self.chance(0.3):
            args = {"x-queue-type": "quorum", **args}
        return Operation(self.channel(), "queue.declare", {"queue": queue, **flags, "arguments": args})

    def declare_exchange(self, exchange: str | None = None) -> Operation:
        """A declaration of an exchange."""
        name = exchange or self.random.choice(self.exchanges)
        args: dict[str, object] = {}
        if self.chance(0.2):
            args["alternate-exchange"] = self.random.choice([*self.exchanges, "amq.fanout", "missing"])
        flags = {"durable": self.chance(0.5), "auto_delete": self.chance(0.08), "internal": self.chance(0.04)}
        kind = self.random.choice((*TYPES, "headers") if self.about.has("headers") else TYPES)
        values = {"exchange": name, "type": kind, **flags, "arguments": args}
        return Operation(self.channel(), "exchange.declare", values)

    def bad_exchange(self) -> Operation:
        """Something about an exchange that is not allowed."""
        name = self.random.choice([*self.exchanges, "", "amq.mine", "amq.direct", "amq.topic"])
        if self.chance(0.3):
            return Operation(self.channel(), "exchange.delete", {"exchange": name, "if_unused": self.chance(0.3)})
        args = self.random.choice([{}, {"alternate-exchange": 5}, {"alternate-exchange": None}])
        kind = self.random.choice(["direct", "topic", "wrong", ""])
        values = {"exchange": name, "type": kind, "durable": self.chance(0.5), "arguments": args}
        return Operation(self.channel(), "exchange.declare", values)

    def source(self) -> str:
        """The exchange of a binding."""
        return self.random.choice([*self.exchanges * 4, "amq.direct", "amq.topic", "" if self.chance(0.2) else "amq.match"])

    def binding(self) -> dict[str, object]:
        """Source, key and arguments of a binding."""
        args: dict[str, object] = {}
        if self.chance(0.8 if self.about.has("headers") else 0.2):
            args["h"] = self.random.choice([1, "1", True, None, 2.5])
            if self.chance(0.3):
                args["x-h"] = "x"
            if self.chance(0.8):
                args["x-match"] = self.random.choice(MATCHES[: 6 if self.about.has("errors") else 4])
        return {"routing_key": self.random.choice(KEYS + PATTERNS), "arguments": args}

    def bind(self) -> Operation:
        """A binding to a queue or an exchange. Names at random, so that keys are used often."""
        return self._bind("bind")

    def unbind(self) -> Operation:
        """The removal of a binding that may be there."""
        return self._bind("unbind")

    def _bind(self, verb: str) -> Operation:
        binding = self.binding()
        if self.chance(0.2):
            destination = self.random.choice(self.exchanges)
            values = {"destination": destination, "source": self.source(), **binding}
            return Operation(self.channel(), f"exchange.{verb}", values)
        values = {"queue": self.some_queue(), "exchange": self.source(), **binding}
        return Operation(self.channel(), f"queue.{verb}", values)

    def some_queue(self) -> str:
        """A queue, seldom the one declared last or one that is not there."""
        return self.random.choice(["", "missing"]) if self.chance(0.02) else self.random.choice(self.queues)

    def purge(self) -> Operation:
        """queue.purge."""
        return Operation(self.channel(), "queue.purge", {"queue": self.some_queue()})

    def delete_queue(self) -> Operation:
        """queue.delete with conditions."""
        values = {"queue": self.some_queue(), "if_unused": self.chance(0.4), "if_empty": self.chance(0.4)}
        return Operation(self.channel(), "queue.delete", values)

    def delete_exchange(self) -> Operation:
        """exchange.delete with a condition."""
        values = {"exchange": self.random.choice(self.exchanges), "if_unused": self.chance(0.5)}
        return Operation(self.channel(), "exchange.delete", values)

    def passive(self) -> Operation:
        """A passive declaration."""
        if self.chance(0.5):
            return Operation(self.channel(), "queue.declare", {"queue": self.some_queue(), "passive": True})
        return Operation(self.channel(), "exchange.declare", {"exchange": self.source(), "passive": True})

    # ------------------------------------------------------------------------------------------- messages

    def publish(self) -> Operation:
        """A message to somewhere."""
        self.published += 1
        if self.chance(0.45):
            exchange, key = "", self.random.choice(self.queues)
        else:
            exchange, key = self.random.choice(self.exchanges), self.random.choice(KEYS)
        if self.chance(0.01):
            exchange = "missing"
        channel = self.channel()
        return publish(self.random, self.about, channel, exchange, key, self.queues, self.published)

    def get(self) -> Operation:
        """basic.get."""
        # RabbitMQ does not count what is got against the limit of a channel.
        channel, no_ack = self.channel(), self.whole_channel or self.chance(0.3)
        if not no_ack:
            self.takers.append(channel)
        return Operation(channel, "basic.get", {"queue": self.some_queue(), "no_ack": no_ack})

    def consume(self) -> Operation:
        """basic.consume with the channel's queue."""
        channel = self.channel()
        queue = "missing" if self.chance(0.01) else self.consumes[channel]
        args: dict[str, object] = {}
        # Not where one consumer of a quorum queue is active: RabbitMQ 3.10 does not heed priorities there.
        if self.chance(0.15) and not (self.about.has("quorum") and self.about.has("single")):
            args["x-priority"] = self.random.choice([1, -1, 5] if self.chance(0.9) else ["high", True])
        values = {
            "queue": queue,
            "consumer_tag": self.random.choice(["t1", "t2", "t3"]) if self.chance(0.05) else f"t{self.random.randint(4, 99)}",
            "no_ack": not self.whole_channel and self.chance(0.3),
            "exclusive": self.chance(0.06),
            "arguments": args,
        }
        self.consumers.append((channel, str(values["consumer_tag"])))
        if not values["no_ack"]:
            self.takers += [channel] * 3
        return Operation(channel, "basic.consume", values)

    def cancel(self) -> Operation:
        """basic.cancel of a consumer that may be there."""
        channel, tag = self.random.choice([*self.consumers, (self.channel(), "nobody")])
        return Operation(channel, "basic.cancel", {"consumer_tag": tag})

    def qos(self) -> Operation:
        """basic.qos."""
        is_global = self.whole_channel and self.chance(0.6)
        values = {"prefetch_count": self.random.choice([0, 1, 2, 3]), "global_": is_global}
        return Operation(self.channel(), "basic.qos", values)

    def settle(self) -> Operation:
        """An acknowledgement or a rejection of something outstanding."""
        method = self.random.choice(["basic.ack", "basic.nack", "basic.nack", "basic.reject"])
        values: dict[str, object] = {} if method == "basic.reject" else {"multiple": self.chance(0.3)}
        if method != "basic.ack":
            values["requeue"] = self.chance(0.5)
        channel = self.random.choice(self.takers or CHANNELS)
        return Operation(channel, method, values, tag=self.random.choice(["first", "first", "middle", "last"]))

    def bad_tag(self) -> Operation:
        """An acknowledgement of what may be unknown, or of all."""
        return Operation(self.channel(), "basic.ack", {"multiple": self.chance(0.5)}, tag=self.random.choice([0, 0, 1, 2, 999]))

    def recover(self) -> Operation:
        """basic.recover of everything."""
        return Operation(self.channel(), self.random.choice(["basic.recover", "basic.recover-async"]), {"requeue": True})

    # ------------------------------------------------------------------------------------------- channels

    def close_channel(self) -> Operation:
        """channel.close by the client; the next operation opens it again."""
        return Operation(self.channel(), "channel.close", {"reply_code": 200, "reply_text": "bye"})

    def transaction(self) -> Operation:
        """tx.select, tx.commit or tx.rollback."""
        channel = "A2" if self.chance(0.9) else self.channel()
        return Operation(channel, self.random.choice(["tx.select", "tx.commit", "tx.commit", "tx.rollback"]))

    def confirm(self) -> Operation:
        """confirm.select."""
        return Operation(self.channel() if self.chance(0.1) else self.random.choice(["A1", "B1", "B2"]), "confirm.select")

    def strange(self) -> Operation:
        """What closes the connection, or is seldom sent."""
        choices = [
            Operation(self.channel(), "basic.recover", {"requeue": False}),
            Operation(self.channel(), "basic.qos", {"prefetch_size": 7}),
            Operation(self.channel(), "basic.publish", {"exchange": "", "routing_key": "k", "immediate": True}),
            Operation(self.channel(), "access.request", {"realm": "r"}),
            Operation(self.channel(), "tx.commit"),
            Operation(self.channel(), "tx.rollback"),
            Operation(self.channel(), "basic.cancel", {"consumer_tag": "nobody"}),
        ]
        return self.random.choice(choices)
