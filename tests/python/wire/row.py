"""A row of the catalogue as data, and how it is run."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from . import frames
from .answers import Unchecked
from .client import Handshake, Stage
from .conversation import Conversation
from .frames import Argument

Step = bytes | Callable[[Conversation], object]

RUN = secrets.token_hex(4)


def unique(tag: str) -> str:
    """A name no other process uses, so that rows do not meet on a broker that stays."""
    return f"w{RUN}-{tag}"


@dataclass(frozen=True)
class Needs:
    """What broker a row wants. The default is the one that all rows share."""

    settings: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False
    """A broker of its own, since the row changes what later rows would see."""
    host: str = "127.0.0.1"

    @property
    def shared(self) -> bool:
        """Whether the common broker will do."""
        return not self.settings and not self.fresh and self.host == "127.0.0.1"

    @property
    def key(self) -> str:
        """Equal for rows that can share a broker."""
        return f"{self.host} {sorted(self.settings.items())}"


@dataclass(frozen=True)
class Row:
    """A row: bytes to send and answers to expect, in order, from a stage of the handshake on."""

    number: int
    case: str
    steps: tuple[Step, ...]
    at: Stage
    rmq: tuple[Step, ...] | None
    """What RabbitMQ 3.10.8 answers instead of the last step, where it differs."""
    note: str
    """What the difference is, or why the row exists."""
    later: str
    """Why the row is not run yet."""
    options: Handshake
    needs: Needs
    leaves: tuple[tuple[str, str], ...]

    @property
    def id(self) -> str:
        """The test's name: W012-pipelined-handshake."""
        return f"W{self.number:03}-" + re.sub(r"[^a-z0-9]+", "-", self.case.lower()).strip("-")

    def unchecked(self) -> str:
        """Why RabbitMQ cannot be asked, if so."""
        for step in self.rmq or ():
            if isinstance(step, Unchecked):
                return step.why
        return ""

    def run(self, talk: Conversation) -> None:
        """Take the connection to its stage, then send and expect."""
        talk.peer.advance(self.at)
        steps = self.steps
        if talk.target.rabbitmq and self.rmq is not None:
            steps = (*self.steps[:-1], *self.rmq)
        for step in steps:
            if isinstance(step, bytes):
                talk.peer.send(step)
            else:
                step(talk)
        talk.finish()


def row(  # noqa: PLR0913
    number: int,
    case: str,
    *steps: Step,
    at: Stage = Stage.CHANNEL,
    rmq: Step | tuple[Step, ...] | None = None,
    note: str = "",
    later: str = "",
    options: Handshake | None = None,
    settings: Mapping[str, str] | None = None,
    fresh: bool = False,
    host: str = "127.0.0.1",
    leaves: tuple[tuple[str, str], ...] = (),
) -> Row:
    """A row; by default it starts with channel 1 open on the broker that all rows share."""
    instead = (rmq,) if rmq is not None and not isinstance(rmq, tuple) else rmq
    needs = Needs(settings or {}, fresh, host)
    return Row(number, case, steps, at, instead, note, later, options or Handshake(), needs, leaves)


def call(name: str, on: int = 1, /, **args: Argument) -> tuple[Step, Step]:
    """A method and its -ok, as two steps."""

    def answered(talk: Conversation) -> None:
        talk.peer.expect(name + "-ok", on)

    return frames.method(name, on, **args), answered


def declared(queue: str, on: int = 1, /, **args: Argument) -> tuple[Step, Step]:
    """Declare a queue, exclusive unless said otherwise."""
    values: dict[str, Argument] = {"queue": queue, "exclusive": True}
    return call("queue.declare", on, **(values | args))
