"""The rest of a network after a layer, run by itself, and whether it is affine."""

from __future__ import annotations

import numpy as np
import torch

from fluoroscope.methods.attributing import per_target
from fluoroscope.methods.base import Batch
from fluoroscope.model.affine import affine_obstacle
from fluoroscope.model.capture import Tape, gradients
from fluoroscope.model.replay import Replay
from fluoroscope.model.seeding import generator
from fluoroscope.model.study import LayerName, Study
from fluoroscope.model.targets import Picked

__all__ = ["LayerTail", "deviation"]

POINTS = 4


class LayerTail:
    """One forward up to the end, what follows ``layer`` recorded and ready to be run again with other activations."""

    def __init__(self, study: Study, batch: Batch, layer: LayerName) -> None:
        self.study, self.batch, self.layer = study, batch, layer
        self.replay = Replay(study, batch.inputs, layer)
        self.leaf = self.replay.activation.requires_grad_()
        with torch.enable_grad():
            output, scores = self.replay(self.leaf)
        study.check_finite(scores.detach(), batch.inputs)
        self.picked: Picked = batch.target.pick(scores, output)
        self._tape = Tape(output, scores, {layer: self.leaf})
        self._target_of = batch.target.settled(self.picked, scores)

    @property
    def columns(self) -> list[torch.Tensor]:
        """The scores (N,) of each target."""
        return per_target(self.picked.scores, self.picked.scores.ndim == 2)

    def obstacle(self) -> str | None:
        """What keeps a target's score from being affine in the layer, by the record; None where nothing does."""
        found = (affine_obstacle(column, self.leaf) for column in self.columns)
        return next((o for o in found if o is not None), None)

    def gradients(self) -> list[torch.Tensor]:
        """D score / d activation in the layer's own shape, for each target."""
        found = gradients(self.study, self._tape, self.picked.scores)[self.layer]
        return per_target(found, self.picked.scores.ndim == 2)

    def variants(self, activations: torch.Tensor, times: int) -> list[torch.Tensor]:
        """Scores (N x times,) of each target for activations (N x times, ...), rows of an example side by side."""
        with torch.no_grad():
            output, scores = self.replay(activations, times)
        rows = np.repeat(np.arange(len(self.leaf)), times).tolist()
        picked = self._target_of(rows).pick(scores, output)
        self.study.facts["tail_forwards"] = self.study.facts.get("tail_forwards", 0) + len(activations)
        return per_target(picked.scores, picked.scores.ndim == 2)

    def is_affine(self, found: list[torch.Tensor]) -> bool:
        """Whether the gradients ``found`` foretell the scores of other activations: none, some, negative, random."""
        whole = self.leaf.detach()
        factors = 3 * torch.rand((POINTS, *whole.shape[1:]), generator=generator(0, 0), dtype=torch.float64) - 1
        factors[0] = 0
        factors[1] = (factors[1] > 0.5).double()  # some on, some off, as they are when channels are ablated
        factors[2] = -1
        moved = (whole[:, None] * factors.to(whole)).flatten(0, 1)
        scores = self.variants(moved, POINTS)
        return all(
            deviation(after, before, gradient, moved - whole.repeat_interleave(POINTS, 0)) < _tolerance(whole)
            for after, before, gradient in zip(scores, self.columns, found, strict=True)
        )


def deviation(after: torch.Tensor, before: torch.Tensor, gradient: torch.Tensor, change: torch.Tensor) -> float:
    """Largest difference of ``after`` (N x times,) from ``before`` (N,) plus gradient times change, as a share."""
    times = len(after) // len(before)
    terms = (gradient.repeat_interleave(times, 0) * change).flatten(1).double()
    expected = before.detach().double().repeat_interleave(times, 0) + terms.sum(1)
    size = terms.abs().sum(1) + expected.abs()
    return float(((after.double() - expected).abs() / torch.where(size == 0, 1, size)).max())


def _tolerance(tensor: torch.Tensor) -> float:
    return {torch.float64: 1e-9, torch.float32: 1e-4}.get(tensor.dtype, 2e-2)
