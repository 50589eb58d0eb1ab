"""Localization: does the evidence lie where it is known to be?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fluoroscope.methods.base import option
from fluoroscope.results import Array
from fluoroscope.trust.check import Check, Measure, check, standard_error
from fluoroscope.trust.trial import Trial

__all__ = ["Localization", "PointingGame"]

NOT_CLAIMED = (
    "The mask says where the object is, not where this network looks: a network may rightly use what lies beside it."
)


@check
class PointingGame(Check):
    r"""Pointing game: how often the greatest value of a map lies on the known object.

    Source: Zhang et al., *Top-down Neural Attention by Excitation Backprop*, ECCV 2016, section 4.1; ``tolerance`` is
    theirs, in pixels (15 there). A map without any positive value counts as a miss. Chance is the share of the input
    that the masks, with the tolerance, cover.
    """

    title: ClassVar[str] = "Pointing game"
    source: ClassVar[str] = "Zhang et al., Top-down Neural Attention, ECCV 2016, sec. 4.1"
    not_claimed: ClassVar[str] = NOT_CLAIMED
    needs_masks: ClassVar[bool] = True

    tolerance: int = option(0, "how far beside the object the peak may lie, in places", low=0)
    thing: str = option("object", "what the masks mark, for the words")

    def measures(self, trial: Trial) -> list[Measure]:
        """One column: hit or miss per example."""
        masks = _grown(_masks(trial), self.tolerance)
        found = {row: _hits(maps, masks) for row, maps in trial.fields(self.controls).items()}
        return [Measure(f"peak on the {self.thing}", found, "share", "high", float(masks.mean()))]

    def verdict(self, row: str, found: Sequence[Measure], trial: Trial) -> str:
        """Nine in ten hits to "point at" it; better than chance is beyond two standard errors."""
        column = next(m for m in found if m.name.startswith("peak on"))
        hits = column.values[row]
        rate, thing = float(hits.mean()), column.name.removeprefix("peak on the ")
        if rate >= 0.9 and rate - 2 * standard_error(hits) > column.reference:
            return f"points at the {thing}: its peak is on it for {rate:.0%} of the inputs"
        if rate - 2 * standard_error(hits) > column.reference:
            return f"better than chance, but its peak misses the {thing} for {1 - rate:.0%} of the inputs"
        return "no better than a random place" if len(hits) > 4 else "too few inputs to tell it from a random place"


@check
class Localization(PointingGame):
    r"""Localization: how much of a map's evidence, and how many of its strongest places, lie on the known object.

    .. math:: \frac{\sum_{p \in m} M_p^+}{\sum_p M_p^+}, \qquad \frac{|\mathrm{top}_{|m|}(M) \cap m|}{|m|}

    Sources: the first is the energy-based pointing game of Wang et al., *Score-CAM*, 2020, and the relevance mass
    accuracy of Arras et al., *CLEVR-XAI*, 2022; the second the relevance rank accuracy of the latter. Different from
    the sources: only positive values count as evidence. The pointing game itself is the first column.
    """

    title: ClassVar[str] = "Localization"
    source: ClassVar[str] = "Wang et al., Score-CAM, 2020; Arras et al., CLEVR-XAI, 2022"

    def measures(self, trial: Trial) -> list[Measure]:
        """Peak, mass and rank."""
        masks, fields = _masks(trial), trial.fields(self.controls)
        chance = float(masks.mean())
        mass = {row: _mass(maps, masks) for row, maps in fields.items()}
        rank = {row: _rank(maps, masks) for row, maps in fields.items()}
        return [
            *super().measures(trial),
            Measure(f"evidence on the {self.thing}", mass, "share", "high", chance),
            Measure(f"strongest places on the {self.thing}", rank, "share", "high", chance),
        ]


def _masks(trial: Trial) -> Array:
    """(N, *places) bool; the base has checked that they are there."""
    assert trial.masks is not None
    return trial.masks


def _hits(maps: Array, masks: Array) -> Array:
    flat = maps.reshape(len(maps), -1)
    return np.asarray(masks.reshape(len(maps), -1)[np.arange(len(maps)), flat.argmax(1)] & (flat.max(1) > 0))


def _mass(maps: Array, masks: Array) -> Array:
    positive = np.clip(maps, 0, None).reshape(len(maps), -1)
    total = positive.sum(1)
    inside = (positive * masks.reshape(len(maps), -1)).sum(1)
    return np.asarray(np.divide(inside, total, out=np.zeros_like(total), where=total > 0))


def _rank(maps: Array, masks: Array) -> Array:
    found = np.zeros(len(maps))
    for n, (values, mask) in enumerate(zip(maps.reshape(len(maps), -1), masks.reshape(len(maps), -1), strict=True)):
        first = np.argsort(-values, kind="stable")[: mask.sum()]
        found[n] = (mask[first] & (values[first] > 0)).mean()
    return found


def _grown(masks: Array, distance: int) -> Array:
    """Masks with everything within ``distance`` places along the axes (a square around each place)."""
    for axis in range(1, masks.ndim) if distance else ():
        grown = masks.copy()
        for step in range(1, distance + 1):
            later = [slice(None)] * masks.ndim
            earlier = [slice(None)] * masks.ndim
            later[axis], earlier[axis] = slice(step, None), slice(None, -step)
            grown[tuple(later)] |= masks[tuple(earlier)]
            grown[tuple(earlier)] |= masks[tuple(later)]
        masks = grown
    return masks
