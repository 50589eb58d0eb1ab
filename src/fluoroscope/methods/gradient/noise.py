"""What SmoothGrad, VarGrad and SquareGrad share: gradients at noisy copies of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from fluoroscope.methods.base import Batch, option
from fluoroscope.methods.gradient.input_gradient import reduce_option
from fluoroscope.methods.gradient.sampling import Draw, Sampling, generator
from fluoroscope.model.source import Source
from fluoroscope.model.study import Study
from fluoroscope.results import Attribution

__all__ = ["NoisyGradient"]


@dataclass(frozen=True, kw_only=True)
class NoisyGradient(Sampling):
    """A statistic of the gradients at x + noise."""

    unit: ClassVar[str] = "score per unit of input"
    statistic: ClassVar[str] = "mean"

    sigma: float = option(0.15, "standard deviation of the noise, as a share of the example's range", low=0.0)
    reduce: str = reduce_option()

    def drawing(self, study: Study, batch: Batch, source: Source) -> Draw:
        """Gaussian noise."""
        return _Noise(source.value, self.sigma, self.seed, batch.start, source.seen)

    def compute(self, study: Study, batch: Batch) -> Attribution:
        """As many forwards and backwards as samples."""
        source, picked, found = self.maps(study, batch)
        maps = [self.reduced(source, found[:, k], self.reduce) for k in range(found.shape[1])]
        caption = f"{self.statistic} of the gradient over {self.sigma:g} noise, channels: {self.reduce}"
        signed = self.statistic == "mean" and maps[0].ndim == source.value.ndim
        return self.result(study, batch, source, picked, maps, signed=signed, unit=self.unit, caption=caption)


class _Noise(Draw):
    """Normal noise, sigma times the range of each example's own values, where ``seen`` (N, ...) says so."""

    def __init__(self, value: torch.Tensor, sigma: float, seed: int, start: int, seen: torch.Tensor | None) -> None:
        own = [row.detach() if seen is None else row.detach()[seen[n]] for n, row in enumerate(value)]
        self.value, self.seen = value, seen
        self.scale = [float((row.max() - row.min()).double()) * sigma for row in own]
        self.shapes = [row.shape for row in own]
        self.generators = [generator(seed, start + n) for n in range(len(value))]

    def variant(self, n: int) -> torch.Tensor:
        noise = torch.randn(self.shapes[n], generator=self.generators[n], dtype=torch.float64) * self.scale[n]
        noise = noise.to(self.value.device, self.value.dtype)
        if self.seen is None:
            return self.value[n] + noise
        made: torch.Tensor = self.value[n].clone()
        made[self.seen[n]] += noise
        return made
