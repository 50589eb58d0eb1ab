"""Eigen-Grad-CAM: the strongest pattern of gradient times activation."""

from __future__ import annotations

from typing import ClassVar

import torch

from fluoroscope.methods.base import method, option
from fluoroscope.methods.cam.layer_map import GradientMap
from fluoroscope.methods.cam.principal_component import first_component

__all__ = ["EigenGradCAM"]


@method
class EigenGradCAM(GradientMap):
    r"""Eigen-Grad-CAM: positions projected on the first singular vector of gradient times activation.

    .. math:: \frac{\partial s}{\partial A} \odot A = U \Sigma V^\top, \qquad
              L = \Big(\frac{\partial s}{\partial A} \odot A\Big) v_1

    as (positions × channels) of one example: Eigen-CAM of what speaks for or against the target. Source: the method of
    pytorch-grad-cam, after Muhammad and Yeasin, *Eigen-CAM*, IJCNN 2020, equations 2 and 3. Different from it: the sign
    is chosen so that the map agrees with HiResCAM's instead of being left to chance. ``center=True`` takes each
    channel's mean off first, as pytorch-grad-cam does.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), or (N, K, H, W) for K targets, at
    the layer's resolution, signed, in units of the score; (N, T) for series; tokens on their grid.
    Cost: one forward, and one backward through what follows the layer for each target.

    Raises:
        LayerError: no such layer, it did not run, or it has no positions.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, or a score without a gradient.
    """

    name: ClassVar[str] = "eigen-grad-cam"
    title: ClassVar[str] = "Eigen-Grad-CAM"
    source: ClassVar[str] = "Muhammad and Yeasin, Eigen-CAM, IJCNN 2020, eq. 2-3, of gradient times activation"
    signed: ClassVar[bool] = True
    empty: ClassVar[str] = "the layer's activations or their gradients are zero, or the same everywhere"

    center: bool = option(False, "take each channel's mean over positions off before the decomposition")

    def weigh(self, activation: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """The projection, with HiResCAM's sign."""
        product = gradient * activation
        return first_component(product, product.sum(1), center=self.center)
