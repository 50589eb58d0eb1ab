"""IS-CAM: Score-CAM integrated over masks that grow from nothing."""

from __future__ import annotations

from itertools import accumulate
from typing import ClassVar

import torch

from fluoroscope.methods.base import method, option
from fluoroscope.methods.cam.score_map import MaskedScores, ScoreMap

__all__ = ["ISCAM"]


@method
class ISCAM(ScoreMap):
    r"""IS-CAM: Score-CAM with each channel's score averaged over masks of growing strength.

    .. math:: L(x, y) = \mathrm{ReLU}\Big(\sum_k w_k A^k_{xy}\Big), \quad
              w = \mathrm{softmax}_k \; \frac{1}{n} \sum_{i=1}^n s\Big(\frac{i}{n} \, x \odot \mathrm{up}(H^k)\Big)

    with H the feature maps from 0 to 1: the mean along the straight path from the empty input to the masked one.
    Source: Naidu et al., *IS-CAM*, 2020. torchcam and others read its algorithm otherwise: the steps add up,
    :math:`\frac{1}{n} + \dots + \frac{i}{n}` in the place of :math:`\frac{i}{n}`, so that masks go far beyond 1 (to 5.5
    for ten steps) and weights are those of inputs much brighter than the example: ``path="summed"``.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), or (N, K, H, W) for K targets, at
    the layer's resolution, in units of the activation; (N, T) for series; tokens on their grid.
    Cost: one forward, and ``steps`` for each channel of each example, whatever the number of targets; no backward.

    Raises:
        LayerError: no such layer, it did not run, or it has no positions.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output.
        NotApplicable: the layer's maps can't be laid over the input.
    """

    name: ClassVar[str] = "is-cam"
    title: ClassVar[str] = "IS-CAM"
    source: ClassVar[str] = "Naidu et al., IS-CAM, 2020"

    steps: int = option(10, "strengths of each mask, evenly from 1/steps to 1", low=1)
    path: str = option("straight", "the strengths as they are, or summed up on the way", choices=("straight", "summed"))

    @property
    def rounds(self) -> int:
        """Masked inputs for each channel."""
        return self.steps

    def channel_scores(self, masked: MaskedScores, n: int, masks: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
        """The mean over strengths; channels that are the same everywhere are empty at any strength."""
        strengths = [i / self.steps for i in range(1, self.steps + 1)]
        strengths = list(accumulate(strengths)) if self.path == "summed" else strengths
        return torch.stack([masked.distinct(n, masks * s, flat) for s in strengths]).mean(0)
