"""Ranges that pictures of one panel share."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fluoroscope.results import Array

__all__ = ["finite", "full_range", "span"]

MANY = 1024
"""Maps with more cells than this may have outliers that would leave all else dark."""
SHARE = 99.5


def finite(arrays: Iterable[Array]) -> Array:
    """All finite numbers of ``arrays`` as one double-precision vector."""
    parts = [np.asarray(a, dtype=np.float64).ravel() for a in arrays]
    joined = np.concatenate(parts) if parts else np.zeros(0)
    return joined[np.isfinite(joined)]


def full_range(numbers: Array) -> tuple[float, float]:
    """Smallest and largest number; (0, 0) where there is none."""
    return (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 0.0)


def span(numbers: Array, cells: int) -> tuple[float, float]:
    """What the colours stand for: the full range, or up to a percentile where each map has many ``cells``.

    Saliency of single pixels has a few peaks far above the rest; colours end at the 99.5th percentile of magnitudes.
    """
    low, high = full_range(numbers)
    if cells <= MANY or numbers.size == 0:
        return low, high
    limit = float(np.percentile(np.abs(numbers), SHARE))
    return (max(low, -limit), min(high, limit)) if limit > 0 else (low, high)
