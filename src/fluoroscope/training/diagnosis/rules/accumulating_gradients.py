"""Gradients that are never zeroed: each step adds one more to a sum that is never taken back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.results.record import Array
from fluoroscope.training.diagnosis.evidence import Curve, Evidence
from fluoroscope.training.diagnosis.robust import NORMAL, logarithm, median
from fluoroscope.training.diagnosis.rule import Rule, Undecided, rule, threshold
from fluoroscope.training.diagnosis.wording import number

__all__ = ["AccumulatingGradients"]

FIRST = 16  # steps over which the sum grows before it turns
LAST = 64  # steps that are looked at: later the weights have moved far, and the gradient with them


@rule
class AccumulatingGradients(Rule):
    """The gradient is the sum of all gradients so far: what a step adds is small beside it and is not taken back.

    Three things are asked of the mean entry m of each tensor's gradient over the first steps, medians over tensors.
    Its change d from step to step is small beside m. Changes of a fresh gradient undo one another, since a mini-batch
    with a high m is followed by an ordinary one: their correlation from step to step is -1/2 for independent batches.
    The changes of a sum are fresh gradients, which undo nothing; near 1 there are no batches, and nothing is said. And
    the first m, a sum of one, is of the size of d and small beside the sum that follows.

    Where only norms were recorded: the norm grows over the first steps in proportion to the step (to its root for
    independent gradients), and it is smooth ever after.
    """

    name = "accumulating-gradients"
    title = "Gradients add up from step to step"
    source = "PyTorch, Tensor.backward accumulates into .grad; differences of a sum: Box and Jenkins 1970, chapter 4"
    needs = ("gradient/norm",)
    least = 40
    advice = ("call optimizer.zero_grad() once before each backward (or after each step)",)
    change: float = threshold(0.25, "change of the mean entry from step to step over the mean entry")
    undone: float = threshold(-0.25, "correlation of that change from step to step, -1/2 for independent ones", low=-1)
    fluid: float = threshold(0.85, "the same correlation, beyond which the gradient flows without batches", high=1)
    first: float = threshold(5.0, "first mean entry over its change in the first steps, or the reverse", low=1)
    grown: float = threshold(0.35, "first mean entry over that of later steps, at most")
    power: float = threshold(0.42, "power of the step with which the norm grows over the first steps", low=0.3)
    smooth: float = threshold(0.1, "typical change of the norm from step to step, as a share")
    turns: float = threshold(0.45, "share of steps at which the norm turns, two thirds for independent ones", high=1)

    def find(self, run: Evidence) -> Iterator[Finding]:
        """At most one finding."""
        curve = run.total_gradient
        assert curve is not None
        found = self._sum(run, curve) or self._grows(curve)
        if found is not None:
            yield found

    def _sum(self, run: Evidence, curve: Curve) -> Finding | None:
        means = run.statistic("gradient/mean")
        rows = (
            {} if means is None else {n: _looked_at(r[:LAST]) for n, r in zip(means.names, means.values, strict=True)}
        )
        seen = {name: row for name, row in rows.items() if row is not None}
        if not seen:
            return None
        known = np.array(list(seen.values()))
        change, undone, first, grown = (float(v) for v in np.median(known, axis=0))
        first = 2**first
        if change > self.change or not self.undone <= undone <= self.fluid or grown > self.grown:
            return None
        if not 1 / self.first <= first <= self.first:
            return None
        last = min(LAST, len(curve)) - 1
        return self.finding(
            "problem",
            f"Over the first {last + 1} steps the gradient (its mean entry in each of {len(known)} tensors) changes "
            f"from step to step by {100 * change:.0f} % of itself only, changes are not undone (correlation "
            f"{number(undone)} from one to the next, -0.5 for fresh batches), and one of them is about as large as the "
            f"first gradient was: each step adds to a sum. Its norm went from {number(curve.values[0])} to "
            f"{number(curve.values[last])}.",
            confidence=0.95,
            layers=tuple(seen),
            steps=(int(curve.steps[0]), int(curve.steps[last])),
            numbers={
                "change": change,
                "correlation of changes": undone,
                "first over change": first,
                "first over later": grown,
            },
            curves=(Curve(curve.name, curve.steps[:LAST], curve.values[:LAST]),),
        )

    def _grows(self, curve: Curve) -> Finding | None:
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
            return None
        if change > self.smooth or turns > self.turns:
            return None
        first = Curve(curve.name, curve.steps[: 4 * FIRST], curve.values[: 4 * FIRST])
        return self.finding(
            "problem",
            f"Over the first {FIRST} steps the norm of the gradient grew like the step to the power {number(power)} "
            f"(from {number(curve.values[0])} to {number(curve.values[FIRST - 1])}), and from step to step it changes "
            f"by {100 * change:.1f} % only.",
            confidence=0.9,
            steps=(int(curve.steps[0]), int(curve.steps[FIRST - 1])),
            numbers={"power": float(power), "correlation": straight, "change": change, "turns": turns},
            curves=(first,),
        )


def _looked_at(means: Array) -> tuple[float, float, float, float] | None:
    """Change over mean entry, correlation of changes, the logarithm of base 2 of the first mean over a change, and the
    first mean over later ones; None where the mean never changes or is not known.

    Changes beyond three spreads are cut to that, so that one step does not make the correlation.
    """
    if len(means) < 2 * FIRST or not np.isfinite(means).all():
        return None
    changes = np.diff(means)
    size, early, level = (median(np.abs(v)) for v in (changes, changes[:FIRST], means[FIRST:]))
    if not min(size, early, level, abs(float(means[0]))) > 0:
        return None
    cut = np.clip(changes / (NORMAL * size), -3, 3)
    undone = float((cut[1:] * cut[:-1]).mean() / (cut * cut).mean())
    first = abs(float(means[0]))
    return size / level, undone, float(np.log2(first / early)), first / level
