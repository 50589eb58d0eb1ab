"""FeatureMaps: the strongest channels of each layer for each example."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluoroscope import axes as ax
from fluoroscope.render.blobs import Blobs
from fluoroscope.render.panels.registry import Panel, builder, head
from fluoroscope.render.panels.samples import items
from fluoroscope.render.panels.scale import finite, full_range, span
from fluoroscope.results import Array, FeatureMaps

__all__ = ["feature_maps_panel"]

MOST_CHANNELS = 64
FEWEST_CHANNELS = 16
ENTRIES = 400_000
"""Numbers kept of one layer, about half a megabyte on the page; fewer channels are kept where each is large."""


@builder("feature-maps")
def feature_maps_panel(results: list[FeatureMaps], blobs: Blobs) -> Panel:
    """One panel per result; ``channels`` says which are there, strongest first, and ``total`` of how many."""
    result = results[0]
    count = max((len(data) for data in result.maps.values()), default=0)
    return {
        **head(result),
        "layers": [_layer(result, name, blobs) for name in result.maps],
        "items": items(result.samples, count, blobs),
    }


def _layer(result: FeatureMaps, name: str, blobs: Blobs) -> dict[str, Any]:
    data, axes = result.maps[name], result.axes[name]
    chosen, total = None, None
    if ax.C in axes:
        data, chosen, total = _strongest(data, axes.index(ax.C), result.selected.get(name))
    numbers = finite([data])
    low, high = full_range(numbers)
    return {
        "name": name,
        "type": dict(result.meta.get("layer_types", {})).get(name, ""),
        "axes": list(axes),
        "range": (low, high),
        "span": span(numbers, int(np.prod(data.shape[2:]))),
        "signed": bool(low < 0),
        "channels": chosen,
        "total": total,
        "data": blobs.array(data),
    }


def _strongest(data: Array, axis: int, selected: tuple[int, ...] | None) -> tuple[Array, list[int], int | None]:
    """The channels of largest mean magnitude, strongest first, their numbers in the layer, and how many it has."""
    have = data.shape[axis]
    room = max(FEWEST_CHANNELS, ENTRIES // max(1, data.size // max(1, have)))
    others = tuple(i for i in range(data.ndim) if i != axis)
    with np.errstate(invalid="ignore", over="ignore"):
        strength = np.where(np.isfinite(data), np.abs(data), 0).astype(np.float64).mean(axis=others)
    order = np.argsort(-strength, kind="stable")[: min(room, MOST_CHANNELS)]
    numbers = [int(selected[i]) if selected else int(i) for i in order]
    return np.take(data, order, axis=axis), numbers, None if selected else have
