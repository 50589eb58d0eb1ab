"""Whether a loss ever won back what it had gained before a step."""

from __future__ import annotations

import numpy as np

from fluoroscope.results.record import Array
from fluoroscope.training.diagnosis.evidence import Curve
from fluoroscope.training.diagnosis.robust import median, spread

__all__ = ["never_won_back"]

FIRST, BEFORE, AROUND, STRETCH = 20, 5, 30, 10
SURE = 3.5 * 1.253 / BEFORE**0.5
"""Spreads of single losses within which the median of the losses before may lie by chance."""


def never_won_back(loss: Curve, steps: Array) -> Array:
    """Share of what had been gained before each of ``steps`` (S,) that no later stretch of ten steps came back to.

    (lowest level after - level before) / (level at the start - level before), where the levels are medians of the first
    twenty losses, of the five before the step, and of any ten after it. One is all of the gain, zero or less none of
    it. NaN where the gain before is within its noise, or fewer losses came after than before: it may yet come back.
    """
    known, values = loss.known.steps, loss.known.values
    found = np.full(len(steps), np.nan)
    if len(values) < FIRST + STRETCH:
        return found
    first = median(values[:FIRST])
    stretches = np.median(np.lib.stride_tricks.sliding_window_view(values, STRETCH), axis=1)
    lowest = np.minimum.accumulate(stretches[::-1])[::-1]
    for i, step in enumerate(steps):
        begin, end = (int(np.searchsorted(known, step, side=side)) for side in ("left", "right"))
        if begin < BEFORE or len(values) - end < max(begin, FIRST):
            continue
        level = median(values[begin - BEFORE : begin])
        gained = first - level
        if gained > SURE * spread(values[max(0, begin - AROUND) : begin]):
            found[i] = (lowest[end] - level) / gained
    return found
