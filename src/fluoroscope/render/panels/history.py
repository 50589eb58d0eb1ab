"""History: curves over the steps of a training, of one run or of several."""

from __future__ import annotations

from collections import Counter

from fluoroscope.render.blobs import Blobs
from fluoroscope.render.panels.curves import curve, marks
from fluoroscope.render.panels.registry import Panel, builder, head
from fluoroscope.results import History

__all__ = ["MOST", "history_panel", "within"]

MOST = 2000
"""Series that a page carries."""


@builder("history")
def history_panel(results: list[History], blobs: Blobs) -> Panel:
    """One panel per result; series of one group share axes. Of very many series the first ones are on the page."""
    result = within(results[0], MOST)
    left = len(results[0].series) - len(result.series)
    remark = f"{left:,} more series are not on this page, which carries {MOST:,}; run.history(names) chooses which"
    differences = result.differences
    shown = head(result)
    return {
        **shown,
        "notes": [*shown["notes"], *[remark] * bool(left)],
        "axis": result.axis,
        "runs": list(result.runs),
        "differences": [
            {"name": key, "values": [column.get(run) for run in result.runs]} for key, column in differences.items()
        ],
        "series": [curve(name, series, blobs) for name, series in result.series.items()],
        "marks": marks(result),
    }


def within(history: History, most: int) -> History:
    """The history with at most about ``most`` series: the first names, each of all runs that have it."""
    if len(history.series) <= most:
        return history
    counts = Counter(series.name or key for key, series in history.series.items())
    kept: set[str] = set()
    total = 0
    for name, count in counts.items():
        total += count
        if total > most and kept:
            break
        kept.add(name)
    return history.replace(series={k: s for k, s in history.series.items() if (s.name or k) in kept})
