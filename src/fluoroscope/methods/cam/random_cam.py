"""Random CAM: a control that knows nothing of the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from fluoroscope.methods.base import method
from fluoroscope.methods.cam.layer_map import LayerMap, LayerView, weighted_sum
from fluoroscope.model.seeding import generator

__all__ = ["RandomCAM"]


@method
class RandomCAM(LayerMap):
    r"""Random CAM: a layer's feature maps with random weights. A control: a method that is no better tells nothing.

    .. math:: L(x, y) = \mathrm{ReLU}\Big(\sum_k w_k A^k_{xy}\Big), \quad w_k \sim \mathcal{U}(-1, 1)

    The weights belong to the example and the seed: they are the same for every target, and however examples are
    batched. Source: the control of pytorch-grad-cam (``RandomCAM``).

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), or (N, K, H, W) for K targets (K
    times the same map), at the layer's resolution, in units of the activation; (N, T) for series; tokens on their grid.
    ``scores`` are those of the target all the same. Cost: one forward, no backward.

    Raises:
        LayerError: no such layer, it did not run, or it has no positions.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output.
    """

    name: ClassVar[str] = "random-cam"
    title: ClassVar[str] = "Random CAM"
    source: ClassVar[str] = "a control: pytorch-grad-cam, RandomCAM"
    unit: ClassVar[str] = "activation"
    empty: ClassVar[str] = "the weights drawn leave nothing positive (another seed draws others)"

    def map(self, view: LayerView) -> Sequence[torch.Tensor]:
        """One random sum for all targets."""
        maps = view.maps
        start = view.shared.batch.start
        drawn = [torch.rand(maps.shape[1], generator=generator(self.seed, start + i)) for i in range(len(maps))]
        weights = (2 * torch.stack(drawn) - 1).to(maps)
        return [weighted_sum(weights, maps).relu()] * len(view.columns)
