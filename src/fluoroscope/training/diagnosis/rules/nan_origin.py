"""NaN and infinity: at which step, in which tensor, and of what kind, they appeared first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.training.diagnosis.evidence import Curve, Evidence, Statistic
from fluoroscope.training.diagnosis.robust import median
from fluoroscope.training.diagnosis.rule import Rule, Undecided, rule, threshold
from fluoroscope.training.diagnosis.wording import named, times

__all__ = ["NanOrigin"]

ORDER = ("activation", "loss", "gradient", "update", "weight")
"""Kinds of tensor in the order in which one step computes them."""
STATISTIC = {
    "activation": ("activation/std",),
    "gradient": ("gradient/norm",),
    "update": ("update/norm",),
    "weight": ("weight/norm",),
}


@dataclass(frozen=True)
class _Event:
    step: int
    kind: str
    layers: tuple[str, ...]
    infinite: bool


@rule
class NanOrigin(Rule):
    """The first tensor and step at which something is not finite.

    Within one step, activations come before the loss, the loss before gradients, gradients before updates and weights.
    Among activations the first in the order of the network is the origin; among gradients, which run backwards, the
    last. Gradients that are not finite while loss and weights stay finite are steps that a gradient scaler left out.
    """

    name = "nan-origin"
    title = "A value is not a number"
    least = 1
    source = "IEEE 754; gradient scaling: Micikevicius et al. 2018, arXiv:1710.03740"
    growth: float = threshold(20.0, "growth of the gradient in the ten steps before that tells an overflow", low=1)

    def find(self, run: Evidence) -> Iterator[Finding]:
        """One finding for the origin, one for validation alone."""
        if run.loss is None and run.tensors is None:
            raise Undecided("neither a loss nor tensors were recorded")
        events = sorted(self._events(run), key=lambda e: (e.step, ORDER.index(e.kind)))
        if not events:
            yield from self._validation(run)
            return
        first = events[0]
        if first.kind == "gradient" and _recovers(run, first.step):
            yield self._skipped(run, first)
            return
        yield self._origin(run, first, [e for e in events if e.step == first.step])

    def _events(self, run: Evidence) -> Iterator[_Event]:
        if run.loss is not None and (bad := ~np.isfinite(run.loss.values)).any():
            place = int(bad.argmax())
            yield _Event(int(run.loss.steps[place]), "loss", (), bool(np.isinf(run.loss.values[place])))
        for kind, names in STATISTIC.items():
            for name in names:
                found = run.statistic(name)
                if found is not None:
                    yield from _first(kind, found)

    def _origin(self, run: Evidence, first: _Event, same: list[_Event]) -> Finding:
        word = "infinite" if first.infinite else "NaN"
        growth = _growth(run, first.step)
        layers = first.layers[-1:] if first.kind == "gradient" else first.layers[:1]
        where = f"{first.kind} of {named(layers)}" if layers else f"the {first.kind}"
        also = [e.kind for e in same if e.kind != first.kind]
        text = f"At step {first.step} {where} became {word}"
        text += " while the loss and the activations were still finite" if first.kind == "gradient" else ""
        text += f"; in the same step {named(also)} followed" if also else ""
        overflow = growth >= self.growth
        text += f". The gradient had grown {times(growth)} within ten steps" if overflow else ""
        numbers: dict[str, float] = {"step": first.step, "tensors": len(first.layers)}
        if np.isfinite(growth):
            numbers["gradient growth"] = growth
        return self.finding(
            "problem",
            text + ".",
            confidence=0.99 if first.layers or first.kind == "loss" else 0.9,
            layers=layers,
            steps=(first.step,),
            numbers=numbers,
            curves=(run.loss, run.total_gradient),
            advice=_advice(first.kind, overflow),
            title=f"{'Infinity' if first.infinite else 'NaN'} starts in {where}",
        )

    def _skipped(self, run: Evidence, first: _Event) -> Finding:
        return self.finding(
            "hint",
            f"Gradients were not finite at step {first.step} and weights stayed finite: the step was left out.",
            confidence=0.8,
            layers=first.layers[-1:],
            steps=(first.step,),
            numbers={"step": first.step},
            curves=(run.total_gradient,),
            advice=("nothing, if a gradient scaler searches its scale; otherwise look for the layer named",),
            title="Steps with infinite gradients were left out",
        )

    def _validation(self, run: Evidence) -> Iterator[Finding]:
        curve = run.val_loss
        if curve is None or np.isfinite(curve.values).all():
            return
        step = int(curve.steps[~np.isfinite(curve.values)][0])
        yield self.finding(
            "warning",
            f"The validation loss is not finite from step {step} on, the training loss is.",
            confidence=0.95,
            steps=(step,),
            numbers={"step": step},
            curves=(curve, run.loss),
            advice=(
                "look for NaN in the validation data",
                "look for layers that differ in eval mode (batch norm, mixed precision)",
            ),
            title="The validation loss is not a number",
        )


def _first(kind: str, found: Statistic) -> Iterator[_Event]:
    bad = found.seen & ~np.isfinite(found.values)
    if not bad.any():
        return
    column = int(bad.any(0).argmax())
    layers = tuple(n for n, b in zip(found.names, bad[:, column], strict=True) if b)
    yield _Event(int(found.steps[column]), kind, layers, bool(np.isinf(found.values[bad[:, column], column]).any()))


def _recovers(run: Evidence, step: int) -> bool:
    """Whether weights and loss stay finite after ``step``, and gradients become finite again."""
    weights, gradient = run.statistic("weight/norm"), run.total_gradient
    later = [] if run.loss is None else list(run.loss.part(step + 1, np.inf).values)
    if weights is None or gradient is None or not later:
        return False
    after = gradient.part(step + 1, np.inf).values
    return bool(
        np.isfinite(weights.values[weights.seen]).all() and np.isfinite(later).all() and np.isfinite(after).any()
    )


def _growth(run: Evidence, step: int) -> float:
    """Largest finite gradient of the ten steps before ``step`` over the median of what came before."""
    curve: Curve | None = run.total_gradient
    if curve is None:
        return float("nan")
    before, close = curve.part(-np.inf, step - 11).known.values, curve.part(step - 10, step).known.values
    if not close.size:
        return float("nan")
    base = median(before) if before.size else float(close[0])
    return float(close.max() / base) if base > 0 else float("nan")


def _advice(kind: str, overflow: bool) -> tuple[str, ...]:
    if overflow:
        return ("lower the learning rate or warm it up", "clip the norm of the gradient", "look at what grew before")
    if kind in ("activation", "loss"):
        return (
            "check this batch for NaN, infinity and empty targets",
            "look for log(0), 0 / 0, exp of large numbers in the forward; add an epsilon inside",
        )
    if kind == "gradient":
        return (
            "look for sqrt(0), norm of a zero vector, x ** y at 0 or a masked division in this layer: the gradient is "
            "infinite where the value is not; put the epsilon inside the root",
            "torch.autograd.set_detect_anomaly(True) names the operation",
        )
    return ("look at the optimizer's state: an epsilon that is zero in half precision, a loaded state with NaN",)
