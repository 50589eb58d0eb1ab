"""Score-CAM: feature maps weighed by the score of the input that each leaves visible."""

from __future__ import annotations

from typing import ClassVar

import torch

from fluoroscope.methods.base import method
from fluoroscope.methods.cam.score_map import MaskedScores, ScoreMap

__all__ = ["ScoreCAM"]


@method
class ScoreCAM(ScoreMap):
    r"""Score-CAM: a layer's feature maps, each weighed by the target's score when it masks the input. No gradients.

    .. math:: L(x, y) = \mathrm{ReLU}\Big(\sum_k w_k A^k_{xy}\Big), \quad
              w = \mathrm{softmax}_k \; s\big(x \odot \mathrm{up}(H^k)\big), \quad
              H^k = \frac{A^k - \min A^k}{\max A^k - \min A^k}

    The baseline's score, which the source takes off every channel's, cancels in the softmax. Channels that are the same
    everywhere mask everything: their score is found once. Source: Wang et al., *Score-CAM*, CVPRW 2020, algorithm 1.
    Different from the source, like torchcam: maps are scaled before they are enlarged (bilinear, half-pixel
    convention).

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), or (N, K, H, W) for K targets, at
    the layer's resolution, in units of the activation; (N, T) for series; tokens on their grid.
    Cost: one forward, and one for each channel of each example, whatever the number of targets; no backward.

    Raises:
        LayerError: no such layer, it did not run, or it has no positions.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output.
        NotApplicable: the layer's maps can't be laid over the input.
    """

    name: ClassVar[str] = "score-cam"
    title: ClassVar[str] = "Score-CAM"
    source: ClassVar[str] = "Wang et al., Score-CAM, CVPRW 2020, algorithm 1"

    def channel_scores(self, masked: MaskedScores, n: int, masks: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
        """One masked input for each channel that is not the same everywhere, and one empty input for all that are."""
        return masked.distinct(n, masks, flat)
