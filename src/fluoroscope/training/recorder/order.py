"""The order in which a network's layers run, and which layer each parameter belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from fluoroscope.training.recorder.watched import clean_name, layer_of

__all__ = ["graph_order"]


def graph_order(module: nn.Module, executed: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Layers and parameters as they run (``executed``: names in the order in which they began), those that did not run
    in the order of definition; and the layer of every parameter.
    """
    parameters: dict[str, list[str]] = {}
    layers: dict[str, str] = {}
    for name, _ in module.named_parameters():
        clean = clean_name(name)
        layers[clean] = layer_of(clean)
        parameters.setdefault(layers[clean], []).append(clean)
    defined = [clean_name(name) for name, _ in module.named_modules()]
    found: dict[str, None] = {}
    for layer in dict.fromkeys([*executed, *_remaining(defined, set(executed))]):
        found.update(dict.fromkeys(parameters.get(layer, [])))
        found[layer] = None
        layers.setdefault(layer, layer)
    return [name for name in found if name], layers


def _remaining(defined: Sequence[str], known: set[str]) -> list[str]:
    return [name for name in defined if name not in known]
