"""TensorHistory: quantities by layer and step, and histograms over time, few enough columns for a page."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluoroscope.render.blobs import Blobs
from fluoroscope.render.panels.registry import Panel, builder, head
from fluoroscope.results import Array, TensorHistograms, TensorHistory

__all__ = ["tensor_history_panel"]

CELLS = 400_000
"""Most cells of one quantity on a page; beyond that neighbouring steps share a column."""
COLUMNS = 1200
BARS = 2_000_000
"""Most bars of all histograms of one quantity on a page."""
MOMENTS = 64
MISSING, THERE, BROKEN = 0, 1, 2


@builder("tensor-history")
def tensor_history_panel(results: list[TensorHistory], blobs: Blobs) -> Panel:
    """One panel per result, layers in the order of the network."""
    result = results[0]
    columns = max(1, min(COLUMNS, CELLS // max(len(result.names), 1)))
    groups = np.array_split(np.arange(len(result.steps)), min(columns, len(result.steps)) or 1)
    groups = [g for g in groups if len(g)]
    shown = head(result)
    if len(groups) < len(result.steps):
        shown["notes"] += [f"Of {len(result.steps):,} steps, {len(groups):,} columns: each shows its largest value."]
    return {
        **shown,
        "names": list(result.names),
        "layers": list(result.layers),
        "steps": blobs.array(np.array([result.steps[g[0]] for g in groups]), exact=True),
        "quantities": [
            {
                "name": name,
                "unit": result.units.get(name, ""),
                **_cells(np.asarray(values), result.recorded.get(name), groups, blobs),
            }
            for name, values in result.statistics.items()
        ],
        "histograms": [_histograms(name, h, blobs) for name, h in result.histograms.items()],
    }


def _cells(values: Array, recorded: Array | None, groups: list[Array], blobs: Blobs) -> dict[str, Any]:
    """Largest value of each group of steps, and a state: not recorded, there, or NaN or infinite at some step."""
    known = np.ones(values.shape, bool) if recorded is None else np.asarray(recorded, bool)
    if recorded is None:
        known = ~np.isnan(values)
    finite = known & np.isfinite(values)
    kept = np.where(finite, values, -np.inf)
    starts = [int(g[0]) for g in groups]
    if starts:
        most = np.maximum.reduceat(kept, starts, axis=1)
        any_known = np.logical_or.reduceat(known, starts, axis=1)
        broken = np.logical_or.reduceat(known & ~finite, starts, axis=1)
    else:
        most, any_known, broken = kept, known, known & ~finite
    state = np.where(broken, BROKEN, np.where(any_known, THERE, MISSING)).astype(np.uint8)
    cells = np.where(np.isfinite(most), most, np.nan).astype(np.float32)
    return {"values": blobs.array(cells, exact=True), "state": blobs.array(state)}


def _histograms(name: str, histograms: TensorHistograms, blobs: Blobs) -> dict[str, Any]:
    """Shares of each tensor's entries, at moments that are evenly chosen where there are too many."""
    tensors, steps, bars = histograms.counts.shape
    most = max(2, min(MOMENTS, BARS // max(tensors * bars, 1)))
    chosen = np.unique(np.linspace(0, max(steps - 1, 0), min(steps, most)).round().astype(int))
    counts = np.asarray(histograms.counts[:, chosen], float)
    total = counts.sum(axis=2, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    return {
        "name": name,
        "steps": [int(s) for s in histograms.steps[chosen]],
        "edges": [float(e) for e in histograms.edges],
        "shares": blobs.array(shares),
        "sampled": float(histograms.sampled),
    }
