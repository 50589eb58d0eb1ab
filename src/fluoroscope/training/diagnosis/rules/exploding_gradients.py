"""Exploding gradients: norms far beyond the run's own past, and what they did to the loss."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.results.record import Array
from fluoroscope.training.diagnosis.evidence import Curve, Evidence
from fluoroscope.training.diagnosis.robust import blocks, logarithm, median, past, sureness
from fluoroscope.training.diagnosis.rule import Rule, rule, threshold
from fluoroscope.training.diagnosis.wording import named, number, times

__all__ = ["ExplodingGradients"]

EARLY = 10  # steps that have no past of their own to be judged by


@rule
class ExplodingGradients(Rule):
    """The norm of the gradient bursts beyond everything the run has seen, or grows without end.

    A burst is a robust z-score of the logarithm (median and MAD of the ``window`` steps before) of at least ``z``, at
    least ``ratio`` times that median, and twice what the run began with. In the first ten steps, which have no past,
    what came after is the measure. A burst that costs no loss is a hint.
    """

    name = "exploding-gradients"
    title = "The gradient explodes"
    follows = (
        "learning-rate-high",
        "accumulating-gradients",
    )
    source = "Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063; robust z-score: Iglewicz and Hoaglin 1993"
    needs = ("gradient/norm",)
    advice = (
        "clip the norm of the gradient, at about its median",
        "lower the learning rate or warm it up",
        "look at the examples of that step",
    )
    z: float = threshold(6.0, "robust z-score of the logarithm of the norm")
    ratio: float = threshold(30.0, "norm over the median of the steps before", low=1)
    window: float = threshold(50, "steps of the past that are looked at", low=10)
    early: float = threshold(100.0, "norm in the first ten steps over the median of the run", low=1)

    def find(self, run: Evidence) -> Iterator[Finding]:
        """One finding for bursts, one for growth over the whole run."""
        curve = run.total_gradient
        assert curve is not None
        bursts = self._bursts(curve)
        growth = self._growth(curve)
        if bursts.any():
            yield self._burst(run, curve, bursts)
        elif growth is not None:
            yield growth

    def _bursts(self, curve: Curve) -> Array:
        logs = logarithm(curve.values)
        middle, wide = past(logs, int(self.window))
        rise = logs - middle
        with np.errstate(invalid="ignore"):
            late = (
                (rise >= self.z * np.fmax(wide, 0.02))
                & (rise >= np.log10(self.ratio))
                & (logs >= median(logs[:EARLY]) + np.log10(2))
            )
        level = median(logs[EARLY:])
        early = np.arange(len(logs)) < EARLY
        with np.errstate(invalid="ignore"):
            early &= (logs - level >= np.log10(self.early)) & (logs - logs[0] >= np.log10(self.early) / 2)
        return np.asarray(late | early)

    def _burst(self, run: Evidence, curve: Curve, bursts: Array) -> Finding:
        place = int(np.flatnonzero(bursts)[np.argmax(curve.values[bursts])])
        step, value = int(curve.steps[place]), float(curve.values[place])
        before = curve.values[max(0, place - int(self.window)) : place]
        base = median(before) if len(before) >= EARLY else median(curve.values)
        cost = _cost(run.loss, step)
        layers = _largest(run, step)
        count = int(bursts.sum())
        text = (
            f"At step {step} the norm of the gradient is {number(value)}, {times(value / base)} the median of the "
            f"steps before; most of it in {named(layers)}."
        )
        text += f" There are {count} such steps." if count > 1 else ""
        text += f" The loss rose {times(cost)} right after." if cost >= 1.5 else " The loss hardly took notice."
        steps = curve.steps[bursts]
        return self.finding(
            "problem" if cost >= 2.0 else "warning" if cost >= 1.5 else "hint",
            text,
            confidence=sureness(value / base, self.ratio),
            layers=layers,
            steps=(int(steps[0]), int(steps[-1])),
            numbers={"norm": value, "times the median before": value / base, "bursts": count, "loss after": cost},
            curves=(curve, run.loss),
            reference=base,
        )

    def _growth(self, curve: Curve) -> Finding | None:
        levels = blocks(logarithm(curve.values), 10)[0]
        levels = levels[np.isfinite(levels)]
        if len(levels) < 6 or levels[-1] - levels[0] < np.log10(self.early) or levels[-1] < levels.max() - 0.3:
            return None
        if (np.diff(levels) > -0.1).mean() < 0.8:
            return None
        factor = float(10 ** (levels[-1] - levels[0]))
        return self.finding(
            "problem",
            f"The norm of the gradient grew {times(factor)} over the run and is still growing.",
            confidence=sureness(factor, self.early),
            steps=(int(curve.steps[0]), int(curve.steps[-1])),
            numbers={"last over first tenth": factor},
            curves=(curve,),
        )


def _cost(loss: Curve | None, step: int) -> float:
    """Largest loss of the five steps from ``step`` on, over the median of the twenty before."""
    if loss is None:
        return float("nan")
    after, before = loss.part(step, step + 5).values, loss.part(step - 20, step - 1).known.values
    base = median(before) if before.size else float(loss.values[0])
    if not after.size or not base > 0:
        return float("nan")
    return float(np.nanmax(np.where(np.isfinite(after), after, np.inf)) / base)


def _largest(run: Evidence, step: int) -> tuple[str, ...]:
    """The tensors that hold half of the squared norm at ``step``, largest first."""
    found = run.statistic("gradient/norm")
    if found is None or step not in found.steps:
        return ()
    column = np.nan_to_num(
        found.values[:, int(np.flatnonzero(found.steps == step)[0])], nan=0.0, posinf=np.finfo(float).max ** 0.4
    )
    order = np.argsort(-column)
    shares = np.cumsum(column[order] ** 2) / max(float((column**2).sum()), np.finfo(float).tiny)
    return tuple(found.names[i] for i in order[: int(np.searchsorted(shares, 0.5)) + 1])
