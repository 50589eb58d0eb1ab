"""Finer-CAM: where a layer's features tell the target from the classes that are most like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from fluoroscope.errors import NotApplicable
from fluoroscope.methods.base import method, option
from fluoroscope.methods.cam.layer_map import LayerMap, LayerView, mean_weighted
from fluoroscope.model.capture import Tape, gradients
from fluoroscope.model.targets import class_scores

__all__ = ["FinerCAM"]


@method
class FinerCAM(LayerMap):
    r"""Finer-CAM: Grad-CAM of the difference between the target's score and those of the most similar classes.

    .. math:: L(x, y) = \mathrm{ReLU}\Big(\sum_k \alpha_k A^k_{xy}\Big), \quad
              \alpha_k = \frac{1}{Z} \sum_{x', y'} \frac{\partial}{\partial A^k_{x'y'}}
              \Big(s_c - \frac{\gamma}{|D|} \sum_{d \in D} s_d\Big)

    D are the ``references`` classes whose scores are nearest to the target's, the target left out; γ is ``strength``, 0
    gives Grad-CAM. What the target shares with them cancels. Source: Zhang et al., *Finer-CAM*, CVPR 2025: the score of
    equation 3 for one reference, the weights of several averaged. With ``weighting="probability"`` the references count
    by their probabilities, as in the authors' later program and in pytorch-grad-cam, gradients of the probabilities
    included: the score is Σ p_d (s_c − γ s_d) / Σ p_d over D, with p the softmax of all classes.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), or (N, K, H, W) for K targets, at
    the layer's resolution, in units of the score; (N, T) for series; tokens on their grid. ``scores`` are the target's
    own. Cost: one forward, and one backward through what follows the layer for each target.

    Raises:
        LayerError: no such layer, it did not run, or it has no positions.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, or a score without a gradient.
        NotApplicable: the target is no class, or there is no other class.
    """

    name: ClassVar[str] = "finer-cam"
    title: ClassVar[str] = "Finer-CAM"
    source: ClassVar[str] = "Zhang et al., Finer-CAM, CVPR 2025, eq. 3"
    goes_back: ClassVar[bool] = True

    references: int = option(3, "how many similar classes the target is held against", low=1)
    strength: float = option(1.0, "how much of the similar classes' score is taken off", low=0)
    weighting: str = option(
        "equal", "how several similar classes count: all alike, or by probability", choices=("equal", "probability")
    )

    def map(self, view: LayerView) -> Sequence[torch.Tensor]:
        """Grad-CAM of the difference, for each target."""
        every = class_scores(view.shared.tape.scores)
        chosen = torch.as_tensor(view.picked.indices, device=every.device)
        if bool((chosen < 0).any()) or every.shape[1] < 2:
            raise NotApplicable(
                "Finer-CAM holds a class against the classes that are most like it",
                got=f"{every.shape[1]} classes, target {view.shared.batch.target.description}",
                expected="a class as target, and at least two classes",
                remedy="give the class by its number or name, or use Grad-CAM",
            )
        columns = chosen[:, None] if chosen.ndim == 1 else chosen
        finer = torch.stack([self._difference(every, c) for c in columns.unbind(1)], 1)
        alone = Tape(None, finer, {view.layer: view.tensor})
        found = gradients(view.shared.study, alone, finer, keep=view.shared.keep)[view.layer]
        maps = view.maps
        return [view.unpadded(mean_weighted, maps, view.to_maps(g)) for g in found.unbind(1)]

    def _difference(self, every: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        own = every.gather(1, target[:, None])
        away = (every - own).detach().abs().scatter(1, target[:, None], torch.inf)
        nearest = away.topk(min(self.references, every.shape[1] - 1), largest=False).indices
        others = every.gather(1, nearest)
        apart = own - self.strength * others
        return apart.mean(1) if self.weighting == "equal" else (others.softmax(1) * apart).sum(1)
