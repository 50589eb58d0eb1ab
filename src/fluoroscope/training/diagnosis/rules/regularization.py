"""Regularization that takes over: weights that shrink to nothing, gradients that are always clipped."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.training.diagnosis.evidence import Curve, Evidence
from fluoroscope.training.diagnosis.progress import progress
from fluoroscope.training.diagnosis.robust import median, sureness
from fluoroscope.training.diagnosis.rule import Rule, Undecided, rule, threshold
from fluoroscope.training.diagnosis.wording import number, share

__all__ = ["ClippingAlways", "WeightsCollapse"]


@rule
class WeightsCollapse(Rule):
    """The norm of the weights shrinks to a part of its first value, and the loss pays for it."""

    name = "weights-collapse"
    title = "The weights shrink to nothing"
    lasting = True
    source = "Krogh and Hertz 1991; Loshchilov and Hutter 2019, arXiv:1711.05101"
    needs = ("weight/norm", "loss")
    advice = (
        "a weight decay of a tenth to a hundredth",
        "AdamW instead of an L2 penalty under Adam",
        "no decay for biases and norms",
    )
    shrunk: float = threshold(0.5, "norm of the weights at the end over the first", high=1)
    gained: float = threshold(
        0.35, "share of the first loss that is gone at the end, from which nothing is said", high=1
    )

    def find(self, run: Evidence) -> Iterator[Finding]:
        """At most one finding."""
        curve, loss = run.total_weight, run.loss
        assert loss is not None
        if curve is None or len(curve.known) < self.least:
            raise Undecided("the weights were not recorded together")
        curve = curve.known
        if not curve.values[0] > 0:
            raise Undecided("the weights are zero at the first step")
        ratio = median(curve.values[-5:]) / max(float(curve.values[0]), 1e-30)
        state = progress(loss)
        worse = (state.last - state.best) / max(abs(state.first - state.best), 1e-12)
        if ratio > self.shrunk or state.gained > self.gained or not (worse > 0.2 or state.gained < 0.1):
            return
        yield self.finding(
            "problem",
            f"The norm of all weights fell from {number(curve.values[0])} to {number(curve.values[-1])} "
            f"({share(ratio)}), and the loss is {number(state.last)} after {number(state.best)} at its best.",
            confidence=sureness(ratio, self.shrunk, 0.5),
            layers=_shrunk(run, self.shrunk),
            steps=(int(curve.steps[0]), int(curve.steps[-1])),
            numbers={"last over first norm": ratio, "gained": state.gained, "lost since the best": worse},
            curves=(curve, loss),
            reference=float(curve.values[0]),
        )


def _shrunk(run: Evidence, most: float) -> tuple[str, ...]:
    """Weights whose norm at the end is at most that share of the first."""
    found = run.statistic("weight/norm")
    if found is None:
        return ()
    found = found.rows(found.is_weight)
    ends = [(v[s][0], median(v[s][-5:])) for v, s in zip(found.values, found.seen, strict=True)]
    return tuple(n for n, (first, last) in zip(found.names, ends, strict=True) if last <= most * first)


def _where_it_moves(run: Evidence, curve: Curve) -> Curve:
    """Only steps that change a weight: a training that stands still has one and the same gradient."""
    found = run.statistic("update/norm")
    if found is None:
        return curve
    steps = found.steps[(np.where(found.seen, found.values, 0.0) != 0).any(0)]
    keep = np.isin(curve.steps, steps)
    return Curve(curve.name, curve.steps[keep], curve.values[keep])


@rule
class ClippingAlways(Rule):
    """The norm of the gradient is the same number at almost every step: it is always clipped.

    Under SGD the learning rate then no longer means what it says. Adam does not care about the scale, and always
    clipped transformers train well: it is a problem only where the weights hardly move.
    """

    name = "clipping-always"
    title = "The gradient is clipped at every step"
    lasting = True
    source = "Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063"
    needs = ("gradient/norm",)
    advice = (
        "clip at about the median of the norm before clipping",
        "raise the learning rate, if the clipping is meant",
    )
    same: float = threshold(0.9, "share of the steps with one and the same norm", high=1)
    moved: float = threshold(3e-4, "update over weight that nine tenths of the steps stay below")

    def find(self, run: Evidence) -> Iterator[Finding]:
        """At most one finding."""
        curve = run.total_gradient
        assert curve is not None
        curve = _where_it_moves(run, curve)
        values = curve.known.values
        if len(values) < self.least:
            raise Undecided("too few finite gradients of steps that change a weight")
        level = median(values)
        share_same = float((np.abs(values - level) <= 0.003 * level).mean()) if level > 0 else 0.0
        if share_same < self.same:
            return
        ratio = run.update_ratio
        most = float(np.quantile(ratio.known.values, 0.9)) if ratio is not None and len(ratio.known) else float("nan")
        gained = progress(run.loss).gained if run.loss is not None else float("nan")
        slow = most < self.moved and not gained > 0.3
        yield self.finding(
            "problem" if slow else "hint",
            f"The norm of the gradient is {number(level)} at {share(share_same)} of the steps"
            + (f", and nine of ten steps change a weight by less than {number(most)} of its norm." if slow else "."),
            confidence=0.95,
            steps=(int(curve.steps[0]), int(curve.steps[-1])),
            numbers={"norm": level, "share of steps": share_same, "update over weight": most},
            curves=(curve,),
            reference=level,
        )
