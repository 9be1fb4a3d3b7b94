"""Numbers as people read them."""

from __future__ import annotations

PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
NOTHING = "–"


def three_digits(value: float) -> str:
    """Three significant digits, without an exponent and without zeros at the end of a fraction."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:.0f}"
    text = f"{value:.{1 if abs(value) >= 10 else 2}f}" if abs(value) >= 1 else f"{value:.3g}"
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def scaled(value: float) -> tuple[float, str]:
    """The value in the largest prefix that leaves at least one, after rounding."""
    for size, prefix in PREFIXES:
        if abs(value) >= size * 0.9995:
            return value / size, prefix
    return value, ""


def number(value: float | None, unit: str) -> str:
    """A value with its unit."""
    if value is None:
        return NOTHING
    if unit == "s":
        return f"{three_digits(value)} s" if value >= 1 else f"{three_digits(value * 1e3)} ms"
    if unit == "us":
        return f"{three_digits(value / 1e3)} ms" if value >= 999.5 else f"{three_digits(value)} us"
    amount, prefix = scaled(value)
    if unit == "B":
        return f"{three_digits(amount)} {prefix}B"
    return f"{three_digits(amount)}{' ' + prefix if prefix else ''}"


def times(ratio: float | None) -> str:
    """A ratio."""
    return NOTHING if ratio is None else f"{three_digits(ratio)}x"
