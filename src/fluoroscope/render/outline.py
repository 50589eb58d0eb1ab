"""The outline of what a target asks about, as lines that the page and figures draw over its map."""

from __future__ import annotations

import numpy as np

from fluoroscope.results import Array, Attribution

__all__ = ["has_outline", "outline"]


def has_outline(result: Attribution) -> bool:
    """Whether the target was a region or a box."""
    return result.regions is not None or result.boxes is not None


def outline(result: Attribution, n: int) -> Array:
    """Line segments (S, 4) around the region or box of example ``n``: x0, y0, x1, y1 as shares of width and height."""
    found = []
    if result.regions is not None and n < len(result.regions):
        found.append(_around(result.regions[n] != 0))
    if result.boxes is not None and n < len(result.boxes):
        x0, y0, x1, y1 = result.boxes[n]
        found.append(np.array([[x0, y0, x1, y0], [x1, y0, x1, y1], [x1, y1, x0, y1], [x0, y1, x0, y0]]))
    return np.concatenate(found).astype(np.float32) if found else np.zeros((0, 4), np.float32)


def _around(mask: Array) -> Array:
    """The edges between cells of a mask (H, W) that are in it and cells that are not; the border of the input counts as
    not in it. Edges in one line are one segment.
    """
    height, width = mask.shape
    padded = np.pad(mask, 1)
    level = [(a / width, y / height, b / width, y / height) for y, a, b in _runs(padded[1:, 1:-1] != padded[:-1, 1:-1])]
    upright = [
        (x / width, a / height, x / width, b / height) for x, a, b in _runs((padded[1:-1, 1:] != padded[1:-1, :-1]).T)
    ]
    return np.array([*level, *upright], float).reshape(-1, 4)


def _runs(edges: Array) -> list[tuple[int, int, int]]:
    """Runs of true entries of each row: row, start, stop."""
    steps = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, stops = np.argwhere(steps == 1), np.argwhere(steps == -1)
    return [(int(row), int(a), int(b)) for (row, a), (_, b) in zip(starts, stops, strict=True)]
