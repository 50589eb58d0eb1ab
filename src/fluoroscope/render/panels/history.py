"""History: curves over the steps of a training, of one run or of several."""

from __future__ import annotations

from fluoroscope.render.blobs import Blobs
from fluoroscope.render.panels.curves import curve, marks
from fluoroscope.render.panels.registry import Panel, builder, head
from fluoroscope.results import History

__all__ = ["history_panel"]


@builder("history")
def history_panel(results: list[History], blobs: Blobs) -> Panel:
    """One panel per result; series of one group share axes on the page."""
    result = results[0]
    differences = result.differences
    return {
        **head(result),
        "axis": result.axis,
        "runs": list(result.runs),
        "differences": [
            {"name": key, "values": [column.get(run) for run in result.runs]} for key, column in differences.items()
        ],
        "series": [curve(name, series, blobs) for name, series in result.series.items()],
        "marks": marks(result),
    }
