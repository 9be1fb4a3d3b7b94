"""What a client can see of one operation, in a form in which two brokers can be compared."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .link import Event

FIRST = {"basic.return": 1, "basic.cancel": 2, "basic.deliver": 3}
GENERATED_TAG = re.compile(r"amq\.ctag-[A-Za-z0-9_=-]+")
DEATHS = ("x-death",)


@dataclass
class Observation:
    """Events by channel, confirms by channel, queues with their ready messages and consumers."""

    events: dict[str, list[tuple[object, ...]]] = field(default_factory=dict)
    confirms: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    queues: dict[str, tuple[int, int]] = field(default_factory=dict)
    skipped: bool = False
    quorum: frozenset[str] = frozenset()
    """The queues that may be quorum queues."""

    def closes(self) -> list[tuple[int, str]]:
        """Reply codes and texts of the closes in it."""
        found = []
        for events in self.events.values():
            for event in events:
                if event[0] in ("channel.close", "connection.close"):
                    args = dict(event[1])  # type: ignore[call-overload]
                    found.append((args["reply_code"], args["reply_text"]))
        return found

    def lines(self) -> list[str]:
        """The observation as readable text."""
        out = ["nothing to settle"] if self.skipped else []
        for channel, events in sorted(self.events.items()):
            out += [f"{channel} {event[0]} " + " ".join(repr(part) for part in event[1:]) for event in events]
        out += [f"{channel} confirms {confirms}" for channel, confirms in sorted(self.confirms.items())]
        out += [f"queue {name}: {ready} ready, {users} consumers" for name, (ready, users) in sorted(self.queues.items())]
        return out


def observation(
    events: list[tuple[str, Event]],
    confirms: dict[str, set[tuple[int, str]]],
    queues: dict[str, tuple[int, int]],
    aliases: dict[str, str],
    skipped: bool,
    quorum: frozenset[str],
) -> Observation:
    """The events so far, without what legitimately differs."""
    result = Observation(skipped=skipped, quorum=quorum)
    for label, event in events:
        result.events.setdefault(label, []).append(plain(event, aliases))
    for label, found in result.events.items():
        # Replies, returns and cancellations come from other processes than deliveries do.
        found.sort(key=lambda event: (FIRST.get(str(event[0]), 0), str(event) if event[0] == "basic.cancel" else ""))
        result.events[label] = found
    result.confirms = {label: sorted(found) for label, found in confirms.items()}
    result.queues = {str(named(queue, aliases)): counts for queue, counts in queues.items()}
    return result


def plain(event: Event, aliases: dict[str, str]) -> tuple[object, ...]:
    """An event as a tuple of its name, its arguments, its properties and its body."""
    args = tuple((key, named(value, aliases)) for key, value in event.args.items())
    if event.content is None:
        return event.name, args
    properties = {key: named(value, aliases) for key, value in event.content.properties.items()}
    headers = properties.get("headers")
    if isinstance(headers, dict):
        properties["headers"] = {key: timeless(key, value) for key, value in headers.items()}
    return event.name, args, properties, event.content.body


def timeless(key: str, value: object) -> object:
    """The deaths of a message without their times."""
    if key not in DEATHS or not isinstance(value, list):
        return value
    return [{k: "a time" if k == "time" else v for k, v in death.items()} if isinstance(death, dict) else death for death in value]


def named(value: object, aliases: dict[str, str]) -> object:
    """A value in which generated names are replaced by those that both brokers share."""
    if isinstance(value, str):
        for generated, alias in aliases.items():
            value = value.replace(generated, alias)
        return GENERATED_TAG.sub("amq.ctag-generated", value)
    if isinstance(value, list):
        return [named(inner, aliases) for inner in value]
    if isinstance(value, dict):
        return {key: named(inner, aliases) for key, inner in value.items()}
    return value
