"""Exploding gradients: norms far beyond the run's own past, and what they did to the loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.results.findings import Severity
from fluoroscope.results.record import Array
from fluoroscope.training.diagnosis.evidence import Curve, Evidence
from fluoroscope.training.diagnosis.lost_gain import never_won_back
from fluoroscope.training.diagnosis.robust import blocks, logarithm, median, past, spread, sureness
from fluoroscope.training.diagnosis.rule import Rule, rule, threshold
from fluoroscope.training.diagnosis.wording import named, number, share, times

__all__ = ["ExplodingGradients"]

EARLY = 10  # steps that have no past of their own to be judged by


@rule
class ExplodingGradients(Rule):
    """The norm of the gradient bursts beyond everything the run has seen, runs away, or grows without end.

    A burst is a robust z-score of the logarithm (median and MAD of the ``window`` steps before) of at least ``z``, at
    least ``ratio`` times that median, and twice what the run began with. In the first ten steps, which have no past,
    what came after is the measure. So it is where the past is nothing but bursts: a norm of ``ratio`` times the median
    of the second half is one if the loss never won back half of what it had gained before. How severe a burst is, the
    loss says: how much it rose within ten steps, beyond its own noise, over what had been gained since the start, and
    whether the gain was lost for good. A burst that costs no loss is a hint. A gradient that grows until the run is no
    longer finite has run away.
    """

    name = "exploding-gradients"
    title = "The gradient explodes"
    follows = (
        "learning-rate-high",
        "accumulating-gradients",
    )
    source = "Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063; robust z-score of 3.5: Iglewicz and Hoaglin 1993"
    needs = ("gradient/norm",)
    least = 2
    advice = (
        "clip the norm of the gradient, at about its median",
        "lower the learning rate or warm it up",
        "look at the examples of that step",
    )
    z: float = threshold(3.5, "robust z-score of the logarithm of the norm")
    ratio: float = threshold(30.0, "norm over the median of the steps before", low=1)
    window: float = threshold(50, "steps of the past that are looked at", low=10)
    early: float = threshold(100.0, "norm in the first ten steps over the median of the run", low=1)
    told: float = threshold(0.3, "rise of the loss over what was gained since the start, from which it is a warning")
    far: float = threshold(1.0, "rise of the loss over what was gained since the start, from which it is a problem")
    never: float = threshold(0.5, "share of what was gained that no later stretch won back, from which it is lost")

    def find(self, run: Evidence) -> Iterator[Finding]:
        """One finding: for a gradient that runs away, for bursts, or for growth over the whole run."""
        curve = run.total_gradient
        assert curve is not None
        away = self._runaway(run, curve)
        if away is not None:
            yield away
        elif len(curve) >= Rule.least:
            bursts = self._bursts(curve, run.loss)
            growth = None if bursts.any() else self._growth(run, curve)
            if bursts.any():
                yield self._burst(run, curve, bursts)
            elif growth is not None:
                yield growth

    def _runaway(self, run: Evidence, curve: Curve) -> Finding | None:
        """The last finite steps before the run is lost for good: how far beyond its past the gradient had grown."""
        finite = np.flatnonzero(np.isfinite(curve.values) & (curve.values > 0))
        end = int(finite[-1]) if len(finite) else -1
        if end < 1 or not (end < len(curve) - 1 or _lost(run.loss, curve.steps[end])):
            return None
        close = finite[finite > end - EARLY]
        before = finite[finite <= end - EARLY]
        base = median(curve.values[before]) if len(before) else float(curve.values[close[0]])
        top = int(close[np.argmax(curve.values[close])])
        factor = float(curve.values[top] / base)
        if not factor >= self.early or top < end - 1:
            return None
        layers = run.largest_gradients(int(curve.steps[top]))
        return self.finding(
            "problem",
            f"The norm of the gradient grew from {number(base)} to {number(curve.values[top])}, {times(factor)}, at "
            f"step {int(curve.steps[top])}, most of it in {named(layers)}; afterwards nothing is finite.",
            confidence=sureness(factor, self.early),
            layers=layers,
            steps=(int(curve.steps[close[0]]), int(curve.steps[top])),
            numbers={"norm": float(curve.values[top]), "times the norm before": factor},
            curves=(curve, run.loss),
            reference=base,
        )

    def _bursts(self, curve: Curve, loss: Curve | None) -> Array:
        logs = logarithm(curve.values)
        middle, wide = past(logs, int(self.window))
        rise = logs - middle
        with np.errstate(invalid="ignore"):
            late = (
                (rise >= self.z * np.fmax(wide, 0.02))
                & (rise >= np.log10(self.ratio))
                & (logs >= median(logs[:EARLY]) + np.log10(2))
            )
        return np.asarray(late | self._early(curve, logs, loss) | self._for_good(curve, logs, loss))

    def _for_good(self, curve: Curve, logs: Array, loss: Curve | None) -> Array:
        """Which steps of the first half stand far above the second and are where the loss lost its gain for good."""
        half = len(logs) // 2
        with np.errstate(invalid="ignore"):
            high = logs - median(logs[half:]) >= np.log10(self.ratio)
        high[:EARLY] = high[half:] = False
        if loss is not None and high.any():
            high[high] = never_won_back(loss, curve.steps[high]) >= self.never
        return high if loss is not None else np.zeros(len(logs), dtype=bool)

    def _early(self, curve: Curve, logs: Array, loss: Curve | None) -> Array:
        """Which of the first steps burst: far above the rest of the run, and above the very first, which may be
        large in a sound run too; half of it is enough where the loss rose with it.
        """
        level, first = median(logs[EARLY:]), logs[0]
        costs = loss is not None and _cost(loss, float(curve.steps[0]), EARLY).share >= self.far
        above = np.log10(2) if costs else np.log10(self.early) / 2
        with np.errstate(invalid="ignore"):
            high = (logs - level >= np.log10(self.early)) & (logs - first >= above)
        return np.asarray(high & (np.arange(len(logs)) < EARLY))

    def _burst(self, run: Evidence, curve: Curve, bursts: Array) -> Finding:
        place = int(np.flatnonzero(bursts)[np.argmax(curve.values[bursts])])
        step, value = int(curve.steps[place]), float(curve.values[place])
        before = curve.values[max(0, place - int(self.window)) : place]
        base = median(before) if len(before) >= EARLY else median(curve.values)
        costs = [_cost(run.loss, float(s)) for s in curve.steps[bursts]]
        cost = max(costs, key=lambda c: np.nan_to_num(c.share, nan=-1.0))
        layers = run.largest_gradients(step)
        count = int(bursts.sum())
        severity: Severity = "hint"
        gone = np.zeros(0) if run.loss is None else never_won_back(run.loss, curve.steps[bursts])
        if (gone >= self.never).any():
            severity = "problem"
            last = int(curve.steps[bursts][gone >= self.never][-1])
            text = f"Of what had been gained by step {last}, {share(np.nanmax(gone))} was never won back."
            cost = _Cost(cost.share, f"{cost.told} {text}".strip())
        elif cost.share >= self.told:
            severity = "problem" if cost.share >= self.far else "warning"
        elif _thrown(run, step) >= EARLY and _hardly_better(run.loss, step):
            severity = "warning"
            cost = _Cost(cost.share, "That step threw the weights far, and the loss has hardly fallen since.")
        told = (
            f"At step {step} the norm of the gradient is {number(value)}, {times(value / base)} the median of the "
            f"steps before; most of it in {named(layers)}."
        )
        told += f" There are {count} such steps." if count > 1 else ""
        told += f" {cost.told}" if severity != "hint" else " The loss hardly took notice."
        steps = curve.steps[bursts]
        return self.finding(
            severity,
            told,
            confidence=sureness(value / base, self.ratio),
            layers=layers,
            steps=(int(steps[0]), int(steps[-1])),
            numbers={
                "norm": value,
                "times the median before": value / base,
                "bursts": count,
                "rise of the loss over the gain": cost.share,
            },
            curves=(curve, run.loss),
            reference=base,
        )

    def _growth(self, run: Evidence, curve: Curve) -> Finding | None:
        levels = blocks(logarithm(curve.values), 10)[0]
        levels = levels[np.isfinite(levels)]
        if len(levels) < 6 or levels[-1] - levels[0] < np.log10(self.early) or levels[-1] < levels.max() - 0.3:
            return None
        if (np.diff(levels) > -0.1).mean() < 0.8:
            return None
        factor = float(10 ** (levels[-1] - levels[0]))
        layers = run.largest_gradients(int(curve.known.steps[-1]))
        return self.finding(
            "problem",
            f"The norm of the gradient grew {times(factor)} over the run and is still growing; most of it is in "
            f"{named(layers)}.",
            confidence=sureness(factor, self.early),
            layers=layers,
            steps=(int(curve.steps[0]), int(curve.steps[-1])),
            numbers={"last over first tenth": factor},
            curves=(curve,),
        )


@dataclass(frozen=True)
class _Cost:
    """``share``: rise of the loss after a burst over what had been gained since the start; zero within its noise."""

    share: float
    told: str = ""


def _cost(loss: Curve | None, step: float, later: int = EARLY) -> _Cost:
    """What a burst at ``step`` cost: the largest loss of the next ten steps against the level of the five before.

    The rise counts where it is 3.5 times the spread of the thirty steps before. What was gained is told from the level
    of the first twenty steps, since a first loss may be high by its initialization; where nothing had been gained yet,
    the loss itself is the measure.
    """
    if loss is None:
        return _Cost(float("nan"))
    after, before = loss.part(step, step + later).values, loss.part(-np.inf, step - 1).known.values
    level = median(before[-5:]) if before.size else float(loss.values[0])
    if not after.size or not np.isfinite(level):
        return _Cost(float("nan"))
    if not np.isfinite(after).all():
        return _Cost(float("inf"), f"After step {step:.0f} the loss was not finite.")
    top, first = float(after.max()), median(loss.known.values[: 2 * EARLY])
    if top - level < 3.5 * (spread(before[-30:]) if before.size else 0.0):
        return _Cost(0.0)
    gained = first - level if first > level else abs(level)
    lost = (top - level) / max(gained, 0.05 * abs(first), 1e-12)
    text = f"After step {step:.0f} the loss rose from {number(level)} to {number(top)}"
    return _Cost(lost, text + (f", {times(lost)} what had been gained." if first > level else "."))


def _thrown(run: Evidence, step: int) -> float:
    """How far the step at ``step`` moved the weights, over the median of the run."""
    found = run.statistic("update/norm")
    if found is None or step not in found.steps:
        return float("nan")
    sizes = np.sqrt((np.where(found.seen, found.values, 0.0) ** 2).sum(0))
    base = median(sizes)
    return float(sizes[found.steps == step][0] / base) if base > 0 else float("nan")


def _hardly_better(loss: Curve | None, step: int) -> bool:
    """Whether no stretch of ten steps after ``step`` lies a tenth below the level of the five steps before."""
    if loss is None:
        return False
    after, before = loss.part(step + 1, np.inf).known.values, loss.part(-np.inf, step).known.values
    if len(after) < 2 * EARLY or not before.size:
        return False
    level = median(before[-5:])
    return bool(np.nanmin(blocks(after, len(after) // EARLY)[0]) >= level - 0.1 * abs(level))


def _lost(loss: Curve | None, step: float) -> bool:
    """Whether no loss after ``step`` is finite, and there is one that is not."""
    after = np.zeros(0) if loss is None else loss.part(step, np.inf).values
    return bool(after.size) and not np.isfinite(after[1:] if after.size > 1 else after).any()
