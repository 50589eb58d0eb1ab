"""Deconvnet: only positive gradients pass, whatever the rectifier did in the forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from fluoroscope.methods.base import method
from fluoroscope.methods.gradient.rectified import RectifiedGradient
from fluoroscope.model.rectifiers import RectifierRule, deconvolved

__all__ = ["Deconvnet"]


@method
class Deconvnet(RectifiedGradient):
    r"""Deconvnet: the gradient with the rectifier applied to the gradient itself, at every ReLU.

    .. math:: R^l_i = \mathbb{1}[R^{l+1}_i > 0] \; R^{l+1}_i

    Source: Zeiler and Fergus, *Visualizing and Understanding Convolutional Networks*, 2014, section 2.1, in the form of
    Simonyan et al., 2013, section 4. Rectifiers are found however they are called (``nn.ReLU``, ``F.relu``, in place,
    ReLU6); other nonlinear functions keep their gradient and are noted. Max pooling passes to where the maximum was.

    Returns an :class:`~fluoroscope.results.Attribution`: ``values`` (N, C, H, W), signed; (N, H, W) with ``reduce``;
    (N, C, T) for series, (N, D) for table rows, (N, L) for tokens (the length over features); K after N for K targets.
    Units: score per unit of input, through a backward that is not the gradient's.

    Raises:
        NotApplicable: the network has no rectifier (GELU, SiLU, tanh only): it would be the plain gradient.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, or a score without a gradient.
    """

    name: ClassVar[str] = "deconvnet"
    title: ClassVar[str] = "Deconvnet"
    source: ClassVar[str] = "Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, 2014, sec. 2.1"
    rule: ClassVar[Callable[[], RectifierRule]] = staticmethod(deconvolved)
