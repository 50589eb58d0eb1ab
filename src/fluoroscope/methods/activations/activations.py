"""Activations: the feature maps of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import nn

from fluoroscope import axes as ax
from fluoroscope.errors import LayerError
from fluoroscope.methods.attributing import to_numpy
from fluoroscope.methods.base import Batch, Method, method, option
from fluoroscope.model.capture import activations
from fluoroscope.model.inputs import samples_of
from fluoroscope.model.probe import Call
from fluoroscope.model.study import LayerName, Study
from fluoroscope.results import FeatureMaps

__all__ = ["Activations"]

MOST_LAYERS = 6
FEW_LAYERS = 4


@method
class Activations(Method):
    """Activations: what layers put out for each example, raw.

    ``layer`` is one layer or several, by name or as modules of the network. When none is named, the network is followed
    from input to output: the last layer of each resolution, or the blocks of a transformer, at most six. The network
    stops after the last layer that is needed.

    Source: Zeiler and Fergus, *Visualizing and Understanding Convolutional Networks*, ECCV 2014, for feature-map grids.

    Returns :class:`~fluoroscope.results.FeatureMaps`: per layer (N, C, H, W), (N, C, T), (N, L, D) or (N, D), in the
    units of the layer. Channels-last layers are given channels first.

    Raises:
        LayerError: no such layer, or it did not run for this input.
        NumericalError: NaN in the input.
    """

    name: ClassVar[str] = "activations"
    title: ClassVar[str] = "Activations"
    in_report: ClassVar[bool] = True
    family: ClassVar[str] = "activations"
    phase: ClassVar[Any] = "after"
    returns: ClassVar[type[FeatureMaps]] = FeatureMaps
    needs: ClassVar[Any] = frozenset({"inputs"})
    source: ClassVar[str] = "Zeiler and Fergus, ECCV 2014"

    layer: str | nn.Module | tuple[str | nn.Module, ...] | list[str | nn.Module] | None = option(
        None, "layer or layers; found when not named: the last one of each resolution, or blocks"
    )

    def compute(self, study: Study, batch: Batch) -> FeatureMaps:
        """One forward up to the last layer needed."""
        layers = self._layers(study, batch)
        taken = activations(study, batch.inputs, layers)
        samples, note = samples_of(batch.inputs, study.subject)
        if note:
            study.note(note)
        study.facts["layer"] = [str(layer) for layer in layers]
        maps, axes = {}, {}
        for layer, tensor in taken.items():
            layout = study.layout(batch.inputs, LayerName(layer), tuple(tensor.shape))
            names = layout.axes if layout is not None else tuple(ax.NAMES)[: tensor.ndim]
            if ax.C in names and names[-1] == ax.C:
                tensor, names = tensor.movedim(-1, 1), (ax.N, ax.C, *names[1:-1])
            maps[str(layer)], axes[str(layer)] = to_numpy(tensor), names
        return FeatureMaps(
            title=self.title,
            caption=f"outputs of {len(maps)} layer{'s' * (len(maps) != 1)}",
            maps=maps,
            axes=axes,
            samples=samples,
        )

    def _layers(self, study: Study, batch: Batch) -> list[LayerName]:
        if self.layer is not None:
            named = [self.layer] if not isinstance(self.layer, (list, tuple)) else list(self.layer)
            layers = [study.layer(name) for name in named]
            if not layers:
                raise LayerError("no layer named", got="an empty list", expected="one layer or more, or None")
            order = {call.name: i for i, call in enumerate(study.probe(batch.inputs).calls)}
            return sorted(layers, key=lambda layer: order.get(layer.module, len(order)))
        return representative_layers(study, batch)


def _repeated(calls: Sequence[Call], modules: Mapping[str, nn.Module]) -> set[str]:
    """Names of the blocks of one class that follow each other in a list, most blocks and then the outermost first;
    none where a list has fewer than three.
    """
    lists: dict[tuple[str, type], set[str]] = {}
    for call in calls:
        parent, _, number = call.name.rpartition(".")
        if number.isdecimal() and any(True for _ in modules[call.name].children()):
            lists.setdefault((parent, type(modules[call.name])), set()).add(call.name)
    longest = max(lists.values(), key=len, default=set())
    return longest if len(longest) >= FEW_LAYERS - 1 else set()


def representative_layers(study: Study, batch: Batch) -> list[LayerName]:
    """A way through the network: the last layer with positions of each resolution, in the order in which they run.

    Where that gives fewer than four, the network's direct children with positions are added, and where there is only
    one resolution, the blocks that are repeated, such as those of a transformer, in place of what holds them. Where
    nothing has positions, every layer with an output of its own counts. At most six are kept, evenly spread, the last
    one always.
    """
    probe = study.probe(batch.inputs)
    calls = probe.with_positions()
    names = set({c.layout.grid: c.name for c in calls if c.layout is not None}.values())
    if not calls:
        calls = [c for c in probe.calls if c.name and c.layout is not None and c.index == probe.counts[c.name] - 1]
        names = {c.name for c in calls}
    if len(names) < FEW_LAYERS:
        modules = study.named
        blocks = _repeated(calls, modules) if len(names) == 1 else set()
        children = {c.name for c in calls if "." not in c.name}
        names = {n for n in names | children if not any(b.startswith(f"{n}.") for b in blocks)} | blocks
    found = [c.name for c in calls if c.name in names]
    if not found:
        raise LayerError(
            "no layer's output could be read", got=f"{len(probe.calls)} layer calls", remedy="name a layer: layer='...'"
        )
    last = len(found) - 1
    keep = found if last < MOST_LAYERS else [found[round(i * last / (MOST_LAYERS - 1))] for i in range(MOST_LAYERS)]
    return [LayerName(name) for name in keep]
