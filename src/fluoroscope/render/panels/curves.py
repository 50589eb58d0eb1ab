"""Series as the page draws them: arrays of steps, values, times; and what is marked on them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fluoroscope.render.blobs import Blobs
from fluoroscope.results import Array, History, Series
from fluoroscope.results.course import best_step, higher_is_better, overfitting_onset, pairs

__all__ = ["curve", "marks"]


def curve(name: str, series: Series, blobs: Blobs) -> dict[str, Any]:
    """One series; ``name`` stands where it has no name of its own."""
    entry: dict[str, Any] = {
        "name": series.name or name,
        "run": series.run,
        "group": series.group,
        "unit": series.unit,
        "steps": _axis(series.steps, blobs),
        "values": blobs.array(series.values, exact=True),
        "times": _times(series.times, blobs),
    }
    for kind in ("epochs", "samples"):
        data = getattr(series, kind)
        entry[kind] = None if data is None else _axis(data, blobs)
    return entry


def _axis(values: Array, blobs: Blobs) -> dict[str, Any]:
    """Evenly spaced values as three numbers, others as an array."""
    data = np.asarray(values)
    if len(data) > 2 and np.isfinite(data[[0, 1, -1]]).all():
        first, step = float(data[0]), float(data[1] - data[0])
        if step > 0 and np.array_equal(data, first + step * np.arange(len(data))):
            return {"first": first, "step": step, "count": len(data)}
    return blobs.array(data, exact=True)


def _times(times: Array | None, blobs: Blobs) -> dict[str, Any] | None:
    """Wall times as seconds after the first: single precision would not tell two steps of one minute apart."""
    if times is None or not len(times) or not np.isfinite(times[0]):
        return None
    origin = float(times[0])
    return {"origin": origin, "offsets": blobs.array(np.asarray(times, float) - origin, exact=True)}


def marks(history: History) -> list[dict[str, Any]]:
    """Best checkpoint and onset of overfitting of every pair of training and validation series."""
    order = {key: i for i, key in enumerate(history.series)}
    found = []
    for pair in pairs(history):
        held_out = history.series[pair.held_out]
        high = higher_is_better(held_out.name or pair.held_out)
        if high is None:
            continue
        best = best_step(held_out, high)
        if best is not None:
            found.append(_mark("best", order[pair.held_out], held_out, best))
        onset = overfitting_onset(history.series[pair.trained], held_out, high) if pair.trained else None
        if onset is not None:
            found.append(_mark("overfitting", order[pair.held_out], held_out, onset))
    return found


def _mark(kind: str, series: int, held_out: Series, index: int) -> dict[str, Any]:
    value = float(held_out.values[index])
    return {"kind": kind, "series": series, "index": index, "value": value if math.isfinite(value) else None}
