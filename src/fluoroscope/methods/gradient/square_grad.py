"""SquareGrad: the mean square of the gradient over noisy copies of the input."""

from __future__ import annotations

from typing import ClassVar

import torch

from fluoroscope.methods.base import method
from fluoroscope.methods.gradient.noise import NoisyGradient
from fluoroscope.methods.gradient.sampling import Moments

__all__ = ["SquareGrad"]


@method
class SquareGrad(NoisyGradient):
    r"""SquareGrad: the mean square of the gradient over noisy copies of the input.

    .. math:: Q = \frac{1}{n} \sum_{j=1}^{n} (\nabla s(x + \varepsilon_j))^2, \qquad
              \varepsilon_j \sim N(0, \sigma^2 (\max x - \min x)^2)

    Source: Hooker et al., *A Benchmark for Interpretability Methods in Deep Neural Networks*, 2019, section 3
    (SmoothGrad-squared). It is the squared SmoothGrad plus the variance: Q = mean^2 + V (n - 1) / n.

    Returns an :class:`~fluoroscope.results.Attribution`: ``values`` (N, H, W), or (N, C, H, W) with ``reduce="none"``;
    (N, T) for series, (N, D) for table rows, (N, L) for tokens, whose embeddings get the noise; K after N for K
    targets. Units: squared score per squared unit of input. ``meta["standard_error"]`` has the relative standard
    error of the sampling, ``meta["samples"]`` how many were drawn; ``stop_error`` goes on until it is small enough.

    Raises:
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, a score without a gradient, or whole numbers that no embedding looks up.
    """

    name: ClassVar[str] = "square-grad"
    title: ClassVar[str] = "SquareGrad"
    source: ClassVar[str] = "Hooker et al., A Benchmark for Interpretability Methods, 2019, sec. 3"
    unit: ClassVar[str] = "squared score per squared unit of input"
    statistic: ClassVar[str] = "mean square"

    def estimate(self, moments: Moments) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean square and its error."""
        return moments.square()
