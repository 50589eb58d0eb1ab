"""Standing: how a method does beside the controls, in words."""

from __future__ import annotations

import numpy as np

from fluoroscope.trust.check import Measure, advantage, gaps
from fluoroscope.trust.trial import EDGES, Trial

__all__ = ["argued", "standing"]


def standing(measure: Measure, row: str, trial: Trial) -> str:
    """How a row stands to the random map of its resolution and to the edge detector, in a few words."""
    control = trial.chance(row)
    if not np.isfinite(np.asarray(measure.values[row], float)).any():
        return "no answer (its values or the score do not vary)"
    if control not in measure.values:
        return "not compared with controls"
    count = len(gaps(measure, row, control))
    found = advantage(measure, row, control)
    if found is None:
        return "not told apart from a random map by one input"
    if found < 1:
        return f"no better than a random map on {count} inputs" if found == 0 else "worse than a random map"
    if EDGES not in measure.values:
        return "better than a random map"
    edges = advantage(measure, row, EDGES) == 1
    return "better than a random map" + (" and an edge detector" if edges else ", but not than an edge detector")


def argued(said: str, why: str) -> str:
    """The standing with its reason, where it is a good one."""
    return f"{said}: {why}" if said.startswith("better") else said
