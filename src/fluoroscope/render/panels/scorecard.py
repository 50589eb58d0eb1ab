"""Scorecard: a table of measures with bars, uncertainty and what chance reaches."""

from __future__ import annotations

from fluoroscope.render.blobs import Blobs
from fluoroscope.render.panels.registry import Panel, builder, head
from fluoroscope.results import Scorecard

__all__ = ["scorecard_panel"]


@builder("scorecard")
def scorecard_panel(results: list[Scorecard], _blobs: Blobs) -> Panel:
    """One panel per result."""
    result = results[0]
    columns = len(result.columns)
    return {
        **head(result),
        "rows": list(result.rows),
        "columns": list(result.columns),
        "table": result.table.astype(float).tolist(),
        "errors": result.errors.astype(float).tolist() if result.errors is not None else None,
        "units": [*result.units, *[""] * columns][:columns],
        "better": [*result.better, *[""] * columns][:columns],
        "reference": [*result.reference, *[float("nan")] * columns][:columns],
        "verdicts": list(result.verdicts),
    }
