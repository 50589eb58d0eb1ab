"""Guided backpropagation: only positive gradients pass, and only through open rectifiers."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from fluoroscope.methods.base import method
from fluoroscope.methods.gradient.rectified import RectifiedGradient
from fluoroscope.model.rectifiers import RectifierRule, guided

__all__ = ["GuidedBackprop"]


@method
class GuidedBackprop(RectifiedGradient):
    r"""Guided backpropagation: the gradient, cut at every ReLU where it or the ReLU's input is negative.

    .. math:: R^l_i = \mathbb{1}[f^l_i > 0] \; \mathbb{1}[R^{l+1}_i > 0] \; R^{l+1}_i

    Source: Springenberg et al., *Striving for Simplicity*, 2015, figure 1 c. Rectifiers are found however they are
    called (``nn.ReLU``, ``F.relu``, in place, ``clamp(min=0)``, ReLU6); other nonlinear functions keep their gradient
    and are noted. Its pictures are sharp because they restore the input's edges: they hardly depend on the network's
    weights (Adebayo et al., 2018), so they do not show what the network has learnt.

    Returns an :class:`~fluoroscope.results.Attribution`: ``values`` (N, C, H, W), signed; (N, H, W) with ``reduce``;
    (N, C, T) for series, (N, D) for table rows, (N, L) for tokens (the length over features); K after N for K targets.
    Units: score per unit of input, through a backward that is not the gradient's.

    Raises:
        NotApplicable: the network has no rectifier (GELU, SiLU, tanh only): it would be the plain gradient.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, or a score without a gradient.
    """

    name: ClassVar[str] = "guided-backprop"
    title: ClassVar[str] = "Guided backpropagation"
    source: ClassVar[str] = "Springenberg et al., Striving for Simplicity, ICLR 2015 workshop, fig. 1"
    rule: ClassVar[Callable[[], RectifierRule]] = staticmethod(guided)
