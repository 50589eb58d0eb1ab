"""Robust statistics: medians and their spread, scores against the past, levels of a curve. NaN counts for nothing."""

from __future__ import annotations

import numpy as np

from fluoroscope.results.record import Array

__all__ = ["blocks", "finite", "logarithm", "median", "past", "rank_correlation", "row_medians", "spread", "sureness"]

NORMAL = 1.4826  # the median absolute deviation times this is the standard deviation of a normal distribution


def finite(values: Array) -> Array:
    """The finite entries, flat."""
    found: Array = values[np.isfinite(values)]
    return found


def median(values: Array) -> float:
    """Median of the finite entries; NaN where there are none."""
    known = finite(np.asarray(values, dtype=np.float64))
    return float(np.median(known)) if known.size else float("nan")


def spread(values: Array) -> float:
    """Standard deviation told from the median absolute deviation; NaN where nothing is finite."""
    known = finite(np.asarray(values, dtype=np.float64))
    return NORMAL * float(np.median(np.abs(known - np.median(known)))) if known.size else float("nan")


def row_medians(values: Array) -> Array:
    """Median of each row (L, S) over its finite entries, (L,)."""
    return np.array([median(row) for row in values], dtype=np.float64)


def logarithm(values: Array) -> Array:
    """Base-10 logarithm; NaN where a value is not positive and finite."""
    good = np.isfinite(values) & (values > 0)
    return np.where(good, np.log10(np.where(good, values, 1.0)), np.nan)


def past(values: Array, window: int, least: int = 10) -> tuple[Array, Array]:
    """Median and spread of the ``window`` values before each, (S,) both; NaN where fewer than ``least`` are known.

    Source: Hampel 1974, "The influence curve and its role in robust estimation", the median absolute deviation.
    """
    padded = np.concatenate([np.full(window, np.nan), values[:-1]]) if len(values) else values
    if not len(values):
        return values, values
    seen = np.lib.stride_tricks.sliding_window_view(padded, window)
    count = np.isfinite(seen).sum(1)
    filled = np.where(np.isfinite(seen), seen, np.nan)
    filled[count < least] = 0.0
    middle = np.nanmedian(filled, 1)
    wide = NORMAL * np.nanmedian(np.abs(filled - middle[:, None]), 1)
    middle[count < least] = wide[count < least] = np.nan
    return middle, wide


def blocks(values: Array, count: int = 20) -> tuple[Array, Array]:
    """Medians of ``count`` equal stretches and the standard errors of those medians, (B,) both.

    The standard error of a median of n normal values is 1.253 times their deviation over the root of n.
    """
    parts = np.array_split(np.asarray(values, dtype=np.float64), max(1, min(count, len(values))))
    levels = np.array([median(p) for p in parts])
    errors = np.array([1.253 * spread(p) / max(1, np.isfinite(p).sum()) ** 0.5 for p in parts])
    return levels, errors


def rank_correlation(x: Array, y: Array) -> float:
    """Spearman's rank correlation of two sequences without NaN; 0 where one of them does not vary."""
    a, b = (np.argsort(np.argsort(v, kind="stable"), kind="stable").astype(np.float64) for v in (x, y))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0


def sureness(value: float, threshold: float, decades: float = 1.0) -> float:
    """Confidence from how far ``value`` lies beyond ``threshold``: 0.6 at it, 0.95 at ``decades`` beyond, never more
    than 0.99.
    """
    if not (value > 0 and threshold > 0):
        return 0.99 if value > 0 or threshold > 0 else 0.6
    far = abs(float(np.log10(value / threshold))) / decades
    return round(float(min(0.99, 0.6 + 0.35 * min(1.0, far) + 0.02 * max(0.0, far - 1.0))), 3)
