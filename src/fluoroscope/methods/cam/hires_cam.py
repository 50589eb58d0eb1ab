"""HiResCAM: gradient times activation, position by position."""

from __future__ import annotations

from typing import ClassVar

import torch

from fluoroscope.methods.base import method
from fluoroscope.methods.cam.layer_map import GradientMap

__all__ = ["HiResCAM"]


@method
class HiResCAM(GradientMap):
    r"""HiResCAM: gradient times activation summed over channels, so that no position lends its gradient to another.

    .. math:: L(x, y) = \sum_k \frac{\partial s}{\partial A^k_{xy}} A^k_{xy}

    The map keeps its sign: where the rest of the network is affine (a flattened or pooled layer and one dense layer),
    it sums to the score less its bias, which Grad-CAM's does after pooling only. Source: Draelos and Carin, *Use
    HiResCAM instead of Grad-CAM*, 2020, equation 4. pytorch-grad-cam cuts the negative part off.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), or (N, K, H, W) for K targets, at
    the layer's resolution, signed, in units of the score; (N, T) for series; tokens on their grid.
    Cost: one forward, and one backward through what follows the layer for each target.

    Raises:
        LayerError: no such layer, it did not run, or it has no positions.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, or a score without a gradient.
    """

    name: ClassVar[str] = "hires-cam"
    title: ClassVar[str] = "HiResCAM"
    source: ClassVar[str] = "Draelos and Carin, Use HiResCAM instead of Grad-CAM, 2020, eq. 4"
    signed: ClassVar[bool] = True
    empty: ClassVar[str] = "the layer's activations or their gradients are zero"

    def weigh(self, activation: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Channel sum of gradient times activation."""
        return torch.einsum("nc...,nc...->n...", gradient, activation)
