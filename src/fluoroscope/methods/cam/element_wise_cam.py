"""Element-wise Grad-CAM: gradient times activation, what is negative left out before channels are summed."""

from __future__ import annotations

from typing import ClassVar

import torch

from fluoroscope.methods.base import method
from fluoroscope.methods.cam.layer_map import GradientMap

__all__ = ["ElementWiseCAM"]


@method
class ElementWiseCAM(GradientMap):
    r"""Element-wise Grad-CAM: the positive part of gradient times activation, summed over channels.

    .. math:: L(x, y) = \sum_k \mathrm{ReLU}\Big(\frac{\partial s}{\partial A^k_{xy}} A^k_{xy}\Big)

    Evidence against the target at one channel does not cancel evidence for it at another, so the map is never below
    HiResCAM's. Source: Pillai and Pirsiavash, *Explainable Models with Consistent Interpretations*, AAAI 2021, in the
    form in which pytorch-grad-cam has it (``GradCAMElementWise``).

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), or (N, K, H, W) for K targets, at
    the layer's resolution, in units of the score; (N, T) for series; tokens on their grid.
    Cost: one forward, and one backward through what follows the layer for each target.

    Raises:
        LayerError: no such layer, it did not run, or it has no positions.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, or a score without a gradient.
    """

    name: ClassVar[str] = "element-wise-cam"
    title: ClassVar[str] = "Element-wise Grad-CAM"
    source: ClassVar[str] = "Pillai and Pirsiavash, Explainable Models with Consistent Interpretations, AAAI 2021"

    def weigh(self, activation: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Channel sum of the positive products."""
        return (gradient * activation).relu().sum(1)
