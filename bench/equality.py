"""Are the values the same? Asked before anything is timed: a fast wrong answer is worth nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.case import Bar, Row, Setting

__all__ = ["difference", "same_values"]


def difference(ours: Any, theirs: Any) -> float:
    """Largest ``|ours - theirs|`` as a share of the largest ``|theirs|``, the worst of all examples; inf where one is
    empty.

    Both are (N, ...) in the raw units of the method. Values that are zero everywhere would be equal to anything broken
    in the same way, so they count as different.
    """
    a = np.asarray(ours, dtype=np.float64)
    b = np.asarray(theirs, dtype=np.float64)
    if a.shape != b.shape:
        return float("inf")
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    largest = np.abs(b).max(axis=1)
    if not largest.all():
        return float("inf")
    return float((np.abs(a - b).max(axis=1) / largest).max())


def same_values(name: str, ours: Any, theirs: Any, setting: Setting) -> Row:
    """The row that says whether the values agree."""
    return Row(name, difference(ours, theirs), "of the largest value", Bar(setting.tolerance), values=True)
