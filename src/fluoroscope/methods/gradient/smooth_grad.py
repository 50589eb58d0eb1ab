"""SmoothGrad: the mean gradient over noisy copies of the input."""

from __future__ import annotations

from typing import ClassVar

from fluoroscope.methods.base import method
from fluoroscope.methods.gradient.noise import NoisyGradient

__all__ = ["SmoothGrad"]


@method
class SmoothGrad(NoisyGradient):
    r"""SmoothGrad: the mean gradient over noisy copies of the input.

    .. math:: \bar g = \frac{1}{n} \sum_{j=1}^{n} \nabla s(x + \varepsilon_j), \qquad
              \varepsilon_j \sim N(0, \sigma^2 (\max x - \min x)^2)

    Source: Smilkov et al., *SmoothGrad: removing noise by adding noise*, 2017, section 3.
    The noise is a share of each example's own range, as there; the paper draws the largest magnitude over the channels.

    Returns an :class:`~fluoroscope.results.Attribution`: ``values`` (N, H, W), or (N, C, H, W) with ``reduce="none"``;
    (N, T) for series, (N, D) for table rows, (N, L) for tokens, whose embeddings get the noise; K after N for K
    targets. Units: score per unit of input. ``meta["standard_error"]`` has the relative standard error of the
    sampling, ``meta["samples"]`` how many were drawn; ``stop_error`` goes on until it is small enough.

    Raises:
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, a score without a gradient, or whole numbers that no embedding looks up.
    """

    name: ClassVar[str] = "smooth-grad"
    title: ClassVar[str] = "SmoothGrad"
    source: ClassVar[str] = "Smilkov et al., SmoothGrad: removing noise by adding noise, 2017, sec. 3"
