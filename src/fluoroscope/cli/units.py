"""Numbers for people."""

from __future__ import annotations

import math

__all__ = ["amount", "counted", "decimal", "measured", "share", "size"]


def amount(number: float) -> str:
    """A count in three digits with a unit: ``601 M``, ``4.09 G``; empty for zero."""
    if not number:
        return ""
    for power, unit in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if number >= 0.9995 * 10**power:
            scaled = number / 10**power
            return f"{scaled:.{max(0, 2 - max(0, math.floor(math.log10(scaled))))}f} {unit}"
    return f"{number:.0f}"


def counted(number: int, word: str) -> str:
    """How many there are of something: ``1 point``, ``2,000 points``."""
    return f"{number:,} {word}{'s' * (number != 1)}"


def size(count: float) -> str:
    """Bytes: ``14.0 MB``."""
    return f"{amount(count)}B" if count >= 1000 else f"{count:.0f} B"


def decimal(number: float) -> str:
    """Four digits of a number, without powers of ten below 100,000; whole numbers below ten million in full."""
    if 1e4 <= abs(number) < 1e7 and float(number).is_integer():
        return f"{number:,.0f}"
    text = f"{number:.4g}"
    return f"{float(text):,.0f}" if "e+" in text and abs(number) < 1e5 else text


def measured(number: float, unit: str) -> str:
    """A number with its unit: ``490 MB`` for bytes, ``0.0125 s``."""
    if unit == "bytes" and math.isfinite(number):
        return size(number)
    return f"{decimal(number)} {unit}".rstrip()


def share(number: float) -> str:
    """A share as a percentage; what is not nothing is not shown as nothing."""
    return "" if math.isnan(number) else "<0.1 %" if 0 < number < 0.001 else f"{100 * number:.1f} %"
