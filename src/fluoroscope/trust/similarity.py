"""How alike two maps are: rank correlation, structural similarity, overlap of their strongest places."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluoroscope.results import Array

__all__ = ["complexity", "overlap", "pearson", "ranks", "spearman", "ssim"]

WINDOW = 7  # cells on a side of the window of SSIM
STABLE = (0.01**2, 0.03**2)  # SSIM's constants for a range of 1


def ranks(values: Array) -> Array:
    """Ranks 1 to n of ``values`` (n,); equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place])


def pearson(first: Array, second: Array) -> float:
    """Correlation of two arrays of one shape; NaN where one of them is constant."""
    a, b = (np.asarray(v, dtype=np.float64).ravel() for v in (first, second))
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / norm) if norm > 0 else float("nan")


def spearman(first: Array, second: Array) -> float:
    """Rank correlation of two maps. 0 where exactly one is constant (nothing of the other is in it), NaN where both
    are.
    """
    a, b = np.ravel(first), np.ravel(second)
    flat = bool(np.ptp(a) == 0), bool(np.ptp(b) == 0)
    if any(flat):
        return float("nan") if all(flat) else 0.0
    return pearson(ranks(a), ranks(b))


def ssim(first: Array, second: Array) -> float:
    r"""Structural similarity of two maps, each brought to [0, 1] by its own least and greatest value.

    .. math:: \frac{(2 \mu_a \mu_b + c_1)(2 \sigma_{ab} + c_2)}
                   {(\mu_a^2 + \mu_b^2 + c_1)(\sigma_a^2 + \sigma_b^2 + c_2)}

    averaged over all windows of 7 cells on a side (less where the map is smaller). Source: Wang et al., *Image Quality
    Assessment*, 2004, equation 13, with a uniform window and c_1 = 0.01², c_2 = 0.03². Constant maps as in
    :func:`spearman`.
    """
    flat = bool(np.ptp(first) == 0), bool(np.ptp(second) == 0)
    if any(flat):
        return float("nan") if all(flat) else 0.0
    a, b = (_windows((m - m.min()) / np.ptp(m)) for m in (np.asarray(first, float), np.asarray(second, float)))
    mean_a, mean_b = a.mean(-1), b.mean(-1)
    spread = (a * a).mean(-1) - mean_a**2 + (b * b).mean(-1) - mean_b**2
    shared = (a * b).mean(-1) - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + STABLE[0]) * (2 * shared + STABLE[1])
    return float((likeness / ((mean_a**2 + mean_b**2 + STABLE[0]) * (spread + STABLE[1]))).mean())


def _windows(values: Array) -> Array:
    """Every window of a map, its cells on the last axis."""
    sides = tuple(min(WINDOW, n) for n in values.shape)
    found = np.lib.stride_tricks.sliding_window_view(values, sides)
    return found.reshape(*found.shape[: values.ndim], -1)


def overlap(first: Array, second: Array, share: float) -> float:
    """Intersection over union of the strongest ``share`` of the cells of two maps; of equal values the first count.
    Constant maps as in :func:`spearman`.
    """
    flat = bool(np.ptp(first) == 0), bool(np.ptp(second) == 0)
    if any(flat):
        return float("nan") if all(flat) else 0.0
    count = max(1, round(share * first.size))
    a, b = (set(np.argsort(-np.ravel(m), kind="stable")[:count].tolist()) for m in (first, second))
    return len(a & b) / len(a | b)


def complexity(values: Array, bins: int = 100) -> float:
    """Entropy in nats of the histogram of a map's values, in ``bins`` equal classes from the least to the greatest."""
    counts: Any = np.histogram(values, bins)[0]
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
