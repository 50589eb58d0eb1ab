"""What class activation maps share: one layer, one capture, a map over its positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from fluoroscope import axes as ax
from fluoroscope.errors import LayerError
from fluoroscope.methods.attributing import attribution, note_empty_maps, per_target
from fluoroscope.methods.base import Batch, Method, option
from fluoroscope.model.capture import Tape, choose_layer, gradients, tape
from fluoroscope.model.positions import Layout, layout_of
from fluoroscope.model.study import LayerName, Study
from fluoroscope.results import Attribution

__all__ = ["GradientMap"]


@dataclass(frozen=True, kw_only=True)
class GradientMap(Method):
    """A map from one layer's activations and the score's gradient with respect to them; subclasses write
    :meth:`weigh`.
    """

    family: ClassVar[str] = "cam"
    returns: ClassVar[type[Attribution]] = Attribution
    unit: ClassVar[str] = "score"
    signed: ClassVar[bool] = False

    layer: str | None = option(None, "layer to map; found when not named: the last one with positions")

    def weigh(self, activation: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """The map (N, *positions) from activations and gradients (N, C, *positions)."""
        raise NotImplementedError

    def compute(self, study: Study, batch: Batch) -> Attribution:
        """One forward, one backward through the tail for each target."""
        layer = study.layer(self.layer) if self.layer is not None else choose_layer(study, batch.inputs)
        taped = tape(study, batch.inputs, [layer])
        return self.from_tape(study, batch, layer, taped)

    def from_tape(self, study: Study, batch: Batch, layer: LayerName, taped: Tape) -> Attribution:
        """The result from a capture that other methods may share."""
        layout = self._layout(layer, taped.tensors[layer], batch)
        picked = batch.target.pick(taped.scores, taped.output)
        gradient = gradients(study, Tape(taped.output, taped.scores, {layer: taped.tensors[layer]}), picked.scores)[
            layer
        ]
        maps = layout.to_maps(taped.tensors[layer].detach())
        many = picked.scores.ndim == 2
        values = [self.weigh(maps, layout.to_maps(g)) for g in per_target(gradient, many)]
        study.facts.update({"layer": str(layer), "layer_found": self.layer is None})
        found = "layer found: the last one with positions" if self.layer is None else "layer as named"
        return attribution(
            self,
            study,
            batch,
            picked,
            torch.stack(values, 1) if many else values[0],
            (ax.N, *layout.spatial),
            signed=self.signed,
            unit=self.unit,
            caption=f"at {layer} ({found}), {' x '.join(map(str, layout.grid))} positions",
        )

    def _layout(self, layer: LayerName, tensor: torch.Tensor, batch: Batch) -> Layout:
        layout = layout_of(tuple(tensor.shape), tuple(batch.inputs.main.shape))
        if layout is None or not layout.maps:
            raise LayerError(
                f"layer {str(layer)!r} has no positions to make a map of",
                got=f"an output of shape {tuple(tensor.shape)}",
                expected="(N, C, H, W), (N, H, W, C), (N, C, T) or tokens (N, L, D) with more than one position",
                remedy="choose an earlier layer, or leave the layer out and it is found",
            )
        return layout

    def finish(self, result: Any, study: Study) -> Any:
        """Maps without any evidence are told, not left to look like a fault."""
        note_empty_maps(
            result, study, "no evidence for the target at this layer (all of it was negative, or there is no gradient)"
        )
        return result
