"""Initialization, from the first ten steps: the first loss, the spread from layer to layer, weights all zero."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.training.diagnosis.evidence import Evidence
from fluoroscope.training.diagnosis.robust import logarithm, median, rank_correlation, row_medians, sureness
from fluoroscope.training.diagnosis.rule import Rule, Undecided, rule, threshold
from fluoroscope.training.diagnosis.wording import named, number, times

__all__ = ["Initialization"]


@rule
class Initialization(Rule):
    """The first weights are badly drawn.

    With ``classes`` known, a network that knows nothing has a cross-entropy of ln K; one far above is sure of wrong
    answers. Without: the spread of activations grows or shrinks from layer to layer by orders of magnitude. Weights,
    most of them all zero after the first step, can't break their symmetry; those that get a gradient and wait for the
    learning rate to rise from zero (the second factors of LoRA) are no fault.
    """

    name = "initialization"
    title = "The first weights are badly drawn"
    source = (
        "Glorot and Bengio 2010; He et al. 2015, arXiv:1502.01852; A. Karpathy, A recipe for training neural networks"
    )
    least = 1
    advice = (
        "He's initialization before ReLU, Glorot's before tanh; zero or small for the last layer",
        "normalize the inputs",
        "normalization layers",
    )
    loss_ratio: float = threshold(1.7, "first loss over ln K from which it is told", low=1)
    loss_far: float = threshold(3.0, "first loss over ln K from which it is a problem", low=1)
    spread_ratio: float = threshold(
        100.0, "spread of the last activation over that of the first, or the reverse", low=1
    )

    def find(self, run: Evidence) -> Iterator[Finding]:
        """At most one finding for each of the three signs."""
        signs = (self._first_loss(run), self._spread(run), self._zero(run))
        yield from (s for s in signs if isinstance(s, Finding))
        if all(s == "unknown" for s in signs):
            raise Undecided("neither the number of classes nor activations nor weights are known")

    def _first_loss(self, run: Evidence) -> Finding | str | None:
        classes = run.facts.classes
        if classes is None or classes < 2 or run.loss is None or not len(run.loss.known):
            return "unknown"
        first, chance = float(run.loss.known.values[0]), math.log(classes)
        ratio = first / chance
        if ratio < self.loss_ratio:
            return None
        return self.finding(
            "problem" if ratio >= self.loss_far else "warning",
            f"The first loss is {number(first)}; a network that knows nothing of {classes} classes has "
            f"ln {classes} = {number(chance)}: this one is sure of wrong answers.",
            confidence=sureness(ratio, self.loss_ratio),
            steps=(int(run.loss.known.steps[0]),),
            numbers={"first loss": first, "ln K": chance, "ratio": ratio},
            curves=(run.loss.part(-np.inf, run.loss.steps[0] + 100),),
            reference=chance,
        )

    def _spread(self, run: Evidence) -> Finding | str | None:
        found = run.statistic("activation/std")
        if found is None or len(found.names) < 4:
            return "unknown"
        values = logarithm(row_medians(found.values[:, :10]))
        good = np.isfinite(values)
        if good.sum() < 4:
            return "unknown"
        logs, names = values[good], [n for n, g in zip(found.names, good, strict=True) if g]
        change, steady = float(logs[-1] - logs[0]), rank_correlation(np.arange(len(logs)), logs)
        if abs(change) < math.log10(self.spread_ratio) or steady * np.sign(change) < 0.8:
            return None
        word = "grows" if change > 0 else "shrinks"
        return self.finding(
            "problem",
            f"In the first ten steps the spread of activations {word} {times(10 ** abs(change))} from {names[0]} to "
            f"{names[-1]}, steadily from layer to layer.",
            confidence=sureness(10 ** abs(change), self.spread_ratio),
            layers=names,
            steps=(int(found.steps[0]), int(found.steps[min(9, len(found.steps) - 1)])),
            numbers={"last over first spread": 10**change, "rank correlation": steady},
            curves=[found.curve(found.names.index(n)) for n in (names[0], names[-1])],
        )

    def _zero(self, run: Evidence) -> Finding | str | None:
        weights = run.statistic("weight/norm")
        if weights is None:
            return "unknown"
        weights = weights.rows(weights.is_weight)
        got = run.statistic("gradient/norm")
        reached = set() if got is None else {n for n, g in zip(got.names, got.values[:, 0], strict=True) if g > 0}
        zero = [n for n, w in zip(weights.names, weights.values, strict=True) if w[0] == 0 and n not in reached]
        if len(zero) < 2 or len(zero) < 0.5 * len(weights.names):
            return None
        return self.finding(
            "problem",
            f"{len(zero)} of {len(weights.names)} weights ({named(zero)}) are all zero at the first step: their units "
            f"get equal gradients, or none.",
            confidence=0.95,
            layers=zero,
            steps=(int(weights.steps[0]),),
            numbers={"weights": len(zero), "median norm": median(weights.values[:, 0])},
            curves=[weights.curve(weights.names.index(n)) for n in zero[:4]],
        )
