"""Sensitivity-n: do the values of n places add up to what the score loses without them?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from fluoroscope.errors import OptionError
from fluoroscope.methods.base import option
from fluoroscope.results import Array
from fluoroscope.trust.baselines import Gap, gap, gap_option
from fluoroscope.trust.check import Check, Measure, check, mean
from fluoroscope.trust.similarity import pearson
from fluoroscope.trust.standing import argued, standing
from fluoroscope.trust.subsets import blocks_of, contributions, falls, shares_of
from fluoroscope.trust.trial import Trial

__all__ = ["SensitivityN"]


@check
class SensitivityN(Check):
    r"""Sensitivity-n: the correlation, over random sets S of n parts, of what the map says about S with what the score
    loses when S is replaced.

    .. math:: \mathrm{corr}_S\Big(\sum_{p \in S} M_p, \; s(x) - s(x_{\setminus S})\Big)

    Source: Ancona et al., *Towards Better Understanding of Gradient-based Attribution Methods*, ICLR 2018, section 3.2.
    Different from the source: n is a share of the parts, and pixels are grouped into at most ``grid`` x ``grid`` parts,
    since single pixels of a picture change no score. 1 is perfect, 0 is chance. All maps share the forwards:
    ``subsets`` for each of ``sizes`` and each example.
    """

    title: ClassVar[str] = "Sensitivity-n"
    source: ClassVar[str] = "Ancona et al., Towards Better Understanding, ICLR 2018, sec. 3.2"
    not_claimed: ClassVar[str] = (
        "The correlation says whether values add up as the network's score does, not which single place matters; it "
        "depends on what stands for a place taken away."
    )

    sizes: tuple[float, ...] = option((0.05, 0.2, 0.5), "sizes of the sets, as shares of the parts")
    subsets: int = option(50, "random sets of each size", low=3)
    grid: int = option(14, "parts on a side of a picture or series, at most", low=1)
    baseline: Any = gap_option("mean")
    score: str = option("logit", "what is read", choices=("logit", "probability"))

    def measures(self, trial: Trial) -> list[Measure]:
        """One column per size."""
        blocks = blocks_of(trial.places, self.grid)
        taken = gap(trial, self.baseline, "mean", self.title)
        said = contributions(trial, taken.others, self.controls)
        return [self._column(trial, size, blocks, taken, said) for size in self._sizes()]

    def _sizes(self) -> tuple[float, ...]:
        wrong = [s for s in self.sizes if not 0 < s < 1]
        if wrong or not self.sizes:
            raise OptionError(f"{self.title}: a size is a share of the parts", got=wrong or "none", expected="0 to 1")
        return self.sizes

    def _column(self, trial: Trial, size: float, blocks: Array, taken: Gap, said: dict[str, Array]) -> Measure:
        marks = lru_cache(maxsize=4)(lambda n: self._sets(n, size, blocks, taken.free[n]))
        lost = falls(trial, taken.others, self.subsets, marks, self.score)
        found = {
            row: np.array([pearson(shares_of(marks(n), values[n]), lost[n]) for n in range(len(values))])
            for row, values in said.items()
        }
        return Measure(f"sensitivity-n, {size:.0%} gone", found, "correlation", "high", 0.0)

    def _sets(self, example: int, size: float, blocks: Array, free: Array | None = None) -> Array:
        """Random sets of the blocks that have a ``free`` place, (subsets, *places)."""
        parts = np.unique(blocks if free is None else blocks[free])
        count = min(max(1, round(size * len(parts))), max(len(parts) - 1, 1))
        rng = np.random.default_rng([self.seed, example, round(size * 1_000_000)])
        chosen = np.zeros((self.subsets, int(blocks.max()) + 1), dtype=bool)
        chosen[:, parts] = rng.random((self.subsets, len(parts))).argsort(1) < count
        return chosen[:, blocks]

    def verdict(self, row: str, found: Sequence[Measure], trial: Trial) -> str:
        """By the mean of the sizes, against the controls."""
        said = argued(self.standing(row, found, trial), "its values add up as the score does")
        middle = mean(_together(found)[row])
        return f"{said} (mean correlation {middle:.2f})" if np.isfinite(middle) else said

    def standing(self, row: str, found: Sequence[Measure], trial: Trial) -> str:
        """By the mean of the sizes."""
        return standing(Measure("", _together(found), better="high"), row, trial)


def _together(found: Sequence[Measure]) -> dict[str, Array]:
    """By row the mean over the sizes, example by example."""
    mine = [m for m in found if m.name.startswith("sensitivity-n")]
    return {row: np.mean([m.values[row] for m in mine], axis=0) for row in mine[0].values}
