"""What shape a JSON value has, and how one differs from another.

A shape is a value with all that does not matter taken away: of a list there is one element of each kind.
"""

import re


def kind(value):
    """The JSON type of a value. Whole numbers and others are one type in JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return {int: "number", float: "number", str: "string", list: "array", dict: "object"}[type(value)]


class Expected:
    """A recorded answer, and what of it need not be there."""

    def __init__(self, left_out, nullable, free):
        self.left_out = [re.compile(pattern) for pattern in left_out]
        self.nullable = [re.compile(pattern) for pattern in nullable]
        self.free = [re.compile(pattern) for pattern in free]

    def differences(self, recorded, actual, path=""):
        """What the recorded value has and the actual one has not, or has otherwise: a list of texts."""
        if recorded is None or (actual is None and _matches(self.nullable, path)):
            return []
        if kind(recorded) != kind(actual):
            return [f"{path or '.'}: {kind(actual)} instead of {kind(recorded)}"]
        if isinstance(recorded, dict):
            return self._objects(recorded, actual, path)
        if isinstance(recorded, list):
            return self._lists(recorded, actual, path)
        return []

    def _objects(self, recorded, actual, path):
        found = []
        if _matches(self.free, path):
            # The keys are names; one value is as good as another.
            return self._lists(list(recorded.values()), list(actual.values()), path)
        for key, value in recorded.items():
            at = f"{path}.{key}"
            if _matches(self.left_out, at):
                continue
            if key in actual:
                found += self.differences(value, actual[key], at)
            else:
                found.append(f"{at}: missing")
        return found

    def _lists(self, recorded, actual, path):
        """Each element has to have what all recorded ones have, and what some have has to be in some."""
        at = f"{path}[]"
        if not recorded:
            return []
        if not actual:
            return [] if _matches(self.left_out, at) else [f"{path or '.'}: empty"]
        if not all(isinstance(value, dict) for value in recorded):
            return self._each(recorded[0], actual, at)
        common = {key: value for key, value in recorded[0].items() if all(key in other for other in recorded)}
        found = self._each(_without_inner(common, recorded), actual, at)
        for element in recorded:
            tries = [self.differences(element, candidate, at) for candidate in actual]
            found += min(tries, key=len)
        return sorted(set(found))

    def _each(self, recorded, actual, at):
        return sorted({text for element in actual for text in self.differences(recorded, element, at)})


def _without_inner(common, recorded):
    """The common keys of objects, where an inner object or a null stands for any: elements differ in these."""
    return {
        key: None if value is None or isinstance(value, dict | list) or len({kind(other[key]) for other in recorded}) > 1 else value
        for key, value in common.items()
    }


def _matches(patterns, path):
    return any(pattern.search(path) for pattern in patterns)


def outline(value):
    """The same of a value as text, in which two of one shape are equal."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{outline(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(sorted({outline(element) for element in value})) + "]"
    return kind(value)


def condensed(value):
    """A value with one element of each shape in its lists."""
    if isinstance(value, dict):
        return {key: condensed(value[key]) for key in value}
    if isinstance(value, list):
        first = {}
        for element in map(condensed, value):
            first.setdefault(outline(element), element)
        return list(first.values())
    return value
