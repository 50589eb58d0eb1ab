"""Tables of experts, as panels of weights show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fluoroscope.render.blobs import Blobs
from fluoroscope.results import ExpertGrid

__all__ = ["expert_grids"]


def expert_grids(grids: Sequence[ExpertGrid], blobs: Blobs) -> list[dict[str, Any]]:
    """Pattern, numbers of layers and experts, and the tables (layers, experts) by name."""
    return [
        {
            "pattern": grid.pattern,
            "layers": list(grid.layers),
            "experts": list(grid.experts),
            "tables": [{"name": name, "data": blobs.array(table)} for name, table in grid.tables.items()],
        }
        for grid in grids
    ]
