"""DeepLIFT: the difference from a reference, handed back through the network by multipliers in place of slopes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch

from fluoroscope.errors import NotApplicable
from fluoroscope.methods.base import Batch, method, option
from fluoroscope.methods.baselines import baseline_option
from fluoroscope.methods.gradient.beginning import beginning
from fluoroscope.methods.gradient.input_gradient import InputGradient, worst
from fluoroscope.methods.gradient.integrated_gradients import floor_of
from fluoroscope.methods.gradient.rows import Rows, columns
from fluoroscope.model.capture import gradients
from fluoroscope.model.rescale import RescaleRule
from fluoroscope.model.reveal_cancel import RevealCancelRule
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
    3.5.2, ``rule="rescale"``. ``rule="reveal-cancel"`` is section 3.5.3: every difference is carried as its positive
    and its negative part D+ and D-, and each part's effect is the mean of what it adds before and after the other,

    .. math:: \Delta y^\pm = \tfrac12 [f(r + D^\pm) - f(r)] + \tfrac12 [f(r + D^+ + D^-) - f(r + D^\mp)], \qquad
        m^\pm = \Delta y^\pm / D^\pm

    so that inputs that cancel are seen: min(a, b) = a - relu(a - b) is shared by both. A dense or convolutional layer
    puts w (x_i - r_i) where its sign belongs (section 3.4). ``rule="reveal-cancel-dense"`` keeps the rescale rule after
    convolutions, as the authors do in genomics. The paper says nothing of what follows: batch norm, sums of branches,
    averages and upsampling add parts to parts, a negative factor exchanges them; for max pooling f is the maximum.

    The rules hold for every function of one variable (ReLU, sigmoid, tanh, GELU, SiLU, exp, ...), called as a module,
    as a function or in place. Networks that multiply, normalize or compare what they compute (attention, gates, LSTM,
    layer norm, inner softmax) are refused: the differences do not add up there. RevealCancel also refuses functions
    that it does not know. A last softmax or sigmoid is left out, the scores are the logits.

    Returns an :class:`~fluoroscope.results.Attribution`: ``values`` (N, C, H, W), signed; (N, C, T) for series, (N,
    D) for table rows, (N, L) for tokens (summed over their embedding's features); K after N for K targets. Units:
    score. ``meta["completeness_error"]`` is the largest ``|sum_i a_i - (s(x) - s(r))| / |s(x) - s(r)|`` of all
    examples, with ``completeness_error_per_example``; above ``tolerance`` a note says so.

    Raises:
        NotApplicable: the network has functions for which the rule does not hold.
        OptionError: no such baseline, or it does not fit the input.
        InputError: a baseline that holds NaN or infinity.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, a score without a gradient, or whole numbers that no embedding looks up.
    """

    name: ClassVar[str] = "deep-lift"
    title: ClassVar[str] = "DeepLIFT"
    source: ClassVar[str] = "Shrikumar et al., Learning Important Features, ICML 2017, sec. 3.5.2, 3.5.3"

    rule: str = option(
        "rescale",
        "how differences pass what bends: as one; positive and negative parts apart; apart but after convolutions",
        choices=("rescale", "reveal-cancel", "reveal-cancel-dense"),
    )
    baseline: Any = baseline_option("where the path begins")
    tolerance: float = option(0.01, "relative completeness error that is noted when it is exceeded", low=0.0)

    def compute(self, study: Study, batch: Batch) -> Attribution:
        """One forward of the examples, one of examples and references together, one backward for each target."""
        source, count = self.source_of(study, batch), batch.inputs.count
        rows, picked, _ = Rows.settle(study, source, batch.target, count)
        reference = beginning(self.baseline, source, batch, self.seed)
        scores, found = self._contributions(study, source, rows, reference)
        self._tell(study, found, (scores[:count] - scores[count : 2 * count]).cpu().numpy(), floor_of(scores))
        maps = [self.summed(source, found[:, k]) for k in range(found.shape[1])]
        return self.result(
            study,
            batch,
            source,
            picked,
            maps,
            signed=True,
            unit="score",
            caption=f"{self.rule} rule, difference to a reference",
        )

    def _contributions(
        self, study: Study, source: Source, rows: Rows, reference: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores of all rows, examples and references first, (copies N, K), and contributions (N, K, ...)."""
        rule = RescaleRule() if self.rule == "rescale" else RevealCancelRule(dense=self.rule.endswith("dense"))
        count = len(reference)
        all_rows = [*range(count)] * rule.copies
        with rule:
            taped = source.run(rule.rows(source.value, reference), all_rows)
        self._check(study, rule, taped.scores)
        scores = rows.target(all_rows).pick(taped.scores, taped.output).scores
        examples = torch.arange(len(all_rows), device=scores.device) < count
        (found,) = gradients(study, taped, scores * examples.view(-1, *[1] * (scores.ndim - 1))).values()
        found = found if scores.ndim == 2 else found[:, None]
        return columns(scores).double(), rule.contributions(found, source.value, reference)

    def _check(self, study: Study, rule: RescaleRule, scores: torch.Tensor) -> None:
        refusal = rule.refusal(scores)
        if refusal is not None:
            other = "" if self.rule == "rescale" else "use rule='rescale' if it applies, or "
            raise NotApplicable(
                f"DeepLIFT does not apply to this network: {refusal}",
                got=study.subject.title,
                expected="linear layers, functions of one variable, max pooling",
                remedy=f"{other or 'use '}IntegratedGradients, which is complete for any network",
            )

    def _tell(self, study: Study, found: torch.Tensor, rise: Any, floor: float) -> None:
        error = np.abs(found.flatten(2).double().sum(2).cpu().numpy() - rise)
        relative = np.where(error > floor, error / np.maximum(np.abs(rise), max(floor, 1e-300)), 0.0).max(1)
        worst(study, "completeness_error", relative)
        if bool((relative > self.tolerance).any()):
            study.note(
                f"the values do not add up to the score's difference: relative error {float(relative.max()):.2g}; the "
                "network may have a function that DeepLIFT's rule does not hold for, or round too coarsely"
            )
