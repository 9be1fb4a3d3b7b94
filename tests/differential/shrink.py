"""Makes a sequence shorter while its difference stays."""

from __future__ import annotations

from dataclasses import replace

from .compare import Difference, Pair
from .operations import Operation


def same(first: Difference, second: Difference | None) -> bool:
    """Whether two differences are of one kind: the same method and the same difference in kind."""
    if second is None or second.known != first.known or first.operation.method != second.operation.method:
        return False
    return kinds(first) == kinds(second)


def kinds(difference: Difference) -> tuple[object, ...]:
    """What differs, roughly."""
    left, right = difference.rabbitmq, difference.leveret
    closes = tuple(tuple(code for code, _ in side.closes()) for side in (left, right))
    return closes, left.events != right.events, left.queues != right.queues, left.confirms != right.confirms


def shrink(pair: Pair, sequence: list[Operation], difference: Difference) -> tuple[list[Operation], Difference]:
    """The shortest sequence found, by leaving out halves, quarters and so on, then arguments and properties."""
    sequence = sequence[: difference.at + 1]
    size = max(1, len(sequence) // 2)
    while size:
        at = 0
        while at < len(sequence) - 1:
            fewer = sequence[:at] + sequence[min(at + size, len(sequence) - 1) :]
            again = pair.run(fewer)
            if again is not None and same(difference, again):
                sequence, difference = fewer[: again.at + 1], again
            else:
                at += size
        size //= 2
    return simpler(pair, sequence, difference)


def simpler(pair: Pair, sequence: list[Operation], difference: Difference) -> tuple[list[Operation], Difference]:
    """The same operations with fewer arguments, properties and flags."""
    for at in range(len(sequence)):
        for changed in variants(sequence[at]):
            fewer = [*sequence[:at], changed, *sequence[at + 1 :]]
            again = pair.run(fewer)
            if again is not None and same(difference, again):
                sequence, difference = fewer[: again.at + 1], again
                break
        if at >= len(sequence) - 1:
            break
    return sequence, difference


def variants(operation: Operation) -> list[Operation]:
    """The operation with one thing less in it, after one with everything less."""
    found = []
    if operation.properties:
        found.append(replace(operation, properties={}))
        found += [replace(operation, properties=without(operation.properties, key)) for key in operation.properties]
    arguments = operation.args.get("arguments")
    if isinstance(arguments, dict) and arguments:
        for fewer in ({}, *(without(arguments, key) for key in arguments)):
            found.append(replace(operation, args={**operation.args, "arguments": fewer}))
    flags = [key for key, value in operation.args.items() if value is True]
    found += [replace(operation, args={**operation.args, key: False}) for key in flags]
    return found


def without(values: dict[str, object], key: str) -> dict[str, object]:
    """The dictionary without one key."""
    return {k: v for k, v in values.items() if k != key}
