"""Random arguments of queues, and what a sequence is about."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from .operations import Typed

SHORT_TTL = 80
PAUSE = 300
LONG_TTL = 600_000
SUBJECTS = ("ttl", "length", "dead", "priority", "single", "quorum", "tx", "confirm", "exclusive", "headers", "errors")


@dataclass(frozen=True)
class Profile:
    """What a sequence is about, so that each goes deep in a few things."""

    subjects: frozenset[str]
    short: bool
    """Messages expire while the sequence runs; each operation is followed by a pause then."""

    def has(self, subject: str) -> bool:
        """Whether the sequence is about this."""
        return subject in self.subjects


def profile(random: Random) -> Profile:
    """Two to five subjects; few sequences have messages that expire in them."""
    subjects = set(random.sample(SUBJECTS, random.randint(2, 5)))
    if "dead" not in subjects and random.random() < 0.4:
        subjects.add("dead")
    return Profile(frozenset(subjects), "ttl" in subjects and random.random() < 0.35)


def wide(random: Random, value: int) -> object:
    """An integer in any width that it fits."""
    return Typed(random.choice("Iil"), value) if random.random() < 0.2 else value


def good_arguments(random: Random, about: Profile, queues: list[str], exchanges: list[str]) -> dict[str, object]:
    """Arguments that a queue may have, by the subjects of the sequence."""
    found: dict[str, object] = {}
    quorum = about.has("quorum") and random.random() < 0.6
    if quorum:
        found["x-queue-type"] = "quorum"
    elif random.random() < 0.05:
        found["x-queue-type"] = "classic"
    if about.has("ttl") and random.random() < 0.6:
        found["x-message-ttl"] = wide(random, random.choice([0, SHORT_TTL]) if about.short else LONG_TTL)
    if about.has("length") and random.random() < 0.7:
        if random.random() < 0.75:
            found["x-max-length"] = wide(random, random.choice([0, 1, 2, 3]))
        else:
            found["x-max-length-bytes"] = wide(random, random.choice([0, 4, 9, 20]))
        # Not quorum queues: RabbitMQ's refuse some messages later than told.
        if not quorum and random.random() < 0.6:
            found["x-overflow"] = random.choice(["drop-head", "reject-publish", "reject-publish-dlx"])
    if about.has("dead") and random.random() < 0.75:
        found["x-dead-letter-exchange"] = random.choice(["", "", *exchanges])
        if found["x-dead-letter-exchange"] == "" or random.random() < 0.4:
            found["x-dead-letter-routing-key"] = random.choice([*queues, "a.b"])
    if about.has("priority") and not quorum and random.random() < 0.7:
        found["x-max-priority"] = wide(random, random.choice([1, 3, 10, 0, 255]))
    if about.has("single") and random.random() < 0.7:
        found["x-single-active-consumer"] = random.random() < 0.9
    if quorum:
        # Always, since RabbitMQ before 4 has no limit by itself, and returns messages to the end then.
        found["x-delivery-limit"] = random.choice([0, 1, 2, 5])
    if random.random() < 0.05:
        found["x-expires"] = wide(random, LONG_TTL)
    if random.random() < 0.04 and not quorum:
        found["x-queue-mode"] = random.choice(["lazy", "default"])
    if random.random() < 0.04:
        found["x-of-nobody"] = random.choice([1, "a", True])
    return found


NAMES = (
    "x-message-ttl",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-priority",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-mode",
    "x-delivery-limit",
)
VALUES: tuple[object, ...] = (
    -1,
    0,
    1,
    300,
    "",
    "1",
    "wrong",
    True,
    None,
    1.5,
    Typed("l", 315_360_000_001),
    Typed("l", -5),
    Typed("b", -1),
    [1],
    {"a": 1},
    b"bytes",
)


def bad_arguments(random: Random) -> dict[str, object]:
    """One argument with any value; most such are refused."""
    return {random.choice(NAMES): random.choice(VALUES)}
