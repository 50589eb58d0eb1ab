"""Numbers for people."""

from __future__ import annotations

import math

__all__ = ["amount", "decimal", "share", "size"]


def amount(number: float) -> str:
    """A count in three digits with a unit: ``601 M``, ``4.09 G``; empty for zero."""
    if not number:
        return ""
    for power, unit in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if number >= 0.9995 * 10**power:
            scaled = number / 10**power
            return f"{scaled:.{max(0, 2 - max(0, math.floor(math.log10(scaled))))}f} {unit}"
    return f"{number:.0f}"


def size(count: int) -> str:
    """Bytes: ``14.0 MB``."""
    return f"{amount(count)}B" if count >= 1000 else f"{count} B"


def decimal(number: float) -> str:
    """Four digits of a number."""
    return f"{number:.4g}"


def share(number: float) -> str:
    """A share as a percentage; what is not nothing is not shown as nothing."""
    return "" if math.isnan(number) else "<0.1 %" if 0 < number < 0.001 else f"{100 * number:.1f} %"
