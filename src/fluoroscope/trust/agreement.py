"""Agreement: which methods say the same of the same input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fluoroscope.methods.base import option
from fluoroscope.results import Array
from fluoroscope.trust.check import Check, Measure, check, mean
from fluoroscope.trust.similarity import overlap, spearman
from fluoroscope.trust.trial import Trial

__all__ = ["Agreement"]


@check
class Agreement(Check):
    r"""Agreement: a table of methods by methods, how alike their maps are on the places of the input.

    ``by="rank correlation"`` is Spearman's; ``by="overlap"`` the intersection over union of the strongest ``share`` of
    the places, for which two random maps reach share / (2 - share). Source: the disagreement problem, Krishna et al.,
    2022 (rank correlation and top-k agreement there).
    """

    title: ClassVar[str] = "Agreement between methods"
    source: ClassVar[str] = "Krishna et al., The Disagreement Problem in Explainable Machine Learning, 2022"
    not_claimed: ClassVar[str] = (
        "Methods that agree may be wrong together; methods that differ may answer different questions."
    )

    by: str = option("rank correlation", "what is compared", choices=("rank correlation", "overlap"))
    share: float = option(0.1, "share of the places that counts as strongest", low=0.0001, high=1)

    def measures(self, trial: Trial) -> list[Measure]:
        """One column per method and control."""
        fields = trial.fields(self.controls)
        chance = self.share / (2 - self.share) if self.by == "overlap" else 0.0

        def alike(a: Array, b: Array) -> float:
            return overlap(a, b, self.share) if self.by == "overlap" else spearman(a, b)

        return [
            Measure(
                column,
                {
                    row: np.array([alike(a, b) for a, b in zip(maps, other, strict=True)])
                    for row, maps in fields.items()
                },
                self.by,
                "",
                chance,
            )
            for column, other in fields.items()
        ]

    def verdict(self, row: str, found: Sequence[Measure], trial: Trial) -> str:
        """The method that it agrees with most, and least."""
        means = {m.name: mean(m.values[row]) for m in found if m.name in trial.maps and m.name != row}
        known = {name: v for name, v in means.items() if np.isfinite(v)}
        if not means:
            return "no other method to compare with"
        if not known:
            return "can't be told: constant maps have no order"
        most, least = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
        text = f"most like {most} ({known[most]:.2f})"
        return text if most == least else f"{text}, least like {least} ({known[least]:.2f})"
