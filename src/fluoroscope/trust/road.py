"""ROAD: deletion with the gaps filled in, from the most relevant places and from the least."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch

from fluoroscope.errors import NotApplicable
from fluoroscope.methods.base import option
from fluoroscope.model.seeding import generator
from fluoroscope.results import Array
from fluoroscope.trust.check import Check, Measure, check
from fluoroscope.trust.imputation import impute
from fluoroscope.trust.order import order_of
from fluoroscope.trust.scorer import SCORES
from fluoroscope.trust.standing import argued, standing
from fluoroscope.trust.trial import Trial

__all__ = ["ROAD"]


@check
class ROAD(Check):
    r"""ROAD, remove and debias: places are taken away and filled with what their neighbours suggest, most relevant
    first (MoRF) and least relevant first (LeRF); the score should fall in the one and stay in the other.

    .. math:: \frac{1}{|Q|} \sum_{q \in Q} s\big(x^{\mathrm{LeRF}}_q\big) - s\big(x^{\mathrm{MoRF}}_q\big)

    Source: Rong et al., *A Consistent and Efficient Evaluation Strategy for Attribution Methods*, ICML 2022. Noise with
    a standard deviation of ``noise`` times that of the input is added to what was filled in. Different from the source:
    the mean probability of the target instead of the accuracy (``score="accuracy"`` is the source's), and the gap.

    Raises:
        NotApplicable: the input has no places with neighbours.
    """

    title: ClassVar[str] = "ROAD"
    source: ClassVar[str] = "Rong et al., A Consistent and Efficient Evaluation Strategy, ICML 2022"
    not_claimed: ClassVar[str] = (
        "Smooth filling hides less than a hard gap, but what is filled in is still a guess, and blurry maps gain by it."
    )

    shares: tuple[float, ...] = option((0.1, 0.3, 0.5, 0.7, 0.9), "shares of the places taken away")
    noise: float = option(0.01, "noise on what is filled in, in standard deviations of the input", low=0)
    score: str = option("probability", "what is read", choices=SCORES)

    def measures(self, trial: Trial) -> list[Measure]:
        """Score along MoRF and LeRF, and the gap between them."""
        found = self.scores(trial)
        morf, lerf = ({row: s[i].mean(1) for row, s in found.items()} for i in (0, 1))
        gap = {row: lerf[row] - morf[row] for row in found}
        unit = f"mean {self.score}"
        return [
            Measure("ROAD: most relevant first", morf, unit, "low", self._chance(morf, trial)),
            Measure("ROAD: least relevant first", lerf, unit, "high", self._chance(lerf, trial)),
            Measure("ROAD: gap", gap, unit, "high", 0.0),
        ]

    def _chance(self, values: dict[str, Array], trial: Trial) -> float:
        rows = [row for row in dict.fromkeys(map(trial.chance, trial.maps)) if row in values]
        return float(np.mean([values[row].mean() for row in rows])) if rows else float("nan")

    def scores(self, trial: Trial) -> dict[str, Array]:
        """By row the scores (2, N, shares): first with the most relevant places gone, then with the least."""
        places, count = trial.places, trial.inputs.count
        if not places.continuous or places.channel is None:
            raise NotApplicable("only places with neighbours can be filled in", got=f"an input over {places.axes}")
        fields = trial.fields(self.controls)
        orders = np.stack([order_of(maps, self.seed) for maps in fields.values()])
        plan = np.indices((len(orders), 2, count, len(self.shares))).reshape(4, -1).T
        main = trial.inputs.main

        def make(rows: Array) -> torch.Tensor:
            which, way, example, share = plan[rows].T
            gone = np.round(np.asarray(self.shares)[share] * places.count)
            gone, way = (v.reshape(-1, *[1] * len(places.shape)) for v in (gone, way))
            order = orders[which, example]
            marks = np.where(way == 0, order < gone, order >= places.count - gone)
            values = main[torch.as_tensor(example, device=main.device)]
            return self._filled(values, torch.as_tensor(marks, device=main.device), plan[rows], trial)

        with trial.study() as study:
            scores = trial.scorer(study, self.score)(plan[:, 2], make)
        found = scores.reshape(len(orders), 2, count, len(self.shares))
        return dict(zip(fields, found, strict=True))

    def _filled(self, values: torch.Tensor, marks: torch.Tensor, plan: Array, trial: Trial) -> torch.Tensor:
        channel = trial.places.channel or 0
        wide = values.movedim(channel, 1).to(torch.float64 if values.dtype == torch.float64 else torch.float32)
        filled = impute(wide, marks)
        if self.noise:
            drawn = [torch.randn(filled.shape[1:], generator=generator(self.seed, int(n))) for n in plan[:, 2]]
            spread = wide.flatten(1).std(1).reshape(-1, *[1] * (wide.ndim - 1))
            filled = filled + self.noise * spread * marks[:, None] * torch.stack(drawn).to(filled)
        return filled.movedim(1, channel).to(values.dtype)

    def verdict(self, row: str, found: Sequence[Measure], trial: Trial) -> str:
        """By the gap, against the controls."""
        return argued(self.standing(row, found, trial), "the score hangs more on the places it names")

    def standing(self, row: str, found: Sequence[Measure], trial: Trial) -> str:
        """By the gap."""
        return standing(next(m for m in found if m.name == "ROAD: gap"), row, trial)
