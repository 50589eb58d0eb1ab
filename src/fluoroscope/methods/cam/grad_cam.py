"""Grad-CAM: where a layer's features speak for the target."""

from __future__ import annotations

from typing import ClassVar

import torch

from fluoroscope.methods.base import method
from fluoroscope.methods.cam.layer_map import GradientMap, mean_weighted

__all__ = ["GradCAM"]


@method
class GradCAM(GradientMap):
    r"""Grad-CAM: a layer's feature maps, each weighed by the mean gradient of the target's score over its positions.

    .. math:: L(x, y) = \mathrm{ReLU}\Big(\sum_k \alpha_k A^k_{xy}\Big), \quad
              \alpha_k = \frac{1}{Z} \sum_{x', y'} \frac{\partial s}{\partial A^k_{x'y'}}

    Source: Selvaraju et al., *Grad-CAM*, ICCV 2017, equations 1 and 2. Different from the source: the map is neither
    scaled to its maximum nor enlarged; ``values`` are raw, in units of the score.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), or (N, K, H, W) for K targets, at
    the layer's resolution; (N, T) for series. Tokens are put back on their grid, class and register tokens left out.
    Cost: one forward, and one backward through what follows the layer for each target.

    Raises:
        LayerError: no such layer, it did not run, or it has no positions.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, or a score without a gradient.
    """

    name: ClassVar[str] = "grad-cam"
    title: ClassVar[str] = "Grad-CAM"
    in_report: ClassVar[bool] = True
    source: ClassVar[str] = "Selvaraju et al., Grad-CAM, ICCV 2017, eq. 1-2"

    def weigh(self, activation: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """ReLU of the channel sum, weights averaged over positions."""
        return mean_weighted(activation, gradient)
