"""How far a run has come: its first loss, its levels since, and what share of the first loss it has lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fluoroscope.results.record import Array
from fluoroscope.training.diagnosis.evidence import Curve
from fluoroscope.training.diagnosis.robust import blocks, median

__all__ = ["Progress", "knew_before", "progress"]


@dataclass(frozen=True, eq=False)
class Progress:
    """``first``: loss at the first step; ``levels`` and their standard ``errors`` over twenty equal stretches;
    ``ends``: the last step of each.
    """

    first: float
    levels: Array
    errors: Array
    ends: Array

    @property
    def last(self) -> float:
        """Level of the last tenth."""
        return median(self.levels[-2:])

    @property
    def best(self) -> float:
        """The lowest level."""
        known = self.levels[np.isfinite(self.levels)]
        return float(known.min()) if known.size else float("nan")

    @property
    def gained(self) -> float:
        """Share of the first loss that is gone at the end; negative where it rose, NaN where nothing is finite."""
        return (self.first - self.last) / max(abs(self.first), 1e-12)


def knew_before(state: Progress, classes: int | None) -> bool:
    """Whether the run goes on with a network that knew something: its first loss lies far below that of chance."""
    return classes is not None and classes > 1 and state.first < 0.5 * float(np.log(classes))


def progress(loss: Curve, count: int = 20) -> Progress:
    """Progress of a loss. The first loss is that of the first step, or the median of three where that is lower."""
    known = loss.known
    first = min(float(known.values[0]), median(known.values[:3])) if len(known) else float("nan")
    levels, errors = blocks(known.values, count)
    ends = np.array([part[-1] for part in np.array_split(known.steps, len(levels)) if len(part)])
    return Progress(first, levels, errors, ends)
