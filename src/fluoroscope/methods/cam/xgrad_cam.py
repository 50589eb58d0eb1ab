"""XGrad-CAM: gradients averaged where the channel is active."""

from __future__ import annotations

from typing import ClassVar

import torch

from fluoroscope.methods.base import method
from fluoroscope.methods.cam.layer_map import GradientMap, weighted_sum

__all__ = ["XGradCAM"]


@method
class XGradCAM(GradientMap):
    r"""XGrad-CAM: like Grad-CAM, with each channel's gradient averaged by its activation instead of evenly.

    .. math:: L(x, y) = \mathrm{ReLU}\Big(\sum_k w_k A^k_{xy}\Big), \quad
              w_k = \sum_{x, y} \frac{A^k_{xy}}{\sum_{a, b} A^k_{ab}} \frac{\partial s}{\partial A^k_{xy}}

    So the map before its ReLU sums to gradient times activation summed over all positions and channels. A channel whose
    activations sum to zero has no average and gets the weight zero. Source: Fu et al., *Axiom-based Grad-CAM*, BMVC
    2020, equation 9.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), or (N, K, H, W) for K targets, at
    the layer's resolution, in units of the score; (N, T) for series; tokens on their grid.
    Cost: one forward, and one backward through what follows the layer for each target.

    Raises:
        LayerError: no such layer, it did not run, or it has no positions.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, or a score without a gradient.
    """

    name: ClassVar[str] = "xgrad-cam"
    title: ClassVar[str] = "XGrad-CAM"
    source: ClassVar[str] = "Fu et al., Axiom-based Grad-CAM, BMVC 2020, eq. 9"

    def weigh(self, activation: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """ReLU of the channel sum, gradients averaged by activation."""
        above = torch.einsum("nc...,nc...->nc", activation, gradient)
        below = activation.flatten(2).sum(2)
        weights = torch.where(below == 0, 0, above / torch.where(below == 0, 1, below))
        return weighted_sum(weights, activation).relu()
