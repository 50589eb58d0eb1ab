"""What guided backpropagation and the deconvnet share: another rule for the backward through every rectifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from fluoroscope.errors import NotApplicable
from fluoroscope.methods.attributing import per_target
from fluoroscope.methods.base import Batch
from fluoroscope.methods.gradient.input_gradient import InputGradient, reduce_option
from fluoroscope.model.capture import gradients
from fluoroscope.model.rectifiers import RectifierRule
from fluoroscope.model.study import Study
from fluoroscope.results import Attribution

__all__ = ["RectifiedGradient"]


@dataclass(frozen=True, kw_only=True)
class RectifiedGradient(InputGradient):
    """The gradient of the score with respect to the input, with ``rule`` in place of the rectifiers' own backward."""

    rule: ClassVar[Callable[[], RectifierRule]]

    reduce: str = reduce_option("none")

    def compute(self, study: Study, batch: Batch) -> Attribution:
        """One forward, one backward for each target, both under the rule."""
        source = self.source_of(study, batch)
        reduce = "norm" if source.tokens and self.reduce == "none" else self.reduce
        with type(self).rule() as rule:
            taped = source.run(source.value)
            picked = batch.target.pick(taped.scores, taped.output)
            (gradient,) = gradients(study, taped, picked.scores).values()
        refusal, warning = rule.refusal(), rule.warning()
        if refusal is not None:
            raise NotApplicable(
                f"{self.title} does not apply to this network: {refusal}",
                got=study.subject.title,
                expected="ReLU or ReLU6, as modules or functions",
                remedy="use Saliency, SmoothGrad or IntegratedGradients",
            )
        if warning is not None:
            study.note(warning)
        found = [self.reduced(source, g, reduce) for g in per_target(gradient, picked.scores.ndim == 2)]
        return self.result(
            study, batch, source, picked, found,
            signed=found[0].ndim == source.value.ndim, unit="score per unit of input, backward changed",
            caption=f"{rule.rule} rule at {sum(rule.rectifiers.values())} rectifiers, channels: {reduce}",
        )  # fmt: skip
