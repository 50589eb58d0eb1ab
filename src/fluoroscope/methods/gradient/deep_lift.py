"""DeepLIFT: the difference from a reference, handed back through the network by multipliers in place of slopes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch

from fluoroscope.errors import NotApplicable
from fluoroscope.methods.base import Batch, method, option
from fluoroscope.methods.gradient.baselines import BASELINE_HELP, baseline_of
from fluoroscope.methods.gradient.input_gradient import InputGradient, worst
from fluoroscope.methods.gradient.integrated_gradients import floor_of
from fluoroscope.methods.gradient.rows import Rows, split
from fluoroscope.model.rescale import RescaleRule
from fluoroscope.model.source import Source
from fluoroscope.model.study import Study
from fluoroscope.results import Attribution

__all__ = ["DeepLIFT"]


@method
class DeepLIFT(InputGradient):
    r"""DeepLIFT: what each input value's difference from a reference r adds to the score's difference.

    .. math:: a_i = (x_i - r_i) \, m_i, \qquad m_f = \frac{f(x) - f(r)}{x - r}, \qquad \sum_i a_i = s(x) - s(r)

    with the chain rule for multipliers m, the slope of f in place of m_f where x = r, and for max pooling the larger of
    both maxima handed to the places of both.

    Source: Shrikumar et al., *Learning Important Features Through Propagating Activation Differences*, 2017, section
    3.5.1, the rescale rule (RevealCancel is not there). It holds for every function of one variable (ReLU, sigmoid,
    tanh, GELU, SiLU, exp, ...), called as a module, as a function or in place. Networks that multiply, normalize or
    compare what they compute (attention, gates, LSTM, layer norm, inner softmax) are refused: the differences do not
    add up there. A last softmax or sigmoid is left out, the scores are the logits.

    Returns an :class:`~fluoroscope.results.Attribution`: ``values`` (N, C, H, W), signed; (N, C, T) for series, (N,
    D) for table rows, (N, L) for tokens (summed over their embedding's features); K after N for K targets. Units:
    score. ``meta["completeness_error"]`` is the largest ``|sum_i a_i - (s(x) - s(r))| / |s(x) - s(r)|`` of all
    examples, with ``completeness_error_per_example``; above ``tolerance`` a note says so.

    Raises:
        NotApplicable: the network has functions for which the rule does not hold.
        OptionError: no such baseline for this input.
        InputError: a baseline of another shape.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, a score without a gradient, or whole numbers that no embedding looks up.
    """

    name: ClassVar[str] = "deep-lift"
    title: ClassVar[str] = "DeepLIFT"
    source: ClassVar[str] = "Shrikumar et al., Learning Important Features, ICML 2017, sec. 3.5.1 (rescale rule)"

    baseline: Any = option(0.0, BASELINE_HELP)
    tolerance: float = option(0.01, "relative completeness error that is noted when it is exceeded", low=0.0)

    def compute(self, study: Study, batch: Batch) -> Attribution:
        """One forward of the examples, one of examples and references together, one backward for each target."""
        source, count = self.source_of(study, batch), batch.inputs.count
        rows, picked, _ = Rows.settle(study, source, batch.target, count)
        reference = baseline_of(self.baseline, source, batch)
        scores, multipliers = self._multipliers(study, source, rows, reference)
        found = multipliers[:count] * (source.value - reference)[:, None]
        self._tell(study, found, (scores[:count] - scores[count:]).cpu().numpy(), floor_of(scores))
        maps = [self.summed(source, found[:, k]) for k in range(found.shape[1])]
        return self.result(
            study,
            batch,
            source,
            picked,
            maps,
            signed=True,
            unit="score",
            caption="rescale rule, difference to a reference",
        )

    def _multipliers(
        self, study: Study, source: Source, rows: Rows, reference: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores (2 N, K) and multipliers (2 N, K, ...); the second half belongs to the references."""
        both = [*range(len(reference))] * 2
        with RescaleRule() as rule:
            taped = source.run(torch.cat([source.value, reference]), both)
        refusal = rule.refusal(taped.scores)
        if refusal is not None:
            raise NotApplicable(
                f"DeepLIFT does not apply to this network: {refusal}",
                got=study.subject.title,
                expected="linear layers, functions of one variable, max pooling",
                remedy="use IntegratedGradients, which is complete for any network",
            )
        scores, found = split(study, taped, rows.target(both).pick(taped.scores, taped.output))
        return scores.double(), found

    def _tell(self, study: Study, found: torch.Tensor, rise: Any, floor: float) -> None:
        error = np.abs(found.flatten(2).double().sum(2).cpu().numpy() - rise)
        relative = np.where(error > floor, error / np.maximum(np.abs(rise), max(floor, 1e-300)), 0.0).max(1)
        worst(study, "completeness_error", relative)
        if bool((relative > self.tolerance).any()):
            study.note(
                f"the values do not add up to the score's difference: relative error {float(relative.max()):.2g}; the "
                "network may have a function that DeepLIFT's rule does not hold for, or round too coarsely"
            )
