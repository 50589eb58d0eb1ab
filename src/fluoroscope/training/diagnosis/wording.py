"""Words of the evidence: numbers, steps and lists of layers as a person writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["named", "number", "share", "times"]


def number(value: float) -> str:
    """Three digits that mean something: 0.00123, 2.31, 1.2e+05."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:.3g}"


def share(value: float) -> str:
    """A share in percent."""
    return f"{100 * value:.0f} %" if value >= 0.1 or value == 0 else f"{100 * value:.2g} %"


def times(value: float) -> str:
    """A factor: 3.2 times, 400 times."""
    return f"{value:.1f} times" if value < 10 else f"{value:,.0f} times" if value < 1e6 else f"{value:.1e} times"


def named(names: Sequence[str], most: int = 3) -> str:
    """The first few names and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
