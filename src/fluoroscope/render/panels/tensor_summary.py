"""TensorSummary: a list of tensors with statistics, histograms and pictures, as many of them as a page can hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fluoroscope.render.blobs import Blobs
from fluoroscope.render.panels.experts import expert_grids
from fluoroscope.render.panels.registry import Panel, builder, head
from fluoroscope.results import Array, TensorRecord, TensorSummary
from fluoroscope.results.pyramid import coarsest_step, levels_within, reduced

__all__ = ["tensor_summary_panel"]

CELLS = 1_500_000
"""Cells of all pictures of matrices together: about three megabytes before they are packed."""
FILTER_ENTRIES = 500_000
FIRST = 64  # cells along each side of the picture that every matrix has
MARGIN = 2048
LISTED = 200


@builder("tensor-summary")
def tensor_summary_panel(results: list[TensorSummary], blobs: Blobs) -> Panel:
    """One panel per result, tensors in the order of the network.

    Every matrix has a coarse picture; finer ones are there as far as the page's budget goes, and ``left_out`` counts
    the rest. Where filters are too many, the strongest are there, and ``kept`` has their numbers.
    """
    result = results[0]
    pyramids = [_pyramid(t) for t in result.tensors]
    taken = levels_within([[float(p.size) for p, _ in levels] for levels in pyramids], CELLS)
    filters = max(1, sum(t.form == "filters" for t in result.tensors))
    return {
        **head(result),
        "tensors": [
            _tensor(t, levels[:n], len(levels) - n, FILTER_ENTRIES // filters, blobs)
            for t, levels, n in zip(result.tensors, pyramids, taken, strict=True)
        ],
        "grids": expert_grids(result.grids, blobs),
        "comparison": _comparison(result),
    }


def _pyramid(tensor: TensorRecord) -> list[tuple[Array, tuple[int, int]]]:
    """Pictures of a matrix, coarse to fine, each with the entries (down, across) that a cell stands for."""
    if tensor.form != "matrix" or not tensor.size:
        return []
    first, known = tensor.picture, tensor.steps or ((1, 1),)
    steps = known[0] if tensor.steps else _step(tensor)
    found = []
    down, across = (coarsest_step(n, FIRST) for n in first.shape)
    while down > 1 or across > 1:
        found.append((reduced(first, down, across), (steps[0] * down, steps[1] * across)))
        down, across = max(1, down // 2), max(1, across // 2)
    return [*found, (first, steps), *zip(tensor.levels, known[1:], strict=False)]


def _step(tensor: TensorRecord) -> tuple[int, int]:
    """Entries per cell of a picture that does not say it."""
    rows, columns = tensor.picture.shape
    return max(1, tensor.shape[0] // max(rows, 1)), max(1, tensor.size // tensor.shape[0] // max(columns, 1))


def _tensor(
    tensor: TensorRecord, levels: Sequence[tuple[Array, tuple[int, int]]], left_out: int, room: int, blobs: Blobs
) -> dict[str, Any]:
    picture, kept = _filters(tensor, room)
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "size": tensor.size,
        "dtype": tensor.dtype,
        "role": tensor.role,
        "shared_with": list(tensor.shared_with),
        "statistics": {name: float(number) for name, number in tensor.statistics.items()},
        # histograms are small and needed at once for the list, so they are numbers, not blobs
        "edges": [float(e) for e in tensor.edges],
        "counts": [int(c) for c in tensor.counts],
        "log_edges": None if tensor.log_edges is None else [float(e) for e in tensor.log_edges],
        "log_counts": None if tensor.log_counts is None else [int(c) for c in tensor.log_counts],
        "form": tensor.form,
        "reduced": tensor.reduced,
        "picture": blobs.array(levels[0][0] if levels else picture),
        "levels": [{"data": blobs.array(data), "steps": list(steps)} for data, steps in levels],
        "left_out": left_out,
        "row_norms": _margin(tensor.row_norms, blobs) if levels else None,
        "column_norms": _margin(tensor.column_norms, blobs) if levels else None,
        "peak": list(tensor.peak),
        "dead": [int(n) for n in (tensor.dead if tensor.dead is not None else ())][:LISTED],
        "duplicates": _duplicates(tensor),
        "orders": {name: _numbered(order, kept) for name, order in tensor.orders.items()},
        "kept": kept,
    }


def _filters(tensor: TensorRecord, room: int) -> tuple[Array, list[int] | None]:
    """The picture, of filters no more than have room, the strongest of them; and which these are, None for all."""
    if tensor.form != "filters" or tensor.picture.size <= room:
        return tensor.picture, None
    count = max(1, room // (tensor.picture.size // len(tensor.picture)))
    order = tensor.orders.get("norm", np.arange(len(tensor.picture)))
    kept = np.sort(order[:count])
    return tensor.picture[kept], [int(n) for n in kept]


def _numbered(order: Array, kept: list[int] | None) -> list[int]:
    """An order as places in the picture that the page has."""
    if kept is None:
        return [int(n) for n in order]
    place = {number: i for i, number in enumerate(kept)}
    return [place[int(n)] for n in order if int(n) in place]


def _margin(norms: Array | None, blobs: Blobs) -> Any:
    if norms is None:
        return None
    step = coarsest_step(len(norms), MARGIN)
    return blobs.array(norms if step == 1 else reduced(norms[:, None], step, 1)[:, 0])


def _duplicates(tensor: TensorRecord) -> list[list[float]]:
    """(row, earlier row, cosine) of rows that repeat another."""
    if tensor.duplicates is None or tensor.likeness is None:
        return []
    pairs = zip(tensor.duplicates[:LISTED], tensor.likeness, strict=False)
    return [[int(a), int(b), float(cosine)] for (a, b), cosine in pairs]


def _comparison(result: TensorSummary) -> dict[str, Any] | None:
    found = result.comparison
    if found is None:
        return None
    return {
        "before": found.before,
        "after": found.after,
        "missing": list(found.missing[:LISTED]),
        "extra": list(found.extra[:LISTED]),
        "reshaped": [[name, list(old), list(new)] for name, old, new in found.reshaped[:LISTED]],
        "counts": [len(found.missing), len(found.extra), len(found.reshaped), len(found.unchanged)],
    }
