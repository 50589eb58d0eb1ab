"""SS-CAM: Score-CAM smoothed by noise on the masks."""

from __future__ import annotations

from typing import ClassVar

import torch

from fluoroscope.methods.base import method, option
from fluoroscope.methods.cam.score_map import MaskedScores, ScoreMap
from fluoroscope.model.seeding import generator

__all__ = ["SSCAM"]


@method
class SSCAM(ScoreMap):
    r"""SS-CAM: Score-CAM with each channel's score averaged over masks with Gaussian noise.

    .. math:: L(x, y) = \mathrm{ReLU}\Big(\sum_k w_k A^k_{xy}\Big), \quad
              w = \mathrm{softmax}_k \; \frac{1}{n} \sum_{i=1}^n
              s\big(x \odot (\mathrm{up}(H^k) + \epsilon_i)\big), \quad \epsilon_i \sim \mathcal{N}(0, \sigma^2)

    with H the feature maps from 0 to 1; the noise is drawn at the input's resolution and belongs to seed and example.
    Source: Wang et al., *SS-CAM*, 2020, algorithm 1 (noise on the feature maps), as torchcam has it. Other public
    programs add the noise before maps are scaled, with a deviation of (2 / range)², and weigh by probabilities, without
    a softmax over channels.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), or (N, K, H, W) for K targets, at
    the layer's resolution, in units of the activation; (N, T) for series; tokens on their grid.
    Cost: one forward, and ``samples`` for each channel of each example, whatever the number of targets; no backward.

    Raises:
        LayerError: no such layer, it did not run, or it has no positions.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output.
        NotApplicable: the layer's maps can't be laid over the input.
    """

    name: ClassVar[str] = "ss-cam"
    title: ClassVar[str] = "SS-CAM"
    source: ClassVar[str] = "Wang et al., SS-CAM, 2020, algorithm 1"

    samples: int = option(10, "noisy masks for each channel", low=1)
    noise: float = option(2.0, "standard deviation of the noise, where masks go from 0 to 1", low=0)

    @property
    def rounds(self) -> int:
        """Masked inputs for each channel."""
        return self.samples

    def channel_scores(self, masked: MaskedScores, n: int, masks: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
        """The mean over samples; with noise no two masks are the same."""
        drawing = generator(self.seed, masked.batch.start + n)
        return torch.stack([self._once(masked, n, masks, drawing) for _ in range(self.samples)]).mean(0)

    def _once(self, masked: MaskedScores, n: int, masks: torch.Tensor, drawing: torch.Generator) -> torch.Tensor:
        large = (masked.enlarged(masks[a:b]) for a, b in masked.parts(len(masks)))
        return masked.of(n, (self._noisy(m, masked.unseen(n), drawing) for m in large))

    def _noisy(self, masks: torch.Tensor, unseen: torch.Tensor | None, drawing: torch.Generator) -> torch.Tensor:
        """Masks (m, *size) with noise, none of it where there is padding."""
        if unseen is None:
            return masks + self.noise * torch.randn(masks.shape, generator=drawing).to(masks)
        own = masks[:, ~unseen]
        noisy = masks.clone()
        noisy[:, ~unseen] = own + self.noise * torch.randn(own.shape, generator=drawing).to(masks)
        return noisy
