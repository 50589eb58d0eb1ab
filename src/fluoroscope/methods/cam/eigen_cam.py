"""Eigen-CAM: the strongest pattern of a layer, whatever the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from fluoroscope.methods.base import method, option
from fluoroscope.methods.cam.layer_map import LayerMap, LayerView
from fluoroscope.methods.cam.principal_component import first_component

__all__ = ["EigenCAM"]


@method
class EigenCAM(LayerMap):
    r"""Eigen-CAM: a layer's positions projected on the first singular vector of its activations. It knows no target.

    .. math:: A = U \Sigma V^\top, \qquad L = A \, v_1

    with A the activations as (positions × channels) of one example. The map is the same for every target: it shows what
    the layer responds to, not what speaks for a class. Source: Muhammad and Yeasin, *Eigen-CAM*, IJCNN 2020, equations
    2 and 3. The sign, which the source leaves open, is chosen so that the map is positive where activations are large.
    ``center=True`` takes each channel's mean off first, as pytorch-grad-cam does (whose sign is left to chance).

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), or (N, K, H, W) for K targets (K
    times the same map), at the layer's resolution, signed, in units of the activation; (N, T) for series; tokens on
    their grid. ``scores`` are those of the target all the same. Cost: one forward, no backward.

    Raises:
        LayerError: no such layer, it did not run, or it has no positions.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output.
    """

    name: ClassVar[str] = "eigen-cam"
    title: ClassVar[str] = "Eigen-CAM"
    source: ClassVar[str] = "Muhammad and Yeasin, Eigen-CAM, IJCNN 2020, eq. 2-3"
    unit: ClassVar[str] = "activation"
    signed: ClassVar[bool] = True
    empty: ClassVar[str] = "the layer's activations are zero, or the same everywhere"

    center: bool = option(False, "take each channel's mean over positions off before the decomposition")

    def map(self, view: LayerView) -> Sequence[torch.Tensor]:
        """One projection for all targets."""
        maps = view.maps
        return [view.unpadded(self._projected, maps)] * len(view.columns)

    def _projected(self, maps: torch.Tensor) -> torch.Tensor:
        return first_component(maps, maps.norm(dim=1), center=self.center)
