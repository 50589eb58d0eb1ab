"""Networks whose evidence is known, and methods that are right, wrong, or blind, for the checks to tell apart."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from fluoroscope.methods.attributing import attribution, input_axes
from fluoroscope.methods.base import Batch, Method
from fluoroscope.methods.gradient.saliency import Saliency
from fluoroscope.model.study import Study
from fluoroscope.results import Attribution


class PatchNet(nn.Module):
    """Class 1's score is the weighted sum of pixels (linear), with large weights in one known patch; class 0's is 0."""

    def __init__(self, size: int = 12, seed: int = 0, gain: float = 4.0) -> None:
        super().__init__()
        weights = 0.02 * np.random.default_rng(seed).random((size, size))
        weights[2:5, 6:9] += gain / 9
        self.weights = nn.Parameter(torch.tensor(weights))
        self.bias = nn.Parameter(torch.tensor(-gain / 4, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = (x.sum(1) * self.weights).flatten(1).sum(1) + self.bias
        return torch.stack([torch.zeros_like(score), score], 1)


PATCH = np.zeros((12, 12), bool)
PATCH[2:5, 6:9] = True


def bright(count: int = 6, size: int = 12, seed: int = 1) -> torch.Tensor:
    """Images (N, 1, H, W) in [0.5, 1], float64."""
    return 0.5 + 0.5 * torch.rand(
        count, 1, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


class FromInput(Method):
    """A map made of the input and nothing else, whatever the network."""

    title = "From the input"
    name = "from-input"
    returns = Attribution

    def map(self, x: torch.Tensor, start: int) -> torch.Tensor:
        return x.mean(1)

    def compute(self, study: Study, batch: Batch) -> Attribution:
        with torch.no_grad():
            output, scores = study.scored(batch.inputs)
        picked = batch.target.pick(scores, output)
        axes = tuple(a for a in input_axes(batch.inputs)[0] if a != "C")
        values = self.map(batch.inputs.main, batch.start)
        return attribution(self, study, batch, picked, values, axes, signed=False, unit="")


class Backwards(Saliency):
    """The right map with its sign turned: what it names first matters least."""

    def finish(self, result: Attribution, study: Study) -> Attribution:
        return result.replace(data=-result.data, title="Backwards")


class Noise(FromInput):
    """Random numbers: at chance by construction."""

    title = "Noise"

    def map(self, x: torch.Tensor, start: int) -> torch.Tensor:
        rng = np.random.default_rng(start + 99)
        return torch.as_tensor(rng.random((len(x), *x.shape[2:])))


__all__ = ["PATCH", "Backwards", "FromInput", "Noise", "PatchNet", "bright"]
