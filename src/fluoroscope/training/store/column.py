"""Column: one series as arrays, and its reduction to what a curve of some width can show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fluoroscope.results import Array

__all__ = ["Column", "Envelope", "envelope"]


@dataclass(frozen=True)
class Column:
    """Points of one series in the order of writing: ``steps`` int64, ``values`` float64, ``times`` in seconds since
    1970, each (S,).
    """

    steps: Array
    values: Array
    times: Array

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True)
class Envelope:
    """Least and greatest finite value of each bucket of points that follow one another.

    ``steps`` (B,) are those of each bucket's first point and ``ends`` of its last; ``low`` and ``high`` (B,) are NaN
    where no value was finite; ``hidden`` (B,) counts the NaN and infinite values of each bucket.
    """

    steps: Array
    ends: Array
    low: Array
    high: Array
    hidden: Array


def envelope(steps: Array, values: Array, buckets: int) -> Envelope:
    """The min-max envelope of a series (S,): exact, and no larger than ``buckets`` whatever its length."""
    count = len(values)
    starts = np.unique(np.arange(max(1, min(buckets, count)), dtype=np.int64) * count // max(1, min(buckets, count)))
    if not count:
        none = np.zeros(0)
        return Envelope(steps[:0], steps[:0], none, none, np.zeros(0, np.int64))
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    hidden = np.zeros(len(starts), np.int64)
    odd = np.flatnonzero(~(np.isfinite(low) & np.isfinite(high)))
    ends = np.append(starts[1:], count)
    for i in odd.tolist():
        part = values[starts[i] : ends[i]]
        finite = part[np.isfinite(part)]
        hidden[i] = len(part) - len(finite)
        low[i], high[i] = (finite.min(), finite.max()) if len(finite) else (np.nan, np.nan)
    return Envelope(steps[starts], steps[ends - 1], low, high, hidden)
