"""Saliency: the gradient of the score with respect to the input."""

from __future__ import annotations

from typing import ClassVar

import torch

from fluoroscope import axes as ax
from fluoroscope.methods.attributing import attribution, input_axes, per_target
from fluoroscope.methods.base import Batch, Method, method, option
from fluoroscope.model.capture import gradients, input_tape
from fluoroscope.model.study import Study
from fluoroscope.results import Attribution

__all__ = ["Saliency"]


@method
class Saliency(Method):
    r"""Saliency: how strongly the target's score reacts to a small change of each input value.

    .. math:: g = \frac{\partial s}{\partial x}, \qquad M_{ij} = \max_c |g_{cij}|

    Source: Simonyan et al., *Deep Inside Convolutional Networks*, 2013, section 3.1. ``reduce="max"`` is the paper's
    map, ``"norm"`` the length of g over the channels, ``"none"`` the signed gradient itself.

    Returns an :class:`~fluoroscope.results.Attribution`: ``values`` (N, H, W), or (N, C, H, W) with ``reduce="none"``;
    (N, T) for series, (N, D) for table rows; K after N for K targets. Units: score per unit of the (preprocessed)
    input. Cost: one forward, and one backward for each target; parameters are frozen, so their gradients cost nothing.

    Raises:
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, a score without a gradient, or an input of whole numbers (token
        numbers).
    """

    name: ClassVar[str] = "saliency"
    title: ClassVar[str] = "Saliency"
    family: ClassVar[str] = "gradient"
    returns: ClassVar[type[Attribution]] = Attribution
    source: ClassVar[str] = "Simonyan et al., Deep Inside Convolutional Networks, 2013, sec. 3.1"

    reduce: str = option(
        "max", "over channels: largest magnitude, length, or none (signed)", choices=("max", "norm", "none")
    )

    def compute(self, study: Study, batch: Batch) -> Attribution:
        """One forward, one backward for each target."""
        taped = input_tape(study, batch.inputs)
        picked = batch.target.pick(taped.scores, taped.output)
        gradient = gradients(study, taped, picked.scores)["input"]
        many = picked.scores.ndim == 2
        axes, _ = input_axes(batch.inputs.main)
        maps = [self._reduced(g, axes) for g in per_target(gradient, many)]
        if ax.C in axes:
            axes = (
                tuple(a for a in axes if a != ax.C)
                if self.reduce != "none"
                else (ax.N, ax.C, *(a for a in axes[1:] if a != ax.C))
            )
        return attribution(
            self,
            study,
            batch,
            picked,
            torch.stack(maps, 1) if many else maps[0],
            axes,
            signed=self.reduce == "none" or ax.D in axes,
            unit="score per unit of input",
            caption=f"gradient of the score, channels: {self.reduce}",
        )

    def _reduced(self, gradient: torch.Tensor, axes: tuple[str, ...]) -> torch.Tensor:
        if ax.C not in axes:
            return gradient
        channel = axes.index(ax.C)
        if self.reduce == "none":
            return gradient.movedim(channel, 1)
        return gradient.abs().amax(channel) if self.reduce == "max" else gradient.norm(dim=channel)
