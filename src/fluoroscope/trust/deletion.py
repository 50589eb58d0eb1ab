"""Deletion and insertion: how the score falls as the places that a map names are taken away, or rises as they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from fluoroscope.methods.base import option
from fluoroscope.results import Array
from fluoroscope.trust.baselines import gap, gap_option
from fluoroscope.trust.check import Check, Measure, check
from fluoroscope.trust.order import order_of, replaced
from fluoroscope.trust.scorer import SCORES
from fluoroscope.trust.standing import argued, standing
from fluoroscope.trust.trial import Trial

__all__ = ["Deletion", "Insertion"]

STAYS = 0.9
"""Share of the score that stays with everything taken away, from which on the check has nothing to see."""
NOT_CLAIMED = (
    "Inputs with parts taken away are unlike anything the network was trained on: the score may change because of the "
    "gap itself. Compare with the random map, which has the same gaps elsewhere."
)


@check
class _Curve(Check):
    """What deletion and insertion share: the score along a row of inputs, the places changed in a map's order. Special
    tokens of texts and padding stay as they are and are counted by nobody.
    """

    not_claimed: ClassVar[str] = NOT_CLAIMED
    starts_full: ClassVar[bool] = True

    usual: ClassVar[str] = "zero"

    baseline: Any = gap_option("zero")
    steps: int = option(20, "how many times the score is read after the first", low=1)
    score: str = option("probability", "what is read", choices=SCORES)

    def measures(self, trial: Trial) -> list[Measure]:
        """One column: the area under the curve, averaged over examples."""
        curves = self.curves(trial)
        areas = {row: np.trapezoid(curve, dx=1 / self.steps, axis=1) for row, curve in curves.items()}
        trial.facts[f"{self.title.lower()}_curves"] = {row: c.mean(0).tolist() for row, c in curves.items()}
        chance = [np.nanmean(areas[row]) for row in dict.fromkeys(map(trial.chance, trial.maps)) if row in areas]
        better = "low" if self.starts_full else "high"
        reference = float(np.mean(chance)) if chance else float("nan")
        return [Measure(self.title.lower(), areas, f"mean {self.score}", better, reference)]

    def curves(self, trial: Trial) -> dict[str, Array]:
        """By row the scores (N, steps + 1) from nothing changed to everything changed, places in the map's order."""
        fields = trial.fields(self.controls)
        taken = gap(trial, self.baseline, self.usual, self.title)
        orders = np.stack([order_of(maps, self.seed, taken.free) for maps in fields.values()])
        count, places = trial.inputs.count, trial.places
        inner = np.arange(1, self.steps)
        plan = np.array([(r, n, s) for r in range(len(orders)) for n in range(count) for s in inner], dtype=int)
        ends = np.array([(0, n, s) for n in range(count) for s in (0, self.steps)], dtype=int)
        plan = np.concatenate([ends, plan.reshape(-1, 3)])  # both ends are the same for every map
        full, empty = trial.inputs.main, taken.others
        most = taken.free.reshape(count, -1).sum(1)

        def make(rows: Array) -> torch.Tensor:
            which, example, step = plan[rows].T
            gone = np.round(step * most[example] / self.steps).reshape(-1, *[1] * len(places.shape))
            marks = orders[which, example] < gone
            index = torch.as_tensor(example, device=full.device)
            first, second = (full, empty) if self.starts_full else (empty, full)
            return replaced(first[index], second[index], marks, places)

        with trial.study() as study:
            scores = trial.scorer(study, self.score)(plan[:, 1], make)
        found = np.empty((len(orders), count, self.steps + 1))
        found[:, :, [0, -1]] = scores[: 2 * count].reshape(count, 2)
        found[:, :, 1:-1] = scores[2 * count :].reshape(len(orders), count, self.steps - 1)
        return dict(zip(fields, found, strict=True))

    def verdict(self, row: str, found: Sequence[Measure], trial: Trial) -> str:
        """Better than the random map of the same resolution, or not."""
        what = "taking its places away lowers" if self.starts_full else "putting its places back raises"
        return argued(self.standing(row, found, trial), f"{what} the score faster")

    def standing(self, row: str, found: Sequence[Measure], trial: Trial) -> str:
        """By the area under the curve; "no better" is not said where the score stays with everything taken away."""
        said = standing(found[0], row, trial)
        curve = next(iter(trial.facts[f"{self.title.lower()}_curves"].values()))
        whole, empty = (curve[0], curve[-1]) if self.starts_full else (curve[-1], curve[0])
        if said.startswith("no better") and self.score != "logit" and empty >= STAYS * whole:
            stays = f"{empty:.3g} of the score {whole:.3g} stays with everything taken away"
            return f"not told apart from a random map on {trial.inputs.count} inputs ({stays})"
        return said


@check
class Deletion(_Curve):
    r"""Deletion: the places that a map names first are replaced step by step; the score should fall early.

    .. math:: \mathrm{AUC} = \int_0^1 s\big(x \text{ without its first } q \text{ places}\big) \, dq

    by the trapezoidal rule over ``steps`` equal parts. Source: Petsiuk et al., *RISE*, 2018, section 4.2. Different
    from the source: the controls, and ``score="logit"`` on request. Lower is better. Cost: (steps - 1) forwards for
    each map and example, and 2 for each example.
    """

    title: ClassVar[str] = "Deletion"
    source: ClassVar[str] = "Petsiuk et al., RISE, 2018, sec. 4.2"


@check
class Insertion(_Curve):
    r"""Insertion: an input that says nothing gets back step by step the places that a map names; the score should rise
    early.

    .. math:: \mathrm{AUC} = \int_0^1 s\big(\text{only the first } q \text{ places of } x\big) \, dq

    Source: Petsiuk et al., *RISE*, 2018, section 4.2; their start is a blurred picture, the default here. Higher is
    better. Cost as for :class:`Deletion`.
    """

    title: ClassVar[str] = "Insertion"
    source: ClassVar[str] = "Petsiuk et al., RISE, 2018, sec. 4.2"
    starts_full: ClassVar[bool] = False

    usual: ClassVar[str] = "blur"

    baseline: Any = gap_option("blur (mean for rows)", "what stands for a place not yet there")
