"""RISE: the mean score of randomly masked examples, seen from each position."""

from __future__ import annotations

from math import ceil
from typing import ClassVar

import numpy as np
import torch

from fluoroscope.methods.base import method, option
from fluoroscope.methods.perturbation.features import Features, Layout, cells
from fluoroscope.methods.perturbation.sampling import Ask, Estimate, Example, MaskSampling, Sampler
from fluoroscope.results import Array

__all__ = ["RISE"]

BLOCK, ELEMENTS = 32, 2_000_000


@method
class RISE(MaskSampling):
    r"""RISE: by how much the mean score of masked examples is higher when a position is visible.

    .. math:: S_\lambda = \frac{\sum_s f(x \odot m_s)\, m_s(\lambda)}{\sum_s m_s(\lambda)}
              - \frac{1}{S} \sum_s f(x \odot m_s)

    Masks are coarse random grids, each cell open with probability ``keep``, enlarged bilinearly and shifted at random
    by up to a cell. Columns and tokens have no neighbours: each is kept or replaced by itself.

    Source: Petsiuk et al., *RISE*, 2018, equations 5 and 6, section 3.2 for the masks. It differs: the sum is divided
    by the mask's own sum instead of its expectation (the same limit, less scatter), the mean over all masks is taken
    off, so that zero means no effect (``relative=False`` keeps the paper's level), the score is the logit, and what is
    covered is the ``baseline`` (the paper's is 0).

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), (N, T), (N, D) or (N, L), K after N
    for K targets, at the input's resolution, in units of the score; ``errors`` are Monte Carlo standard errors of the
    ratio (the delta method). Cost: ``samples`` forwards for each example, whatever the number of targets.

    Raises:
        OptionError: a baseline that does not fit.
        InputError: an example has nothing that could be left out (an empty text).
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output.
    """

    name: ClassVar[str] = "rise"
    title: ClassVar[str] = "RISE"
    source: ClassVar[str] = "Petsiuk et al., RISE, 2018, eq. 6"

    samples: int = option(2000, "most variants of each example that are run", low=2)
    cells: int = option(7, "cells of the random grid along each side", low=1)
    keep: float = option(0.5, "probability of a cell to be open", low=0.01, high=0.99)
    relative: bool = option(True, "take off the mean score over all masks")

    def reading(self) -> tuple[bool, str]:
        """Signed once the mean is taken off."""
        return self.relative, "score"

    def features(self, tensor: torch.Tensor, place: Layout, start: int) -> list[Features]:
        """Every position by itself."""
        return [cells(place.size, place.size, tensor.device, gridded=place.spatial)] * len(tensor)

    def sampler(self, example: Example) -> Sampler:
        """Portions of masks, of which only sums are kept."""
        sums, block = _Sums(self.relative), BLOCK
        if self.stop_error is None:
            block = max(BLOCK, ELEMENTS // example.count)
        for start in range(0, self.samples, block):
            masks = self.masks(example, min(block, self.samples - start))
            sums.add(masks.numpy(), (yield Ask(masks)))
            if self.stop_error is not None and self.enough(sums.estimate()):
                break
        return sums.estimate()

    def masks(self, example: Example, count: int) -> torch.Tensor:
        """Masks (count, positions): coarse ones with values from 0 to 1; truth values where there are no neighbours."""
        if example.features.grid is None:
            return example.coins(count, self.keep)
        size = example.features.grid
        coarse = [min(self.cells, length) for length in size]
        masks = (torch.rand(count, *coarse, generator=example.random) < self.keep).float()
        for axis, (length, parts) in enumerate(zip(size, coarse, strict=True), start=1):
            shift = torch.randint(ceil(length / parts), (count,), generator=example.random)
            rows = masks.movedim(axis, -1)
            wide = rows.reshape(count, -1, parts) @ _enlarging(length, parts, shift).mT
            masks = wide.reshape(*rows.shape[:-1], length).movedim(-1, axis)
        return masks.reshape(count, -1)


def _enlarging(length: int, parts: int, shift: torch.Tensor) -> torch.Tensor:
    """Weights (B, length, parts) of bilinear enlarging to parts + 1 cells, cut at ``shift`` (half-pixel convention)."""
    cell = ceil(length / parts)
    place = torch.arange(length) + shift[:, None]
    source = ((place + 0.5) * parts / ((parts + 1) * cell) - 0.5).clamp(0, parts - 1)
    return (1 - (source[..., None] - torch.arange(parts)).abs()).clamp(min=0)


class _Sums:
    """Sums over masks m and scores f from which the map and its standard error follow."""

    def __init__(self, relative: bool) -> None:
        self.relative, self.count = relative, 0

    def add(self, masks: Array, scores: Array) -> None:
        """Masks (B, P) and scores (B, K)."""
        m, f = masks.astype(np.float64), scores
        if not self.count:
            self.zero = f.mean(0)  # sums are taken about a first guess, so that nothing cancels
            self.m = [np.zeros(m.shape[1]) for _ in range(2)]
            self.fm = [[np.zeros((f.shape[1], m.shape[1])) for _ in range(2)] for _ in range(2)]
            self.f = [np.zeros(f.shape[1]) for _ in range(2)]
        f = f - self.zero
        self.count += len(m)
        for i, power in enumerate((m, m**2)):
            self.m[i] += power.sum(0)
            for j in range(2):
                self.fm[i][j] += (f ** (j + 1)).T @ power
        for j in range(2):
            self.f[j] += (f ** (j + 1)).sum(0)

    def estimate(self) -> Estimate:
        """Values and standard errors (K, P).

        The estimate moves by ``m (f - S) / mean(m) - (f - mean(f))`` over the count for each sample; its variance is
        that of the estimate. Without ``relative`` the second term is not there.
        """
        n, open_ = self.count, np.maximum(self.m[0], 1e-300) / self.count
        mean = (self.f[0] / n)[:, None]
        level = self.fm[0][0] / np.maximum(self.m[0], 1e-300)
        variance = (self.fm[1][1] - 2 * level * self.fm[1][0] + level**2 * self.m[1]) / n / open_**2
        if self.relative:
            both = (self.fm[0][1] - (level + mean) * self.fm[0][0] + level * mean * self.m[0]) / n / open_
            variance = variance - 2 * both + (self.f[1] / n)[:, None] - mean**2
        values = level - mean if self.relative else level + self.zero[:, None]
        return Estimate(values, np.sqrt(np.maximum(variance, 0) / max(n - 1, 1)))
