"""Infidelity: how far a map's prediction of the score's changes is from the changes themselves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from fluoroscope.methods.base import option
from fluoroscope.results import Array
from fluoroscope.trust.baselines import gap, gap_option
from fluoroscope.trust.check import Check, Measure, check, mean
from fluoroscope.trust.places import Places
from fluoroscope.trust.standing import argued, standing
from fluoroscope.trust.subsets import contributions, falls, shares_of
from fluoroscope.trust.trial import Trial

__all__ = ["Infidelity"]


@check
class Infidelity(Check):
    r"""Infidelity: the mean square of what a map predicts wrongly when random regions are replaced.

    .. math:: \mathbb{E}_S \Big[\big(\beta \sum_{p \in S} M_p - (s(x) - s(x_{\setminus S}))\big)^2\Big], \quad
              \beta = \frac{\mathbb{E}[\Sigma_S \Delta_S]}{\mathbb{E}[\Sigma_S^2]}

    Source: Yeh et al., *On the (In)fidelity and Sensitivity of Explanations*, NeurIPS 2019, definition 2.1 with square
    removal, and the optimal scaling of its section 2.3. Different from the source: for rows and texts the regions are
    random sets, and a second column divides by the mean square of the changes: the share that the map leaves
    unexplained, 0 for a perfect map and 1 for one that says nothing. All maps share the forwards, ``subsets`` for each
    example.
    """

    title: ClassVar[str] = "Infidelity"
    source: ClassVar[str] = "Yeh et al., On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019, def. 2.1"
    not_claimed: ClassVar[str] = (
        "It speaks of regions of the sizes that were drawn, replaced in this way, and of no others."
    )

    subsets: int = option(100, "random regions per example", low=3)
    smallest: float = option(0.1, "shortest side of a region, as a share of the input's", low=0, high=1)
    largest: float = option(0.5, "longest side of a region, as a share of the input's", low=0, high=1)
    scaled: bool = option(True, "scale each map by the factor that suits it best, so that units do not matter")
    baseline: Any = gap_option("mean")
    score: str = option("logit", "what is read", choices=("logit", "probability"))

    def measures(self, trial: Trial) -> list[Measure]:
        """The mean square error, and its share of the mean square change."""
        taken = gap(trial, self.baseline, "mean", self.title)
        others, free = taken.others, taken.free
        said = contributions(trial, others, self.controls)
        marks = lru_cache(maxsize=4)(lambda n: self._regions(n, trial.places, free[n]))
        lost = falls(trial, others, self.subsets, marks, self.score)
        error = {
            row: np.array([self._error(shares_of(marks(n), values[n]), lost[n]) for n in range(len(values))])
            for row, values in said.items()
        }
        change = np.array([(fall**2).mean() for fall in lost])
        share = {r: np.divide(e, change, out=np.full_like(e, np.nan), where=change > 0) for r, e in error.items()}
        return [
            Measure("infidelity", error, f"squared {self.score}", "low"),
            Measure("change left unexplained", share, "share", "low", 1.0 if self.scaled else float("nan")),
        ]

    def _error(self, predicted: Array, lost: Array) -> float:
        power = float((predicted**2).mean())
        if self.scaled and power > 0:
            predicted = predicted * (float((predicted * lost).mean()) / power)
        return float(((predicted - lost) ** 2).mean())

    def _regions(self, example: int, places: Places, free: Array | None = None) -> Array:
        """Random boxes of places with neighbours, random sets of others among the ``free`` ones, (subsets, *places)."""
        rng = np.random.default_rng([self.seed, example])
        low, high = sorted((self.smallest, self.largest))
        if not places.continuous:
            names = np.flatnonzero(np.ones(places.count) if free is None else free)
            size = np.clip(np.round(rng.uniform(low, high, (self.subsets, 1)) * len(names)), 1, None)
            marks = np.zeros((self.subsets, places.count), dtype=bool)
            marks[:, names] = rng.random((self.subsets, len(names))).argsort(1).argsort(1) < size
            return marks.reshape(self.subsets, *places.shape)
        marks = np.ones((self.subsets, *places.shape), dtype=bool)
        for i, length in enumerate(places.shape):
            side = np.clip(np.round(rng.uniform(low, high, self.subsets) * length), 1, length)
            first = np.floor(rng.uniform(0, length - side + 1))
            line = np.arange(length)
            inside = (line >= first[:, None]) & (line < (first + side)[:, None])
            marks &= inside.reshape(self.subsets, *[-1 if j == i else 1 for j in range(len(places.shape))])
        return marks

    def verdict(self, row: str, found: Sequence[Measure], trial: Trial) -> str:
        """By the share left unexplained, against the controls."""
        said = argued(self.standing(row, found, trial), "it predicts how the score changes")
        left = mean(_share(found).values[row])
        return f"{said} (leaves {left:.0%} of the change unexplained)" if np.isfinite(left) else said

    def standing(self, row: str, found: Sequence[Measure], trial: Trial) -> str:
        """By the share left unexplained."""
        return standing(_share(found), row, trial)


def _share(found: Sequence[Measure]) -> Measure:
    return next(m for m in found if m.name == "change left unexplained")
