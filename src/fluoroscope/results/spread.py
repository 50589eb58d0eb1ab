"""Spread: mean and range of one quantity over several runs, at every place of an axis that they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fluoroscope.results.history import History
from fluoroscope.results.record import Array

__all__ = ["Spread", "run_groups", "spread"]

MOST = 4_000_000
"""Places times runs that are looked at; where there are more, every second, third … place is."""


class Spread(NamedTuple):
    """Runs together at the places ``xs`` (P,): ``mean``, ``low`` and ``high`` (P,) of those that have a value there,
    NaN where none has; ``runs`` (P,) says how many of the ``total`` runs that are. ``gaps`` (G,) are the places at
    which a run was NaN or infinite. Every ``stride``-th place is there.
    """

    xs: Array
    mean: Array
    low: Array
    high: Array
    runs: Array
    total: int
    gaps: Array
    stride: int = 1


def spread(members: Sequence[tuple[Array, Array]], *, quartiles: bool = False) -> Spread:
    """Mean and range of ``members``, pairs of places and values (S,) each, at every place of any of them.

    Between two neighbouring points of a run its value is on the line between them: ``v(x) = v_i + (x - x_i) /
    (x_{i+1} - x_i) * (v_{i+1} - v_i)``. A run has no value before its first point, after its last, and between points
    one of which is NaN or infinite: nothing is carried on and no gap is crossed. Where a run went back, the later
    points count. ``low`` and ``high`` are the least and the greatest value, or the quartiles (Hyndman & Fan 1996,
    type 7).
    """
    lines = [_valid(np.asarray(xs, float), np.asarray(values, float)) for xs, values in members]
    places = np.unique(np.concatenate([np.zeros(0), *(xs for xs, _ in lines)]))
    stride = max(1, -(-len(places) * len(lines) // MOST))
    gaps = np.unique(np.concatenate([np.zeros(0), *(xs[~np.isfinite(values)] for xs, values in lines)]))
    places = places[::stride]
    table = np.stack([_at(places, *line) for line in lines]) if lines else np.zeros((0, len(places)))
    known = np.isfinite(table)
    count = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, table, 0.0).sum(axis=0) / np.where(count, count, np.nan)
    if quartiles:
        low, high = _quantile(table, count, 0.25), _quantile(table, count, 0.75)
    else:
        low = np.where(count, np.where(known, table, np.inf).min(axis=0, initial=np.inf), np.nan)
        high = np.where(count, np.where(known, table, -np.inf).max(axis=0, initial=-np.inf), np.nan)
    return Spread(places, mean, low, high, count, len(lines), gaps, stride)


def run_groups(history: History, by: Sequence[str]) -> dict[str, list[str]]:
    """Runs by the values that they have in the settings ``by``, in the order of the runs; all together without one."""
    differences = history.differences
    found: dict[str, list[str]] = {}
    for run in history.runs:
        words = [f"{key} {_said(differences[key].get(run))}" for key in by]
        found.setdefault(", ".join(words) or "all runs", []).append(run)
    return found


def _said(value: object) -> str:
    return "–" if value is None else str(value)


def _valid(xs: Array, values: Array) -> tuple[Array, Array]:
    """What counts of a run: a point is void when a later one stands at the same place or before it."""
    if not len(xs):
        return xs, values
    later = np.minimum.accumulate(xs[::-1])[::-1]
    kept = np.append(xs[:-1] < later[1:], True) & np.isfinite(xs)
    return xs[kept], values[kept]


def _at(places: Array, xs: Array, values: Array) -> Array:
    """Values at ``places``; NaN beyond the ends and beside a gap."""
    if not len(xs):
        return np.full(len(places), np.nan)
    shown = np.where(np.isfinite(values), values, np.nan)
    before = np.clip(np.searchsorted(xs, places, "right") - 1, 0, len(xs) - 1)
    after = np.minimum(before + 1, len(xs) - 1)
    exact = xs[before] == places
    width = np.where(after > before, xs[after] - xs[before], 1.0)
    share = (places - xs[before]) / width
    found = np.where(exact, shown[before], shown[before] * (1 - share) + shown[after] * share)
    return np.where((places < xs[0]) | (places > xs[-1]), np.nan, found)


def _quantile(table: Array, count: Array, share: float) -> Array:
    """Quantile of the finite entries of each column: ``table`` (R, P)."""
    if not table.size:
        return np.full(table.shape[1], np.nan)
    ordered = np.sort(table, axis=0)  # NaN last
    at = share * np.maximum(count - 1, 0)
    below = np.floor(at).astype(int)
    columns = np.arange(table.shape[1])
    first, second = ordered[below, columns], ordered[np.minimum(below + 1, np.maximum(count - 1, 0)), columns]
    part = at - below
    mixed = np.where(part > 0, first * (1 - part) + second * part, first)
    found: Array = np.where(count, mixed, np.nan)
    return found
