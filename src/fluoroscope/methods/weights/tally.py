"""Statistics of a tensor that streams by in blocks: moments, extremes, norms of rows and columns. All in double
precision, over finite entries.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Tally"]

MOST_NORMS = 1 << 20
"""Rows or columns whose norms are kept; a tensor with more of them has none, so that memory stays bounded."""
CANCELLED = 1e-4


class Tally:
    """Count, mean, sum of squared deviations, extremes and their place, of a (rows x columns) tensor."""

    def __init__(self, rows: int, columns: int) -> None:
        self.count, self.mean, self.deviations, self.squares = 0, 0.0, 0.0, 0.0
        self.low, self.high = np.inf, -np.inf
        self.peak: tuple[int, int] = (0, 0)
        self.row_squares = np.zeros(rows) if rows <= MOST_NORMS else None
        self.column_squares = np.zeros(columns) if columns <= MOST_NORMS else None

    def add(self, row: int, column: int, values: Any, lost: int) -> None:
        """Take in a block at (row, column), ``lost`` entries of which are not finite and count as nothing."""
        finite = np.isfinite(values) if lost else None
        if lost == values.size:
            return
        self._extremes(row, column, values, finite)
        exact = values.astype(np.float64) if finite is None else np.where(finite, values, 0).astype(np.float64)
        with np.errstate(over="ignore", under="ignore"):
            squares = np.square(exact)
            rows = squares.sum(axis=1)
            self._moments(exact, finite, values.size - lost, float(rows.sum()))
            if self.row_squares is not None:
                self.row_squares[row : row + len(rows)] += rows
            if self.column_squares is not None:
                self.column_squares[column : column + squares.shape[1]] += squares.sum(axis=0)

    def _extremes(self, row: int, column: int, values: Any, finite: Any) -> None:
        if finite is None:
            low, high = float(values.min()), float(values.max())
        else:
            low = float(values.min(where=finite, initial=np.inf))
            high = float(values.max(where=finite, initial=-np.inf))
        larger = max(-low, high)
        if not self.count or larger > self.largest:
            place = int(np.argmax(values.reshape(-1) == (high if larger == high else low)))
            self.peak = (row + place // values.shape[1], column + place % values.shape[1])
        self.low, self.high = min(self.low, low), max(self.high, high)

    def _moments(self, exact: Any, finite: Any, count: int, squares: float) -> None:
        """Merge the block's mean and deviations (Chan, Golub, LeVeque, 1979)."""
        mean = float(exact.sum()) / count
        deviations = squares - count * mean * mean
        if deviations < CANCELLED * squares:  # digits were lost in the difference
            about = np.where(finite, exact - mean, 0) if finite is not None else exact - mean
            deviations = float(np.square(about).sum())
        total, shift = self.count + count, mean - self.mean
        self.deviations += deviations + shift * shift * self.count * count / total
        self.mean += shift * count / total
        self.count, self.squares = total, self.squares + squares

    @property
    def largest(self) -> float:
        """The largest magnitude; 0 of nothing."""
        return max(-self.low, self.high) if self.count else 0.0

    @property
    def statistics(self) -> dict[str, float]:
        """mean, std, min, max, l2; NaN where no entry is finite."""
        if not self.count:
            return dict.fromkeys(("mean", "std", "min", "max", "l2"), float("nan"))
        return {
            "mean": self.mean,
            "std": float((max(self.deviations, 0.0) / self.count) ** 0.5),
            "min": self.low,
            "max": self.high,
            "l2": float(self.squares**0.5),
        }
