"""Attribution: a grid of examples x methods (x targets) with the raw maps."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluoroscope import axes as ax
from fluoroscope.render.blobs import Blobs
from fluoroscope.render.outline import has_outline, outline
from fluoroscope.render.panels.registry import Panel, builder, head
from fluoroscope.render.panels.samples import items, same_samples
from fluoroscope.render.panels.scale import finite, full_range, span
from fluoroscope.results import Array, Attribution

__all__ = ["attribution_panel"]


def _together(first: Attribution, second: Attribution) -> bool:
    same = len(first.data) == len(second.data) and first.size == second.size
    return same and same_samples(first.samples, second.samples)


@builder("attribution", _together)
def attribution_panel(results: list[Attribution], blobs: Blobs) -> Panel:
    """One panel for all attributions of the same samples; each method keeps its own scale, unit and provenance."""
    first = results[0]
    alone = len(results) == 1
    notes = list(dict.fromkeys(note for r in results for note in r.notes))
    count = len(first.data)
    examples = items(first.samples, count, blobs)
    for n, example in enumerate(examples):
        example["cells"] = [_cells(r, n, blobs) for r in results]
    return {
        **head(first),
        "title": head(first)["title"] if alone else "Attribution",
        "caption": first.caption if alone else _shared_caption(results),
        "notes": notes,
        "meta": head(first)["meta"] if alone else {},
        "methods": [_method(r) for r in results],
        "size": list(first.size),
        "items": examples,
    }


def _shared_caption(results: list[Attribution]) -> str:
    count = len(results[0].data)
    examples = "one example" if count == 1 else f"{count} examples"
    return (
        f"What speaks for the target in {examples}, by {len(results)} methods. "
        "Colours of one method mean the same in every row; units differ between methods."
    )


def _targets(result: Attribution) -> int:
    return result.data.shape[1] if result.has_targets else 1


def _axes(result: Attribution) -> list[str]:
    """Axes of :meth:`Attribution.map`: what is left of one example and target once channels are summed."""
    return [a for a in result.axes if a not in (ax.N, ax.K, ax.C)]


def _maps(result: Attribution) -> list[Array]:
    return [result.map(n, k) for n in range(len(result.data)) for k in range(_targets(result))]


def _method(result: Attribution) -> dict[str, Any]:
    maps = _maps(result)
    numbers = finite(maps)
    shown = head(result)
    return {
        "title": result.title or str(result.meta.get("method", "attribution")),
        "caption": result.caption,
        "unit": result.unit,
        "signed": result.signed,
        "axes": _axes(result),
        "range": full_range(numbers),
        "span": span(numbers, maps[0].size if maps else 0),
        "meta": shown["meta"],
        "verdict": result.meta.get("verdict"),
    }


def _cells(result: Attribution, n: int, blobs: Blobs) -> list[dict[str, Any]]:
    scores = np.asarray(result.scores, dtype=np.float64).reshape(len(result.data), -1)
    table = _axes(result) == [ax.D]
    centers = [list(pair) for pair in result.centers] if result.centers else None
    around = blobs.array(outline(result, n)) if has_outline(result) else None
    return [
        {
            "label": result.label(n, k),
            "score": float(scores[n, k]) if k < scores.shape[1] else None,
            "map": blobs.array(result.table(n, k)[1] if table else result.map(n, k)),
            "centers": centers,
            "outline": around,
            "features": list(result.table(n, k)[0]) if table else None,
        }
        for k in range(_targets(result))
    ]
