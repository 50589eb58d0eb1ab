"""Saliency: the gradient of the score with respect to the input."""

from __future__ import annotations

from typing import ClassVar

from fluoroscope.methods.attributing import per_target
from fluoroscope.methods.base import Batch, method
from fluoroscope.methods.gradient.input_gradient import InputGradient, reduce_option
from fluoroscope.model.capture import gradients
from fluoroscope.model.study import Study
from fluoroscope.results import Attribution

__all__ = ["Saliency"]


@method
class Saliency(InputGradient):
    r"""Saliency: how strongly the target's score reacts to a small change of each input value.

    .. math:: g = \frac{\partial s}{\partial x}, \qquad M_{ij} = \max_c |g_{cij}|

    Source: Simonyan et al., *Deep Inside Convolutional Networks*, 2013, section 3.1. ``reduce="max"`` is the paper's
    map, ``"norm"`` the length of g over the channels, ``"none"`` the signed gradient itself.

    Returns an :class:`~fluoroscope.results.Attribution`: ``values`` (N, H, W), or (N, C, H, W) with ``reduce="none"``;
    (N, T) for series, (N, D) for table rows, signed, (N, L) for tokens; K after N for K targets. Units: score per
    unit of the (preprocessed) input. Cost: one forward, and one backward for each target; parameters are frozen, so
    their gradients cost nothing.

    Raises:
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, a score without a gradient, or whole numbers that no embedding looks up.
    """

    name: ClassVar[str] = "saliency"
    title: ClassVar[str] = "Saliency"
    in_report: ClassVar[bool] = True
    source: ClassVar[str] = "Simonyan et al., Deep Inside Convolutional Networks, 2013, sec. 3.1"

    reduce: str = reduce_option()

    def compute(self, study: Study, batch: Batch) -> Attribution:
        """One forward, one backward for each target."""
        source = self.source_of(study, batch)
        taped = source.run(source.value)
        picked = batch.target.pick(taped.scores, taped.output)
        (gradient,) = gradients(study, taped, picked.scores).values()
        found = [self.reduced(source, g, self.reduce) for g in per_target(gradient, picked.scores.ndim == 2)]
        return self.result(
            study, batch, source, picked, found,
            signed=found[0].ndim == source.value.ndim, unit="score per unit of input",
            caption=f"gradient of the score, channels: {self.reduce}",
        )  # fmt: skip
