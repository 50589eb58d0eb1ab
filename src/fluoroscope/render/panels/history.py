"""History: curves over the steps of a training."""

from __future__ import annotations

from fluoroscope.render.blobs import Blobs
from fluoroscope.render.panels.registry import Panel, builder, head
from fluoroscope.results import History

__all__ = ["history_panel"]


@builder("history")
def history_panel(results: list[History], blobs: Blobs) -> Panel:
    """One panel per result; series of one group share axes on the page."""
    result = results[0]
    return {
        **head(result),
        "axis": result.axis,
        "series": [
            {
                "name": name,
                "group": series.group,
                "unit": series.unit,
                "steps": blobs.array(series.steps, exact=True),
                "values": blobs.array(series.values, exact=True),
            }
            for name, series in result.series.items()
        ],
    }
