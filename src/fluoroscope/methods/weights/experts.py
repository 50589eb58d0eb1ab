"""Mixtures of experts, recognised by the names of their tensors: one number for every layer and every expert."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fluoroscope.results import ExpertGrid

__all__ = ["expert_of", "fused_layer", "grids"]

EXPERT = re.compile(
    r"^(?P<before>.*?)(?P<word>experts?|local_experts?|routed_experts?)\.(?P<expert>\d+)(?P<after>\..*)?$"
)
FUSED = re.compile(r"(^|\.)\w*experts?(\.|$)")
LAYER = re.compile(r"(^|\.)(\d+)(?=\.)")
MOST = 1 << 20  # cells of one table


@dataclass(frozen=True)
class _Place:
    pattern: str
    layer: int
    expert: int


def expert_of(name: str) -> _Place | None:
    """Pattern, layer and expert of a tensor such as ``layers.3.mlp.experts.17.up_proj.weight``; None for others.

    The layer is the last number before the word ``experts``; a mixture without layers is layer 0.
    """
    found = EXPERT.match(name)
    if found is None:
        return None
    before, layer = _layer(found["before"])
    after = found["after"] or ""
    return _Place(f"{before}{found['word']}.{{expert}}{after}", layer, int(found["expert"]))


def fused_layer(name: str) -> tuple[str, int] | None:
    """Pattern and layer of a tensor that holds all experts of a layer along its first axis, by the word in its name."""
    return _layer(name) if FUSED.search(name) and expert_of(name) is None else None


def _layer(text: str) -> tuple[str, int]:
    numbers = list(LAYER.finditer(text))
    if not numbers:
        return text, 0
    last = numbers[-1]
    return f"{text[: last.start(2)]}{{layer}}{text[last.end(2) :]}", int(last[2])


def grids(cells: Iterable[tuple[str, int, int, Mapping[str, float]]]) -> tuple[ExpertGrid, ...]:
    """Tables out of (pattern, layer, expert, quantities); a pattern with one cell is no mixture."""
    patterns: dict[str, dict[tuple[int, int], Mapping[str, float]]] = {}
    for pattern, layer, expert, numbers in cells:
        patterns.setdefault(pattern, {})[layer, expert] = numbers
    return tuple(_grid(p, found) for p, found in patterns.items() if len(found) > 1 and _small(found))


def _small(found: Mapping[tuple[int, int], Any]) -> bool:
    """Whether the table has few enough cells: numbers in names are hostile too."""
    return len({layer for layer, _ in found}) * len({expert for _, expert in found}) <= MOST


def _grid(pattern: str, found: Mapping[tuple[int, int], Mapping[str, float]]) -> ExpertGrid:
    layers, experts = sorted({a for a, _ in found}), sorted({b for _, b in found})
    row, column = {n: i for i, n in enumerate(layers)}, {n: i for i, n in enumerate(experts)}
    names = next(iter(found.values())).keys()
    tables: dict[str, Any] = {n: np.full((len(layers), len(experts)), np.nan) for n in names}
    for (layer, expert), numbers in found.items():
        for name, number in numbers.items():
            tables[name][row[layer], column[expert]] = number
    return ExpertGrid(pattern=pattern, layers=tuple(layers), experts=tuple(experts), tables=tables)
