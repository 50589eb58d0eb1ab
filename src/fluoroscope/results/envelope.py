"""Many points as few, without losing a spike: least and greatest value of each stretch of steps."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fluoroscope.results.record import Array

__all__ = ["Envelope", "envelope", "extremes", "gaussian", "moving_average", "ranges", "stretches"]


class Envelope(NamedTuple):
    """Buckets that hold a point (B,): their ``centers`` in steps, ``low``, ``high`` and ``mean`` of the finite values
    (NaN where there is none), and how many of the points are ``missing``, being NaN or infinite.
    """

    centers: Array
    low: Array
    high: Array
    mean: Array
    missing: Array


def envelope(steps: Array, values: Array, start: float, end: float, buckets: int) -> Envelope:
    """Exact minimum and maximum of every one of ``buckets`` equal parts of [start, end].

    ``steps`` (S,) ascend. A point belongs to bucket ``floor((step - start) / (end - start) * buckets)``, the last one
    included. It is computed from the points themselves for every view, so it is exact at any zoom.
    """
    first, last = np.searchsorted(steps, start, "left"), np.searchsorted(steps, end, "right")
    width = (end - start) / buckets if end > start else 1.0
    bounds = np.searchsorted(steps, start + width * np.arange(1, buckets), "left")
    cuts = np.unique(np.concatenate([[first], np.clip(bounds, first, last)]))
    cuts = cuts[cuts < last]
    if not len(cuts):
        return Envelope(*(np.zeros(0) for _ in range(5)))
    shown = np.asarray(values[first:last])
    at = cuts - first
    finite = np.isfinite(shown)
    whole = bool(finite.all())
    kept = shown if whole else np.where(finite, shown, np.nan)
    sizes = np.diff(np.append(at, len(shown)))
    count = sizes if whole else np.add.reduceat(finite, at, dtype=np.int64)
    total = np.add.reduceat(kept if whole else np.where(finite, shown, 0), at, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
    where = np.clip(np.floor((steps[cuts] - start) / width), 0, buckets - 1)
    low, high = np.fmin.reduceat(kept, at), np.fmax.reduceat(kept, at)
    return Envelope(start + (where + 0.5) * width, low, high, mean, sizes - count)


def extremes(values: Array, buckets: int) -> Array:
    """Places (ascending) of the points that keep a curve's shape: first and last, and of each of ``buckets`` stretches
    the least, the greatest, and the first that is not finite.
    """
    edges = np.unique(np.linspace(0, len(values), buckets + 1).astype(int)[:-1])
    finite = np.isfinite(values)
    low, high = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
    of = np.searchsorted(edges, np.arange(len(values)), side="right") - 1
    kept = np.zeros(len(values), bool)
    for wanted in (low == np.minimum.reduceat(low, edges)[of], high == np.maximum.reduceat(high, edges)[of], ~finite):
        places = np.flatnonzero(wanted)
        kept[places[np.unique(of[places], return_index=True)[1]]] = True
    kept[[0, -1]] = True
    return np.flatnonzero(kept)


def ranges(values: Array, most: int) -> Array:
    """Series (..., T) in at most ``most`` numbers each, (..., B, R): every value by itself (B = T, R = 1) where so many
    fit, else the least and the greatest finite value (R = 2; NaN where there is none) of each of B equal stretches,
    stretch i from step ``floor(i T / B)`` on.
    """
    length = values.shape[-1]
    if length <= most:
        return values[..., None]
    buckets = max(most // 2, 1)
    starts = np.arange(buckets) * length // buckets
    kept = values if np.isfinite(values).all() else np.where(np.isfinite(values), values, np.nan)
    return np.stack([rule.reduceat(kept, starts, axis=-1) for rule in (np.fmin, np.fmax)], axis=-1)


def stretches(steps: Array) -> list[slice]:
    """The parts in which steps ascend: a new one begins wherever a run was started again and steps went back."""
    cuts = [0, *(np.flatnonzero(np.diff(steps) < 0) + 1).tolist(), len(steps)]
    return [slice(a, b) for a, b in pairwise(cuts) if b > a]


def moving_average(values: Array, weight: float) -> Array:
    """Exponential moving average without the bias of its start, restarted after every value that is not finite.

    ``m_i = w m_{i-1} + (1 - w) v_i``, shown ``m_i / (1 - w^i)`` with i counted from the last gap: Kingma & Ba (2015),
    section 3, which is also what TensorBoard shows, except that TensorBoard goes on across a gap.
    """
    out = np.full(len(values), np.nan)
    mean, norm = 0.0, 0.0
    for i, (seen, finite) in enumerate(zip(np.asarray(values, float).tolist(), np.isfinite(values), strict=True)):
        if not finite:
            mean, norm = 0.0, 0.0
            continue
        mean, norm = weight * mean + (1 - weight) * seen, weight * norm + (1 - weight)
        out[i] = mean / norm
    return out


def gaussian(values: Array, sigma: float) -> Array:
    """Gaussian average over neighbours, ``sigma`` in points, within each part that is finite throughout.

    The kernel ends at 3 sigma and is normalized over the neighbours that exist, so it neither crosses a gap nor bends
    towards 0 at an end.
    """
    out = np.full(len(values), np.nan)
    radius = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-9)) ** 2)
    finite = np.isfinite(values)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], finite.astype(int), [0]])))
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        part = np.asarray(values[a:b], float)
        weight = np.convolve(np.ones(b - a), kernel, "full")[radius : radius + b - a]
        out[a:b] = np.convolve(part, kernel, "full")[radius : radius + b - a] / weight
    return out
