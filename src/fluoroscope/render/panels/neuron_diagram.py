"""NeuronDiagram: columns of neurons with their activations, and the weights between them."""

from __future__ import annotations

from typing import Any

from fluoroscope.render.blobs import Blobs
from fluoroscope.render.panels.registry import Panel, builder, head
from fluoroscope.render.panels.samples import items
from fluoroscope.results import NeuronDiagram, NeuronLayer

__all__ = ["neuron_diagram_panel"]


@builder("neuron-diagram")
def neuron_diagram_panel(results: list[NeuronDiagram], blobs: Blobs) -> Panel:
    """One panel for each result, with all of its examples."""
    result = results[0]
    count = len(result.layers[0].after)
    return {
        **head(result),
        "items": items(result.samples, count, blobs),
        "layers": [_layer(layer, result.names(i), blobs) for i, layer in enumerate(result.layers)],
    }


def _layer(layer: NeuronLayer, names: tuple[str, ...], blobs: Blobs) -> dict[str, Any]:
    return {
        "name": layer.name,
        "names": list(names) or None,
        "before": blobs.array(layer.before),
        "after": blobs.array(layer.after),
        "weights": blobs.array(layer.weights) if layer.weights is not None else None,
        "bias": blobs.array(layer.bias) if layer.bias is not None else None,
    }
