"""Gradients that are never zeroed: their norm grows like the number of steps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.training.diagnosis.evidence import Curve, Evidence
from fluoroscope.training.diagnosis.robust import logarithm, median
from fluoroscope.training.diagnosis.rule import Rule, Undecided, rule, threshold
from fluoroscope.training.diagnosis.wording import number

__all__ = ["AccumulatingGradients"]

FIRST = 16  # steps over which the sum grows before it turns


@rule
class AccumulatingGradients(Rule):
    """In the first steps the norm of the gradient grows in proportion to the step, and it is smooth ever after.

    A sum of t gradients of one direction has t times their norm, of independent ones about the root of t times. A sum
    changes little from step to step, relative to its size, unlike the gradient of a batch.
    """

    name = "accumulating-gradients"
    title = "Gradients add up from step to step"
    source = "PyTorch, Tensor.backward accumulates into .grad"
    needs = ("gradient/norm",)
    least = 40
    advice = ("call optimizer.zero_grad() once before each backward (or after each step)",)
    power: float = threshold(0.42, "power of the step with which the norm grows over the first steps", low=0.3)
    smooth: float = threshold(0.1, "typical change of the norm from step to step, as a share")
    turns: float = threshold(0.45, "share of steps at which the norm turns, two thirds for independent ones", high=1)

    def find(self, run: Evidence) -> Iterator[Finding]:
        """At most one finding."""
        curve = run.total_gradient
        assert curve is not None
        logs = logarithm(curve.values)
        if len(logs) < self.least or not np.isfinite(logs[:FIRST]).all():
            raise Undecided("the gradients of the first steps are not known")
        steps = np.log10(np.arange(1, FIRST + 1))
        power, _ = np.polyfit(steps, logs[:FIRST], 1)
        straight = float(np.corrcoef(steps, logs[:FIRST])[0, 1])
        known = logs[np.isfinite(logs)][FIRST // 2 :]
        changes = np.diff(known)
        change = 10 ** median(np.abs(changes)) - 1
        turns = float((changes[1:] * changes[:-1] < 0).mean()) if len(changes) > 2 else 1.0
        rising = float((np.diff(logs[:FIRST]) > 0).mean())
        if not (self.power <= power <= 1.6 and straight >= 0.9 and rising >= 0.6):
            return
        if change > self.smooth or turns > self.turns:
            return
        first = Curve(curve.name, curve.steps[: 4 * FIRST], curve.values[: 4 * FIRST])
        yield self.finding(
            "problem",
            f"Over the first {FIRST} steps the norm of the gradient grew like the step to the power {number(power)} "
            f"(from {number(curve.values[0])} to {number(curve.values[FIRST - 1])}), and from step to step it changes "
            f"by {100 * change:.1f} % only.",
            confidence=0.9,
            steps=(int(curve.steps[0]), int(curve.steps[FIRST - 1])),
            numbers={"power": float(power), "correlation": straight, "change": change, "turns": turns},
            curves=(first,),
        )
