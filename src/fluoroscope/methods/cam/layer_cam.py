"""LayerCAM: positive gradients as weights of their own positions."""

from __future__ import annotations

from typing import ClassVar

import torch

from fluoroscope.methods.base import method
from fluoroscope.methods.cam.layer_map import GradientMap

__all__ = ["LayerCAM"]


@method
class LayerCAM(GradientMap):
    r"""LayerCAM: each activation weighed by its own gradient where that is positive; fit for shallow layers too.

    .. math:: L(x, y) = \mathrm{ReLU}\Big(\sum_k \mathrm{ReLU}(g^k_{xy}) \, A^k_{xy}\Big), \quad
              g = \frac{\partial s}{\partial A}

    Source: Jiang et al., *LayerCAM*, IEEE TIP 2021, equations 6 and 8. Different from the source: shallow layers are
    not scaled by tanh; ``values`` are raw.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), or (N, K, H, W) for K targets, at
    the layer's resolution, in units of the score; (N, T) for series; tokens on their grid.
    Cost: one forward, and one backward through what follows the layer for each target.

    Raises:
        LayerError: no such layer, it did not run, or it has no positions.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, or a score without a gradient.
    """

    name: ClassVar[str] = "layer-cam"
    title: ClassVar[str] = "LayerCAM"
    source: ClassVar[str] = "Jiang et al., LayerCAM, IEEE TIP 2021, eq. 6 and 8"

    def weigh(self, activation: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """ReLU of the channel sum of rectified gradient times activation."""
        return torch.einsum("nc...,nc...->n...", gradient.relu(), activation).relu()
