"""A matrix at several resolutions, built while it streams by: every cell keeps its entry of largest magnitude."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluoroscope.results.pyramid import larger, pooled

__all__ = ["Pyramid"]


class Pyramid:
    """Levels of a (rows x columns) matrix, one for each of ``steps`` (entries per cell down and across, powers of two,
    coarse to fine). NaN and infinities stay: a cell that holds one shows it.
    """

    def __init__(self, rows: int, columns: int, steps: list[tuple[int, int]], dtype: Any) -> None:
        self.steps = steps
        down, across = self.finest = steps[-1]
        shape = (-(-rows // down), -(-columns // across))
        self._low = np.full(shape, np.inf, dtype=dtype)
        self._high = np.full(shape, -np.inf, dtype=dtype)

    def add(self, row: int, column: int, values: Any) -> None:
        """Take in a block that begins at (row, column): aligned to the finest cells, or a part of one row of cells."""
        down, across = self.finest
        place = np.s_[row // down : -(-(row + values.shape[0]) // down),
                      column // across : -(-(column + values.shape[1]) // across)]  # fmt: skip
        for kept, rule in ((self._low, np.minimum), (self._high, np.maximum)):
            rule(kept[place], pooled(values, down, across, rule), out=kept[place])

    def levels(self) -> list[Any]:
        """The pictures, coarse to fine."""
        low, high = self._low, self._high
        made = []
        for i in range(len(self.steps) - 1, -1, -1):
            made.append(larger(low, high))
            if i:
                down, across = (a // b for a, b in zip(self.steps[i - 1], self.steps[i], strict=True))
                low, high = pooled(low, down, across, np.minimum), pooled(high, down, across, np.maximum)
        return made[::-1]
