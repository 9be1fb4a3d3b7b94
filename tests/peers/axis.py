"""An axis: where a value lies, and the ticks beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable

LOGARITHMIC_FROM = 20
"""The ratio of the largest to the smallest value above which an axis is logarithmic."""
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
WANTED_TICKS = 5
FEW, FINE = 2.5, (1, 2, 5)
"""On a logarithmic axis of so few decades there is more than the powers of ten."""


class Axis:
    """A scale over the values, from `left` to `right` in pixels; logarithmic if they are far apart."""

    def __init__(self, values: Iterable[float], left: float, right: float) -> None:
        positive = sorted(value for value in values if value > 0)
        if not positive:
            raise ValueError("an axis needs a value above 0")
        self.left, self.right = left, right
        self.logarithmic = positive[-1] / positive[0] > LOGARITHMIC_FROM
        if self.logarithmic:
            # Half a decade of room below, so that no point is on the edge.
            self.low = 10 ** (math.floor(2 * math.log10(positive[0])) / 2)
            self.high = 10 ** (math.ceil(2 * math.log10(positive[-1])) / 2)
        else:
            step = nice_step(positive[-1])
            self.low, self.high = 0.0, math.ceil(positive[-1] / step) * step

    def at(self, value: float) -> float:
        """Where a value is, in pixels; what is outside is on the edge."""
        value = min(max(value, self.low), self.high)
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = value / self.high
        return self.left + share * (self.right - self.left)

    def ticks(self) -> list[float]:
        """The values that are marked: powers of ten with what is between them, or even steps."""
        if self.logarithmic:
            decades = math.log10(self.high / self.low)
            first, last = math.floor(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = [factor * 10.0**power for power in range(first, last + 1) for factor in (FINE if decades <= FEW else (1,))]
            return [tick for tick in every if self.low * 0.999 <= tick <= self.high * 1.001]
        step = nice_step(self.high)
        return [step * count for count in range(round(self.high / step) + 1)]


def nice_step(highest: float) -> float:
    """A round step that makes about five of the highest value."""
    rough = highest / WANTED_TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    return next(step * size for step in STEPS if step * size >= rough * 0.999)
