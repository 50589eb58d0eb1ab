"""VarGrad: the variance of the gradient over noisy copies of the input."""

from __future__ import annotations

from typing import ClassVar

import torch

from fluoroscope.methods.base import method
from fluoroscope.methods.gradient.noise import NoisyGradient
from fluoroscope.methods.gradient.sampling import Moments

__all__ = ["VarGrad"]


@method
class VarGrad(NoisyGradient):
    r"""VarGrad: the variance of the gradient over noisy copies of the input.

    .. math:: V = \frac{1}{n-1} \sum_{j=1}^{n} (\nabla s(x + \varepsilon_j) - \bar g)^2, \qquad
              \varepsilon_j \sim N(0, \sigma^2 (\max x - \min x)^2)

    Source: Adebayo et al., *Local Explanation Methods for Deep Neural Networks Lack Sensitivity to Parameter Values*,
    2018, section 2. The unbiased variance (n - 1) is taken, so that a few samples do not make it small.

    Returns an :class:`~fluoroscope.results.Attribution`: ``values`` (N, H, W), or (N, C, H, W) with ``reduce="none"``;
    (N, T) for series, (N, D) for table rows, (N, L) for tokens, whose embeddings get the noise; K after N for K
    targets. Units: squared score per squared unit of input. ``meta["standard_error"]`` has the relative standard
    error of the sampling, ``meta["samples"]`` how many were drawn; ``stop_error`` goes on until it is small enough.

    Raises:
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, a score without a gradient, or whole numbers that no embedding looks up.
    """

    name: ClassVar[str] = "var-grad"
    title: ClassVar[str] = "VarGrad"
    source: ClassVar[str] = "Adebayo et al., Local Explanation Methods Lack Sensitivity to Parameter Values, sec. 2"
    unit: ClassVar[str] = "squared score per squared unit of input"
    statistic: ClassVar[str] = "variance"

    def estimate(self, moments: Moments) -> tuple[torch.Tensor, torch.Tensor]:
        """The variance; its error from the fourth central moment."""
        spread = (moments.fourth - moments.variance**2).clamp(min=0)
        return moments.variance, spread / moments.count
