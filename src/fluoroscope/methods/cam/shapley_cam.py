"""ShapleyCAM: Grad-CAM with the second-order term of the Shapley value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from fluoroscope.errors import NumericalError
from fluoroscope.methods.base import method, option
from fluoroscope.methods.cam.layer_map import LayerMap, LayerView, mean_weighted
from fluoroscope.model.targets import class_scores

__all__ = ["ShapleyCAM"]


@method
class ShapleyCAM(LayerMap):
    r"""ShapleyCAM: the feature maps weighed by a second-order estimate of their activations' Shapley values.

    .. math:: L(x, y) = \mathrm{ReLU}\Big(\sum_k \alpha_k A^k_{xy}\Big), \quad
              \alpha_k = \frac{1}{Z} \sum_{x, y} \Big(\nabla u - \tfrac{1}{2} \nabla^2 u \, A\Big)^k_{xy}

    u is the utility: by default the score plus the logarithm of its probability (the source's ReST), which is curved
    even where the network is piecewise linear; with ``utility="score"`` a ReLU network gives Grad-CAM. Targets that are
    no classes have no probability: their utility is the score, and a note says so. Source: Cai, *CAMs as Shapley
    Value-based Explainers*, 2025, ShapleyCAM with the ReST utility. pytorch-grad-cam shares out the score unless it is
    given the other.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), or (N, K, H, W) for K targets, at
    the layer's resolution, in units of the score; (N, T) for series; tokens on their grid. ``scores`` are the target's
    own. Cost: one forward, and two backwards through what follows the layer for each target (the Hessian is never
    formed).

    Raises:
        LayerError: no such layer, it did not run, or it has no positions.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, a score without a gradient, or operations without a second derivative.
    """

    name: ClassVar[str] = "shapley-cam"
    title: ClassVar[str] = "ShapleyCAM"
    source: ClassVar[str] = "Cai, CAMs as Shapley Value-based Explainers, 2025"
    goes_back: ClassVar[bool] = True
    twice_differentiable: ClassVar[bool] = True

    utility: str = option(
        "rest", "what is shared out: score plus log-probability, or the score", choices=("rest", "score")
    )

    def map(self, view: LayerView) -> Sequence[torch.Tensor]:
        """Gradient and Hessian times activation of the utility, for each target."""
        maps = view.maps
        found = [self._derivatives(view, u) for u in self._utilities(view)]
        return [view.unpadded(mean_weighted, maps, view.to_maps(d)) for d in found]

    def _utilities(self, view: LayerView) -> list[torch.Tensor]:
        indices = view.picked.indices
        if self.utility == "score":
            return view.columns
        if (indices < 0).any() or view.shared.tape.scores.numel() == len(view.tensor):
            view.shared.study.note("the target is not one of several classes, so the utility is its score alone")
            return view.columns
        every = class_scores(view.shared.tape.scores)
        log_probability = every.log_softmax(1).gather(
            1, torch.as_tensor(indices, device=every.device).view(len(every), -1)
        )
        return [s + p for s, p in zip(view.columns, log_probability.unbind(1), strict=True)]

    def _derivatives(self, view: LayerView, utility: torch.Tensor) -> torch.Tensor:
        study, tensor = view.shared.study, view.tensor
        try:
            (first,) = torch.autograd.grad(utility.sum(), tensor, create_graph=True)
            study.backwards += len(utility)
            if not first.requires_grad:
                return first
            second: torch.Tensor | None = torch.autograd.grad(
                first, tensor, grad_outputs=tensor.detach(), retain_graph=True, allow_unused=True
            )[0]
        except RuntimeError as error:
            raise NumericalError(
                "the score has no first or second derivative with respect to the layer",
                got=str(error).splitlines()[0],
                remedy="use Grad-CAM, or a later layer",
            ) from error
        study.backwards += len(utility)
        return first.detach() if second is None else first.detach() - second / 2
