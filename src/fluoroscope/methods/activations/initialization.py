"""Initialization: what a training would begin with, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from fluoroscope.methods.base import Batch, Method, method, option
from fluoroscope.model.signals import Signal, signals
from fluoroscope.model.study import Study
from fluoroscope.results import Array, TensorHistory

__all__ = ["Initialization"]

FADED = 1e-3
"""Share of the signal left over the whole depth below which it counts as vanishing; its inverse as exploding."""
QUANTITIES = {
    "activation/std": "std",
    "gradient/std": "gradient",
    "activation/mean": "mean",
    "activation/zero_share": "zero_share",
}


@method
class Initialization(Method):
    """Signals before training: the spread of every layer's output, and of the gradient that would come back to it.

    Forward: mean and standard deviation of each layer's output on a batch of real inputs, in train mode. Backward: the
    root mean square of d(w · output) / d(layer) with standard normal w, over ``directions`` draws, so that 1 arrives at
    the output and no loss is needed. Signals that shrink or grow by the same factor at every layer vanish or explode
    with depth, and so does what the first layers learn. The caption tells where less than a thousandth of the signal
    is left on its way, or more than a thousandfold.

    Source: Glorot and Bengio, *Understanding the difficulty of training deep feedforward neural networks*, AISTATS
    2010, sections 4.2-4.3; He et al., *Delving Deep into Rectifiers*, ICCV 2015, section 2.2; Schoenholz et al., *Deep
    Information Propagation*, ICLR 2017, for gradients of random projections.

    Returns a :class:`~fluoroscope.results.TensorHistory` of one step: layers (L, 1) in the order in which they run.

    Raises:
        InputError: the network fails on the input.
        ModelError: the network's output holds no scores.
    """

    name: ClassVar[str] = "initialization"
    title: ClassVar[str] = "Signals before training"
    family: ClassVar[str] = "activations"
    phase: ClassVar[Any] = "before"
    returns: ClassVar[type[TensorHistory]] = TensorHistory
    needs: ClassVar[Any] = frozenset({"inputs"})
    joins: ClassVar[bool] = False
    source: ClassVar[str] = "Glorot and Bengio, AISTATS 2010; He et al., ICCV 2015"

    directions: int = option(4, "random projections of the output whose gradients are averaged", low=1)
    examples: int = option(64, "examples of the batch, at most", low=1)

    def compute(self, study: Study, batch: Batch) -> TensorHistory:
        """One forward, and a backward for each direction."""
        inputs = batch.inputs
        if inputs.count > self.examples:
            study.note(f"the first {self.examples} of {inputs.count} examples were taken")
            inputs = inputs.part(0, self.examples)
        if inputs.count == 1:
            study.note("one example alone: batch normalization works as in evaluation; give a batch")
        found = signals(study, inputs, self.directions)
        statistics = {q: _column(found, field) for q, field in QUANTITIES.items()}
        told = _verdicts(found)
        return TensorHistory(
            title=self.title,
            caption="; ".join(told) or "activations and gradients keep their size through the network",
            names=tuple(s.name for s in found),
            steps=np.zeros(1, np.int64),
            statistics=statistics,
            recorded={q: np.isfinite(v) | (q != "gradient/std") for q, v in statistics.items()},
            units={"activation/zero_share": "share", "gradient/std": "per unit at the output"},
            layers=tuple(s.name.partition("@")[0] for s in found),
            meta={"verdicts": told, "axis": "layer"},
        )


def _column(found: Sequence[Signal], field: str) -> Array:
    return np.array([[getattr(s, field)] for s in found], np.float64).reshape(-1, 1)


def _verdicts(found: Sequence[Signal]) -> list[str]:
    """What is wrong, in words, the direction of each signal as it travels."""
    told = [f"NaN or infinity first after {s.name}" for s in found if not np.isfinite(s.std)][:1]
    dead = [s.name for s in found if s.std == 0]
    if dead:
        several = f"{len(dead)} layers put out a constant, the first is {dead[0]}"
        told.append(several if dead[1:] else f"{dead[0]} puts out a constant")
    forward = [(s.name, s.std) for s in found if np.isfinite(s.std) and s.std > 0]
    backward = [(s.name, s.gradient) for s in found if np.isfinite(s.gradient)][::-1]
    return told + _travel("activations", forward) + _travel("gradients", backward)


def _travel(what: str, way: Sequence[tuple[str, float]]) -> list[str]:
    if len(way) < 3 or not way[0][1] > 0:
        return []
    start, first = way[0]
    values = np.array([value for _, value in way]) / first
    least, most = int(values.argmin()), int(values.argmax())
    if values[least] == 0:
        return [f"{what} vanish: none is left from {start} to {way[least][0]}"]
    for word, place in (("vanish", least), ("explode", most)):
        ratio = float(values[place])
        if ratio < FADED if word == "vanish" else ratio > 1 / FADED:
            each = ratio ** (1 / place)
            return [f"{what} {word}: × {ratio:.2g} from {start} to {way[place][0]}, × {each:.2g} at a layer"]
    return []
