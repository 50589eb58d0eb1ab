"""Rows of a matrix that say nothing, or say what an earlier row says already."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluoroscope.model.weights import Weight

__all__ = ["DEAD", "Duplicates", "dead_rows"]

DEAD = 1e-6  # of the median norm of the rows
WHOLE = 1 << 21  # entries that are kept for an exact comparison of all pairs
MOST_ROWS = 8192
FEWEST_COLUMNS = 8  # vectors of fewer entries are alike by chance
BUCKETS = 64
MARGIN = 1.6  # of the distance sought, so that the sums hide a pair less than once in ten thousand
TRIED = 8  # candidates of one row that are compared exactly
BLOCK = 1024


def dead_rows(norms: Any) -> Any:
    """Numbers of the rows whose norm is 0, or below a millionth of the rows' median norm."""
    return np.flatnonzero(norms <= DEAD * np.median(norms)) if norms.size else np.zeros(0, dtype=np.int64)


class Duplicates:
    """Rows whose cosine with an earlier row is at least ``threshold``.

    Small matrices are kept and all pairs compared. Of large ones the entries of each row are added up with random
    signs in 64 random buckets while it streams by (a count sketch; Charikar et al., 2002), which keeps distances on
    average; pairs that are near there are read again and compared exactly.
    """

    def __init__(self, weight: Weight, threshold: float, seed: int) -> None:
        self.weight, self.threshold = weight, threshold
        self.wanted = len(weight.shape) > 1 and 1 < weight.rows <= MOST_ROWS and weight.columns >= FEWEST_COLUMNS
        self._whole = self.wanted and weight.size <= WHOLE
        self._rows: Any = None
        self._signs: Any = None
        self._bucket: Any = None
        self._sorted: dict[tuple[int, int], tuple[Any, Any, Any]] = {}
        if self.wanted:
            width = weight.columns if self._whole else BUCKETS
            self._rows = np.zeros((weight.rows, width), dtype=np.float64 if self._whole else np.float32)
        if self.wanted and not self._whole:
            rng = np.random.default_rng(seed)
            self._signs = rng.choice(np.array([-1, 1], dtype=np.float32), weight.columns)
            self._bucket = rng.integers(0, BUCKETS, weight.columns)

    def add(self, row: int, column: int, values: Any, lost: int) -> None:
        """Take in a block; what is not finite counts as 0."""
        if not self.wanted:
            return
        known = np.where(np.isfinite(values), values, 0) if lost else values
        if self._whole:
            self._rows[row : row + len(values), column : column + values.shape[1]] = known
        else:
            order, starts, buckets = self._places(column, values.shape[1])
            signed = known.astype(np.float32, copy=False)[:, order] * self._signs[column + order]
            self._rows[row : row + len(values), buckets] += np.add.reduceat(signed, starts, axis=1)

    def _places(self, column: int, width: int) -> tuple[Any, Any, Any]:
        """Columns of a block in the order of their buckets, where each bucket begins, and which buckets these are."""
        if (column, width) not in self._sorted:
            bucket = self._bucket[column : column + width]
            order = np.argsort(bucket, kind="stable")
            buckets, starts = np.unique(bucket[order], return_index=True)
            self._sorted[column, width] = order, starts, buckets
        return self._sorted[column, width]

    def found(self, norms: Any, skip: Any) -> tuple[Any, Any]:
        """Pairs (n, 2) of a row and the earliest row that it repeats, and their cosines; rows in ``skip`` are dead."""
        nothing = np.zeros((0, 2), dtype=np.int64), np.zeros(0)
        if not self.wanted:
            return nothing
        alive = np.ones(len(norms), dtype=bool)
        alive[skip] = False
        unit = self._rows / np.where(alive, norms, 1.0)[:, None].astype(self._rows.dtype)
        unit[~alive] = 0
        pairs = self._exact(unit, alive) if self._whole else self._projected(unit, alive, norms)
        earliest = {row: (first, cosine) for row, first, cosine in sorted(pairs, key=lambda p: (p[0], -p[1]))}
        if not earliest:
            return nothing
        return np.array([(r, f) for r, (f, _) in earliest.items()]), np.array([c for _, c in earliest.values()])

    def _exact(self, unit: Any, alive: Any) -> list[tuple[int, int, float]]:
        found = []
        for start in range(0, len(unit), BLOCK):
            likeness = unit[start : start + BLOCK] @ unit[: start + BLOCK].T
            for row, first in zip(*np.nonzero(likeness >= self.threshold), strict=True):
                if first < start + row and alive[first]:
                    found.append((int(start + row), int(first), min(1.0, float(likeness[row, first]))))
        return found

    def _projected(self, unit: Any, alive: Any, norms: Any) -> list[tuple[int, int, float]]:
        """Candidates by distance of their sums, the nearest eight of each row compared exactly."""
        reach = (2 - 2 * self.threshold) * MARGIN**2 + 1e-5
        lengths = np.square(unit).sum(axis=1)
        found = []
        for start in range(0, len(unit), BLOCK):
            part = unit[start : start + BLOCK]
            distance = (
                lengths[start : start + BLOCK, None] + lengths[: start + BLOCK] - 2 * part @ unit[: start + BLOCK].T
            )
            near = (distance <= reach) & alive[: start + BLOCK] & alive[start : start + BLOCK, None]
            near &= np.arange(near.shape[1]) < np.arange(start, start + len(part))[:, None]
            for row in np.flatnonzero(near.any(axis=1)):
                nearest = np.flatnonzero(near[row])
                nearest = nearest[np.argsort(distance[row, nearest], kind="stable")[:TRIED]]
                match = self._first(int(start + row), np.sort(nearest), norms)
                if match is not None:
                    found.append((int(start + row), *match))
        return found

    def _first(self, row: int, candidates: Any, norms: Any) -> tuple[int, float] | None:
        mine = self._read(row)
        for other in candidates:
            cosine = float(mine @ self._read(int(other)) / (norms[row] * norms[other]))
            if cosine >= self.threshold:
                return int(other), min(1.0, cosine)
        return None

    def _read(self, row: int) -> Any:
        columns = self.weight.columns
        values = self.weight.flat(row * columns, (row + 1) * columns).astype(np.float64)
        return np.where(np.isfinite(values), values, 0)
