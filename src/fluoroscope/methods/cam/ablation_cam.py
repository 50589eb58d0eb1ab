"""Ablation-CAM: feature maps weighed by how far the score falls without them."""

from __future__ import annotations

from typing import ClassVar

import torch

from fluoroscope.methods.base import Batch, method
from fluoroscope.methods.cam.affine_tail import LayerTail
from fluoroscope.methods.cam.layer_map import PositionMap, layer_layout, weighted_sum, wide
from fluoroscope.model.positions import Layout
from fluoroscope.model.study import Study
from fluoroscope.results import Attribution

__all__ = ["AblationCAM"]

CACHED = 2**21
"""Values of activation in one run of the tail: what fits the caches; more is slower, less is more calls."""


@method
class AblationCAM(PositionMap):
    r"""Ablation-CAM: a layer's feature maps, each weighed by the fall of the target's score when it is set to zero.

    .. math:: L(x, y) = \mathrm{ReLU}\Big(\sum_k w_k A^k_{xy}\Big), \quad w_k = s - s_{A^k = 0}

    Only what follows the layer is run again, many channels at once, without gradients. Where it is affine in the layer
    (pooling and one dense layer: seen in the recorded operations, then verified at other activations) the falls are
    gradient times activation, exactly, and one backward gives them all; ``meta["exact"]`` says which way was taken.

    Source: Desai and Ramaswamy, *Ablation-CAM*, WACV 2020, equations 2 and 3. Different from the source: the fall is
    not divided by the score, so that it keeps its unit and, where the score is negative, its sign (pytorch-grad-cam
    divides, and its map is inverted there). Class and register tokens are not ablated.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), or (N, K, H, W) for K targets, at
    the layer's resolution, in units of score times activation; (N, T) for series; tokens on their grid.
    Cost: one forward, then one backward through the tail for each target, or the tail once for each channel
    (``meta["tail_forwards"]``), whatever the number of targets.

    Raises:
        LayerError: no such layer, it did not run, or it has no positions.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output.
    """

    name: ClassVar[str] = "ablation-cam"
    title: ClassVar[str] = "Ablation-CAM"
    source: ClassVar[str] = "Desai and Ramaswamy, Ablation-CAM, WACV 2020, eq. 2-3"
    unit: ClassVar[str] = "score × activation"
    empty: ClassVar[str] = "no channel whose loss lowers the score is active anywhere"

    def compute(self, study: Study, batch: Batch) -> Attribution:
        """The falls in closed form where the tail is affine, else by running it for each channel."""
        layer = self.place(study, batch.inputs)
        tail = LayerTail(study, batch, layer)
        layout = layer_layout(study, layer, tail.leaf, batch.inputs)
        maps = wide(layout.to_maps(tail.leaf.detach()))
        falls = self._closed_form(tail, layout)
        study.facts["exact"] = falls is not None
        if falls is None:
            falls = _ablated(tail, layout)
        return self.result(study, batch, tail.picked, layer, layout, [weighted_sum(f, maps).relu() for f in falls])

    def _closed_form(self, tail: LayerTail, layout: Layout) -> list[torch.Tensor] | None:
        if not tail.picked.scores.requires_grad or tail.obstacle() is not None:
            return None
        found = tail.gradients()
        if not tail.is_affine(found):
            return None
        whole = tail.leaf.detach()
        return [wide(layout.to_maps(g * whole)).flatten(2).sum(2) for g in found]


def _ablated(tail: LayerTail, layout: Layout) -> list[torch.Tensor]:
    """Falls (N, C) for each target: channels in turn, as many in one run as fit the caches."""
    whole = tail.leaf.detach()
    channel = layout.channel_axis
    count, step = whole.shape[channel], max(1, CACHED // max(1, whole.numel()))
    falls: list[list[torch.Tensor]] = [[] for _ in tail.columns]
    for start in range(0, count, step):
        stop = min(start + step, count)
        scores = tail.variants(_without(whole, layout, start, stop), stop - start)
        for found, before, after in zip(falls, tail.columns, scores, strict=True):
            found.append(before.detach()[:, None] - after.view(len(whole), -1))
    return [wide(torch.cat(f, 1)) for f in falls]


def _without(whole: torch.Tensor, layout: Layout, start: int, stop: int) -> torch.Tensor:
    """Activations (N x channels, ...) with channel ``start`` + i zero at all positions in row i of each example."""
    many = whole.unsqueeze(1).repeat(1, stop - start, *(1,) * (whole.ndim - 1))
    for i, channel in enumerate(range(start, stop)):
        part = many[:, i].select(layout.channel_axis, channel)
        part[:, layout.prefix :] = 0
    return many.flatten(0, 1)
