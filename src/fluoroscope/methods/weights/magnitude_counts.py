"""Histograms in one pass, before the range is known: entries are counted by sign, exponent and the first seven bits
of their fraction, 128 steps for each power of two.

Every histogram with edges on that grid follows from the counts exactly, for whatever range turns out to be needed.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

__all__ = ["MagnitudeCounts"]

FRACTION = 7
UPPER = 1 if sys.byteorder == "little" else 0  # where the upper half of a float32 lies
DEPTH = 1e-8  # a histogram by magnitude reaches down to this share of the largest


class MagnitudeCounts:
    """Counts (2 signs x G steps of magnitude) of float32 or float64 values."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        exponent, bits = (8, 32) if self.dtype == np.float32 else (11, 64)
        self.steps = 1 << (exponent + FRACTION)
        self._finite = self.steps - (1 << FRACTION)
        self._whole = np.dtype(f"u{bits // 8}")
        self._shift = bits - 1 - exponent - FRACTION
        self._counts = np.zeros(2 * self.steps, dtype=np.int64)
        self.zeros = 0

    def add(self, values: Any) -> int:
        """Count a block; the number of its entries that are NaN or infinite."""
        flat = np.ascontiguousarray(values).reshape(-1)
        if self.dtype == np.float32:
            codes = flat.view(np.uint16)[UPPER::2]
        else:
            codes = (flat.view(self._whole) >> np.uint64(self._shift)).view(np.int64)
        found = np.bincount(codes, minlength=2 * self.steps)
        self._counts += found
        if found[0] or found[self.steps]:
            self.zeros += int(np.count_nonzero(flat == 0))
        return int(found[self._finite : self.steps].sum() + found[self.steps + self._finite :].sum())

    def value(self, step: Any) -> Any:
        """Where a step of magnitude begins."""
        return (np.asarray(step).astype(self._whole) << self._whole.type(self._shift)).view(self.dtype).astype(float)

    def step(self, magnitude: Any) -> Any:
        """The step that magnitudes lie in."""
        found = np.ascontiguousarray(np.abs(magnitude), dtype=self.dtype).view(self._whole)
        return np.minimum((found >> self._whole.type(self._shift)).astype(np.int64), self._finite)

    def below(self, magnitude: float) -> tuple[int, float]:
        """How many entries lie below ``magnitude``, rounded down to the grid, and that rounded magnitude.

        Below 0 means: exactly zero.
        """
        step = int(self.step(np.array([magnitude]))[0])
        both = self._counts[:step].sum() + self._counts[self.steps : self.steps + step].sum()
        return max(int(both), self.zeros), float(self.value(np.array([step]))[0])

    def linear(self, largest: float, bins: int) -> tuple[Any, Any]:
        """Edges (B + 1,) about evenly spaced from -largest to largest, on the grid, and counts (B,)."""
        wanted = np.linspace(-largest, largest, bins + 1)[1:-1]
        return self._histogram(np.sign(wanted) * self._nearest(wanted), np.sign(wanted), largest)

    def logarithmic(self, largest: float, bins: int) -> tuple[Any, Any]:
        """Edges of equal ratio on both sides of zero, on the grid, and counts; the middle bar holds zero."""
        least = min(max(self._least(), largest * DEPTH), largest / 2)
        sides = np.geomspace(least, largest, max(1, bins // 2) + 1)[:-1]
        steps = np.unique(self._nearest(sides))
        steps = steps[(steps > 0) & (self.value(steps) < largest)]
        wanted = np.concatenate([-steps[::-1], steps])
        return self._histogram(wanted, np.sign(wanted), largest)

    def _nearest(self, magnitudes: Any) -> Any:
        """The step that begins nearest to each magnitude."""
        step = self.step(magnitudes)
        low, high = self.value(step), self.value(step + 1)
        return np.where(np.abs(magnitudes) - low > high - np.abs(magnitudes), step + 1, step)

    def _least(self) -> float:
        """Where the step of the smallest magnitude above zero begins."""
        both = self._counts[1 : self._finite] + self._counts[self.steps + 1 : self.steps + self._finite]
        found = np.flatnonzero(both)
        return float(self.value(found[:1] + 1)[0]) if found.size else 0.0

    def _histogram(self, inner: Any, signs: Any, largest: float) -> tuple[Any, Any]:
        """Counts between signed steps ``inner``, which ascend, and the ends."""
        negative = self._counts[self.steps : self.steps + self._finite].copy()
        positive = self._counts[: self._finite].copy()
        positive[0] += negative[0]  # minus zero is zero
        negative[0] = 0
        upto = np.concatenate([[0], np.cumsum(np.concatenate([negative[::-1], positive]))])
        keep = np.concatenate([[True], np.diff(inner) > 0]) if len(inner) else np.zeros(0, dtype=bool)
        inner, signs = inner[keep].astype(np.int64), signs[keep]
        places = np.concatenate([[0], self._finite + inner, [2 * self._finite]])
        edges = np.concatenate([[-largest], signs * self.value(np.abs(inner)), [largest]])
        return edges, np.diff(upto[places])
