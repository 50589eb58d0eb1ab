"""Grad-CAM++: positive gradients, each position weighed by a closed form of higher derivatives."""

from __future__ import annotations

from typing import ClassVar

import torch

from fluoroscope.methods.base import method
from fluoroscope.methods.cam.layer_map import GradientMap, weighted_sum

__all__ = ["GradCAMPlusPlus", "plus_plus_weights"]


def plus_plus_weights(
    activation: torch.Tensor, gradient: torch.Tensor, second: torch.Tensor, third: torch.Tensor
) -> torch.Tensor:
    """Weights (N, C): the positive gradients summed with the paper's coefficients, from derivatives (N, C, *positions).

    A coefficient whose denominator is zero is zero: the second and third derivatives vanish there.
    """
    total = activation.flatten(2).sum(2)[(..., *(None,) * (activation.ndim - 2))]
    below = 2 * second + total * third
    share = torch.where(below == 0, 0, second / torch.where(below == 0, 1, below))
    return (share * gradient.relu()).flatten(2).sum(2)


@method
class GradCAMPlusPlus(GradientMap):
    r"""Grad-CAM++: like Grad-CAM, with weights that let several objects of the class count alike.

    .. math:: L(x, y) = \mathrm{ReLU}\Big(\sum_k w_k A^k_{xy}\Big), \quad
              w_k = \sum_{x, y} \alpha^k_{xy} \, \mathrm{ReLU}(g^k_{xy}), \quad
              \alpha^k_{xy} = \frac{(g^k_{xy})^2}{2 (g^k_{xy})^2 + S_k (g^k_{xy})^3}, \quad
              g = \frac{\partial s}{\partial A}, \quad S_k = \sum_{a, b} A^k_{ab}

    This is the closed form for the class score exp(s), whose second and third derivatives are powers of the gradient
    where s is piecewise linear (a ReLU network). Source: Chattopadhay et al., *Grad-CAM++*, WACV 2018, equations 7, 11
    and 19. Different from the source, as in torchcam and pytorch-grad-cam: the factor exp(s), the same for all
    channels, is left out, because it overflows; and α is computed as 1 / (2 + S g), which is the same number and never
    0 / 0.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), or (N, K, H, W) for K targets, at
    the layer's resolution, in units of the score; (N, T) for series; tokens on their grid.
    Cost: one forward, and one backward through what follows the layer for each target.

    Raises:
        LayerError: no such layer, it did not run, or it has no positions.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, or a score without a gradient.
    """

    name: ClassVar[str] = "grad-cam++"
    title: ClassVar[str] = "Grad-CAM++"
    source: ClassVar[str] = "Chattopadhay et al., Grad-CAM++, WACV 2018, eq. 7, 11, 19"

    def weigh(self, activation: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """ReLU of the channel sum; numerator and denominator of α are divided by the squared gradient."""
        weights = plus_plus_weights(activation, gradient, torch.ones_like(gradient), gradient)
        return weighted_sum(weights, activation).relu()
