"""Input times gradient: each input value's share of the score, to first order."""

from __future__ import annotations

from typing import ClassVar

from fluoroscope.methods.attributing import per_target
from fluoroscope.methods.base import Batch, method
from fluoroscope.methods.gradient.input_gradient import InputGradient
from fluoroscope.model.capture import gradients
from fluoroscope.model.study import Study
from fluoroscope.results import Attribution

__all__ = ["InputXGradient"]


@method
class InputXGradient(InputGradient):
    r"""Input x gradient: what the score would lose, to first order, if an input value were set to zero.

    .. math:: a_i = x_i \, \frac{\partial s}{\partial x_i}

    Source: Shrikumar et al., *Not Just a Black Box*, 2016, equation 3. Exact where the network is linear without a
    bias: then the values add up to the score. Zero is zero of the *preprocessed* input, often the mean colour and not
    black.

    Returns an :class:`~fluoroscope.results.Attribution`: ``values`` (N, C, H, W), signed; (N, C, T) for series, (N,
    D) for table rows, (N, L) for tokens (summed over their embedding's features); K after N for K targets. Units:
    score.

    Raises:
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, a score without a gradient, or whole numbers that no embedding looks up.
    """

    name: ClassVar[str] = "input-x-gradient"
    title: ClassVar[str] = "Input x gradient"
    source: ClassVar[str] = "Shrikumar et al., Not Just a Black Box, 2016, eq. 3"

    def compute(self, study: Study, batch: Batch) -> Attribution:
        """One forward, one backward for each target."""
        source = self.source_of(study, batch)
        taped = source.run(source.value)
        picked = batch.target.pick(taped.scores, taped.output)
        (gradient,) = gradients(study, taped, picked.scores).values()
        maps = [self.summed(source, g * source.value) for g in per_target(gradient, picked.scores.ndim == 2)]
        return self.result(
            study, batch, source, picked, maps, signed=True, unit="score", caption="input times the score's gradient"
        )
