"""What methods that cover parts of an input share: the baseline, the score that is asked for, the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch

from fluoroscope import axes as ax
from fluoroscope.methods.attributing import attribution, note_empty_maps
from fluoroscope.methods.base import Batch, Method, option
from fluoroscope.methods.baselines import baseline_of, baseline_option
from fluoroscope.methods.perturbation.features import Layout, layout
from fluoroscope.model.fast_forward import PRECISION, PRECISIONS
from fluoroscope.model.outputs import probabilities
from fluoroscope.model.program.regions import Regions
from fluoroscope.model.replacement import Replacement
from fluoroscope.model.study import Study
from fluoroscope.model.targets import Picked, Target
from fluoroscope.results import Array, Attribution

__all__ = ["Covering", "Shaped"]

Shaped = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Covering(Method):
    """By how much the score falls when regions are covered, one at a time; subclasses say which regions there are."""

    family: ClassVar[str] = "perturbation"
    returns: ClassVar[type[Attribution]] = Attribution

    baseline: Any = baseline_option("what covers")
    precision: str = option("float32", PRECISION, choices=PRECISIONS)
    score: str = option("logit", "the score that falls", choices=("logit", "probability"))

    def regions(self, main: torch.Tensor, place: Layout, start: int) -> list[tuple[Regions, Shaped]]:
        """The regions of each example of a batch that starts at ``start``, and how falls (K, n) become their map."""
        raise NotImplementedError

    def groups(self, main: torch.Tensor, place: Layout, start: int) -> Array | None:
        """(N, D) the feature that each column of a table belongs to; None where each is one."""
        return None

    def finished(self, result: Attribution, place: Layout) -> Attribution:
        """A last word about the result of a batch, such as where its cells lie."""
        return result

    def compute(self, study: Study, batch: Batch) -> Attribution:
        """One forward of the batch, then the regions of one example after the other."""
        main = batch.inputs.main
        axes = batch.inputs.axes_of(main)
        place = layout(main, axes)
        regions = self.regions(main, place, batch.start)
        bases = baseline_of(self.baseline, main, study.subject, axes=axes, start=batch.start, seed=self.seed)
        with torch.no_grad():
            output, scores = study.scored(batch.inputs)
        study.check_finite(scores, batch.inputs)
        picked = batch.target.pick(scores, output)
        answer = self._answer(batch.target.settled(picked, scores))
        own = answer(range(batch.inputs.count), output, scores)
        values = []
        for n, (parts, shaped) in enumerate(regions):
            asked = partial(_asked_of, answer, n)
            whole = callable(batch.target.wanted)
            one = Replacement(
                study, batch.inputs.part(n, n + 1), bases[n : n + 1], place.channel, asked, whole_output=whole,
                precision=self.precision,
            )  # fmt: skip
            values.append(shaped(one.falls(parts).T))
        result = self._result(study, batch, picked, own, torch.stack(values), place)
        return self.finished(result.replace(groups=self.groups(main, place, batch.start)), place)

    def _answer(
        self, target: Callable[[Sequence[int]], Target]
    ) -> Callable[[Sequence[int], Any, torch.Tensor], torch.Tensor]:
        """The score that is asked for of variants of the examples ``rows``."""

        def answer(rows: Sequence[int], output: Any, scores: torch.Tensor) -> torch.Tensor:
            asked = scores if self.score == "logit" else probabilities(output, scores)
            return target(rows).pick(asked, output).scores

        return answer

    def _result(
        self, study: Study, batch: Batch, picked: Picked, own: torch.Tensor, values: torch.Tensor, place: Layout
    ) -> Attribution:
        many = picked.scores.ndim == 2
        scored = replace(picked, scores=own.reshape(picked.scores.shape))
        return attribution(
            self, study, batch, scored, values if many else values[:, 0], (ax.N, *place.axes), signed=True,
            unit="score" if self.score == "logit" else "probability",
        )  # fmt: skip

    def finish(self, result: Any, study: Study) -> Any:
        """Maps without any effect are told, not left to look like a fault."""
        note_empty_maps(result, study, "covering any part does not change the score")
        return result


def _asked_of(
    answer: Callable[[Sequence[int], Any, torch.Tensor], torch.Tensor], n: int, output: Any, scores: torch.Tensor
) -> torch.Tensor:
    return answer([n] * len(scores), output, scores)
