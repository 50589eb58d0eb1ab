"""Reach: which part of a map a change of the input can reach, in whole numbers, one spatial axis at a time.

An interval is [low, high) along an axis; a :class:`Reach` holds those of many windows at once. What a window operation
(convolution, pooling) reads for output position o are the input positions o * stride - padding + dilation * [0,
kernel).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Reach", "Slide", "clusters"]

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Slide:
    """Geometry of a window operation along one axis."""

    kernel: int
    stride: int
    padding: int
    dilation: int

    @property
    def span(self) -> int:
        """Input positions from the first to the last that one output position reads."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def is_plain(self) -> bool:
        """Whether every output position reads the input position of the same number, and no other."""
        return self.kernel == 1 and self.stride == 1 and self.padding == 0


@dataclass(frozen=True)
class Reach:
    """Intervals [low, high) within 0 to ``size``, one for each window."""

    low: Numbers
    high: Numbers
    size: int

    def through(self, slide: Slide, size: int) -> Reach:
        """What of the output (``size`` positions) the intervals can change; at least one position."""
        low = -(-(self.low + slide.padding - slide.span + 1) // slide.stride)
        high = (self.high - 1 + slide.padding) // slide.stride + 1
        low = np.clip(low, 0, size - 1)
        return Reach(low, np.clip(high, low + 1, size), size)

    def joined(self, other: Reach) -> Reach:
        """The smallest intervals that cover both."""
        return Reach(np.minimum(self.low, other.low), np.maximum(self.high, other.high), self.size)

    @property
    def lengths(self) -> Numbers:
        """Positions in each interval."""
        return np.asarray(self.high - self.low)

    def placed(self, rows: Numbers) -> tuple[Numbers, int]:
        """(starts, one length) for the windows ``rows``: each place covers its interval and lies within the map."""
        length = int(self.lengths[rows].max())
        return np.minimum(self.low[rows], self.size - length), length


def clusters(lengths: Sequence[Numbers], weights: Sequence[float], members: int) -> Numbers:
    """Windows put into groups of about equal lengths, so that one group's patches have one size without much waste.

    ``lengths`` are those of every costly step, ``weights`` the cost of one position of it; there are at most
    ``members`` groups. Neighbours in order of cost are put together where that wastes least. Gives the number of each
    one's group.
    """
    table = np.stack(lengths, 1).astype(float) * np.asarray(weights)
    kinds, kind_of, counts = np.unique(table, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(kinds.sum(1), kind="stable")
    groups: list[Any] = [([int(i)], kinds[i], int(counts[i])) for i in order]
    while len(groups) > members:
        waste = [_waste(a, b) for a, b in pairwise(groups)]
        best = int(np.argmin(waste))
        a, b = groups[best], groups.pop(best + 1)
        groups[best] = (a[0] + b[0], np.maximum(a[1], b[1]), a[2] + b[2])
    number = np.empty(len(kinds), np.int64)
    for g, (kinds_in, _, _) in enumerate(groups):
        number[kinds_in] = g
    return np.asarray(number[kind_of.reshape(-1)])


def _waste(a: Any, b: Any) -> float:
    together = np.maximum(a[1], b[1])
    return float(a[2] * (together - a[1]).sum() + b[2] * (together - b[1]).sum())
