"""LayerSummary: the tree of modules with what each costs."""

from __future__ import annotations

from typing import Any

from fluoroscope.render.blobs import Blobs
from fluoroscope.render.panels.registry import Panel, builder, head
from fluoroscope.results import LayerRow, LayerSummary

__all__ = ["layer_summary_panel"]


@builder("layer-summary")
def layer_summary_panel(results: list[LayerSummary], _blobs: Blobs) -> Panel:
    """One panel per result, rows in the order of definition."""
    result = results[0]
    return {
        **head(result),
        "rows": [_row(r) for r in result.rows],
        "totals": {
            "parameters": result.parameters,
            "trainable": result.trainable,
            "parameter_bytes": result.parameter_bytes,
            "buffer_bytes": result.buffer_bytes,
            "flops": result.flops,
        },
        "input_shapes": [list(shape) for shape in result.input_shapes],
    }


def _row(row: LayerRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "type": row.type,
        "depth": row.depth,
        "leaf": row.leaf,
        "output_shape": list(row.output_shape) if row.output_shape is not None else None,
        "dtype": row.dtype,
        "parameters": row.parameters,
        "own": row.own,
        "trainable": row.trainable,
        "flops": row.flops,
        "bytes": row.bytes,
        "calls": row.calls,
        "uses": list(row.uses),
        "shares": row.shares,
    }
