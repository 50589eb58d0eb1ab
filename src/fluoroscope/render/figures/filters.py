"""Filters of a convolution as small pictures: in colour where they look at RGB, else one per input channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluoroscope.render.figures.label import note
from fluoroscope.render.figures.tiles import Tile, draw_tiles, rows_of, tile_aspect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.render.figures.scale import Scale
    from fluoroscope.results import Array

__all__ = ["draw_filters", "filter_rows", "in_color"]

COLUMNS = 10
MOST = 96  # tiles that can be told apart on one pair of Axes
PER_FILTER = 10  # input channels of one filter


def in_color(filters: Array, scale: Scale) -> Array:
    """Filters (F, 3, h, w) as colours (F, h, w, RGB): 0 is mid-grey, the ends of the scale are black and white."""
    shown = np.clip(np.nan_to_num(filters.astype(float)) / (2 * scale.high) + 0.5, 0, 1)
    return np.moveaxis(shown, 1, -1)


def draw_filters(
    ax: Axes,
    filters: Array,
    scale: Scale,
    theme: Theme,
    room: float | None = None,
    order: Array | None = None,
    marks: Mapping[int, str] | None = None,
) -> None:
    """``filters`` (F, C, h, w): three channels in colour, one in the signed palette, otherwise a row for every filter.

    Labels are the numbers of filters, or of filter and input channel, and the filter's mark (``=3``, ``dead``).
    ``order`` (F,) says which filter comes first.
    """
    shown, columns = _layout(filters)
    turn = np.arange(len(filters)) if order is None else order
    places = [(int(turn[f]), c) for f, c in shown]
    norm, one = scale.norm(), filters.shape[1] == 1
    labels = [(f"{f}" if one else f"{f}·{c}") + _mark(f, c, marks) for f, c in places]
    tiles = [Tile(filters[f, c], label, norm, scale.colormap) for (f, c), label in zip(places, labels, strict=True)]
    if filters.shape[1] == 3 and np.isfinite(filters).all():
        colors = in_color(filters, scale)
        tiles = [Tile(colors[f], f"{f}" + _mark(f, 0, marks)) for f, _ in places]
    draw_tiles(ax, tiles, columns, theme, room)
    _remark(ax, filters, shown, scale, theme)


def _mark(filter: int, channel: int, marks: Mapping[int, str] | None) -> str:
    mark = (marks or {}).get(filter, "") if channel == 0 else ""
    return f" {mark}" if mark else ""


def filter_rows(filters: Array, width: float) -> float:
    """Height in inches on ``width`` inches."""
    shown, columns = _layout(filters)
    return rows_of(len(shown), columns, tile_aspect(filters.shape[2:]), width)


def _layout(filters: Array) -> tuple[list[tuple[int, int]], int]:
    """Which (filter, channel) are shown, and in how many columns."""
    count, channels = filters.shape[:2]
    if channels == 1 or (channels == 3 and np.isfinite(filters).all()):
        return [(f, 0) for f in range(min(count, MOST))], COLUMNS
    across = min(channels, PER_FILTER)
    return [(f, c) for f in range(min(count, max(MOST // across, 1))) for c in range(across)], across


def _remark(ax: Axes, filters: Array, shown: list[tuple[int, int]], scale: Scale, theme: Theme) -> None:
    count, channels = filters.shape[:2]
    seen = len({f for f, _ in shown})
    parts = [f"{seen} of {count} filters"] if seen < count else []
    if len(shown) > seen:
        parts.append(f"rows: filters, columns: {len(shown) // seen} of {channels} input channels")
    elif channels == 3:
        parts.append(f"as RGB: mid-grey is 0, ends are {scale}")
    note(ax, "; ".join(parts), theme)
