"""What class activation maps share: one layer, one capture, a map over its positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from fluoroscope import axes as ax
from fluoroscope.errors import LayerError
from fluoroscope.methods.attributing import attribution, note_empty_maps, per_target
from fluoroscope.methods.base import Batch, Method, option
from fluoroscope.methods.sharing import SharedTape, SharingMethod
from fluoroscope.model.choice import choose_layer
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.positions import Layout
from fluoroscope.model.study import LayerName, Study
from fluoroscope.model.targets import Picked
from fluoroscope.results import Attribution

__all__ = [
    "GradientMap",
    "LayerMap",
    "LayerView",
    "PositionMap",
    "layer_layout",
    "mean_weighted",
    "padding_of",
    "unpadded",
    "weighted_sum",
    "wide",
]


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """Half formats as float32: sums over channels and powers of gradients don't fit into them."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def padding_of(inputs: Inputs, layout: Layout) -> torch.Tensor | None:
    """(N, L) False where a layer's position is padding that the network is told of; None where there is none, or where
    positions are not those of the input.
    """
    unseen = inputs.unseen
    return None if unseen is None or layout.grid != unseen.shape[1:] else ~unseen


def weighted_sum(weights: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Sum over channels of weights (N, C) times maps (N, C, *positions)."""
    return torch.einsum("nc,nc...->n...", weights, maps)


def mean_weighted(maps: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Grad-CAM's map (N, *positions): ReLU of the channel sum, weights the mean gradient over positions."""
    return weighted_sum(gradient.flatten(2).mean(2), maps).relu()


def unpadded(inputs: Inputs, layout: Layout, make: Callable[..., torch.Tensor], *maps: torch.Tensor) -> torch.Tensor:
    """``make`` (N, *positions) of maps (N, C, *positions); of padded texts and series from each one's own positions,
    as it is alone, and zero on the padding.
    """
    real = padding_of(inputs, layout)
    if real is None:
        return make(*maps)
    found = maps[0].new_zeros(real.shape)
    for n, kept in enumerate(real):
        found[n, kept] = make(*(m[n : n + 1, :, kept] for m in maps))[0]
    return found


@dataclass(frozen=True)
class LayerView:
    """One layer of a tape as maps: channels second, tokens on their grid, in float32 at least."""

    shared: SharedTape
    layer: LayerName
    layout: Layout

    @property
    def tensor(self) -> torch.Tensor:
        """The layer's output on the tape, in its own layout."""
        return self.shared.tape.tensors[self.layer]

    @property
    def maps(self) -> torch.Tensor:
        """Activations (N, C, *positions)."""
        return self.to_maps(self.tensor.detach())

    @property
    def gradients(self) -> list[torch.Tensor]:
        """D score / d activation, (N, C, *positions), for each target."""
        found = per_target(self.shared.gradient(self.layer), self.many)
        return [self.to_maps(g) for g in found]

    @property
    def picked(self) -> Picked:
        """The target's scores."""
        return self.shared.picked

    @property
    def many(self) -> bool:
        """Whether there is a target axis K."""
        return self.picked.scores.ndim == 2

    @property
    def columns(self) -> list[torch.Tensor]:
        """The scores (N,) of each target, on the tape."""
        return per_target(self.picked.scores, self.many)

    def to_maps(self, tensor: torch.Tensor) -> torch.Tensor:
        """Something shaped like the layer's output as (N, C, *positions)."""
        return wide(self.layout.to_maps(tensor))

    def unpadded(self, make: Callable[..., torch.Tensor], *maps: torch.Tensor) -> torch.Tensor:
        """:func:`unpadded` for this layer."""
        return unpadded(self.shared.batch.inputs, self.layout, make, *maps)


@dataclass(frozen=True, kw_only=True)
class PositionMap(Method):
    """A map over the positions of one layer, however it is made; subclasses write ``compute``."""

    family: ClassVar[str] = "cam"
    returns: ClassVar[type[Attribution]] = Attribution
    unit: ClassVar[str] = "score"
    signed: ClassVar[bool] = False
    empty: ClassVar[str] = "no evidence for the target at this layer (all of it was negative, or there is no gradient)"

    layer: str | nn.Module | None = option(None, "layer to map; found when not named: the last one with positions")

    def place(self, study: Study, inputs: Inputs) -> LayerName:
        """The layer as named, or the last one with positions that the score depends on."""
        return study.layer(self.layer) if self.layer is not None else choose_layer(study, inputs)

    def result(
        self,
        study: Study,
        batch: Batch,
        picked: Picked,
        layer: LayerName,
        layout: Layout,
        maps: Sequence[torch.Tensor],
    ) -> Attribution:
        """The maps of each target as a result that says where they were taken."""
        study.facts.update({"layer": str(layer), "layer_found": self.layer is None})
        found = "layer found: the last one with positions" if self.layer is None else "layer as named"
        values = torch.stack(list(maps), 1) if picked.scores.ndim == 2 else maps[0]
        real = padding_of(batch.inputs, layout)
        if real is not None:
            values = values.where(real if values.ndim == 2 else real[:, None], 0)
        return attribution(
            self, study, batch, picked, values, (ax.N, *layout.spatial), signed=self.signed, unit=self.unit,
            caption=f"at {layer} ({found}), {' x '.join(map(str, layout.grid))} positions",
        )  # fmt: skip

    def finish(self, result: Any, study: Study) -> Any:
        """Maps without any evidence are told, not left to look like a fault."""
        note_empty_maps(result, study, self.empty)
        return result


@dataclass(frozen=True, kw_only=True)
class LayerMap(PositionMap, SharingMethod):
    """A map made from a tape that other methods may share; subclasses write :meth:`map`."""

    def map(self, view: LayerView) -> Sequence[torch.Tensor]:
        """The map (N, *positions) for each target."""
        raise NotImplementedError

    def from_tape(self, shared: SharedTape, layer: LayerName) -> Attribution:
        """The result from a capture that other methods may share."""
        view = LayerView(
            shared, layer, layer_layout(shared.study, layer, shared.tape.tensors[layer], shared.batch.inputs)
        )
        return self.result(shared.study, shared.batch, view.picked, layer, view.layout, self.map(view))


@dataclass(frozen=True, kw_only=True)
class GradientMap(LayerMap):
    """A map from one layer's activations and the score's gradient with respect to them; subclasses write
    :meth:`weigh`.
    """

    def weigh(self, activation: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """The map (N, *positions) from activations and gradients (N, C, *positions)."""
        raise NotImplementedError

    def map(self, view: LayerView) -> Sequence[torch.Tensor]:
        """:meth:`weigh` for each target."""
        maps = view.maps
        return [view.unpadded(self.weigh, maps, gradient) for gradient in view.gradients]


def layer_layout(study: Study, layer: LayerName, tensor: torch.Tensor, inputs: Inputs) -> Layout:
    """How a layer's output is laid out. Raises LayerError where it has no positions, or not the examples first."""
    call = study.probe(inputs).called(layer.module, layer.call)
    if len(tensor) != inputs.count or (call is not None and call.shape[0] != 1):
        raise LayerError(
            f"layer {str(layer)!r} does not keep the examples along its first axis",
            got=f"an output of shape {tuple(tensor.shape)} for {inputs.count} examples"
            + (f", {call.shape} for one" if call is not None else ""),
            expected="(N, ...): sequences with batch_first=True, no windows stacked as examples",
            remedy="choose another layer, or leave the layer out and one is found",
        )
    layout = study.layout(inputs, layer, tuple(tensor.shape))
    if layout is None or not layout.maps:
        raise LayerError(
            f"layer {str(layer)!r} has no positions to make a map of",
            got=f"an output of shape {tuple(tensor.shape)}",
            expected="(N, C, H, W), (N, H, W, C), (N, C, T) or tokens (N, L, D) with more than one position",
            remedy="choose an earlier layer, or leave the layer out and it is found",
        )
    return layout
