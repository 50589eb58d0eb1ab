"""Many small pictures with their labels on one pair of Axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fluoroscope.render import design
from fluoroscope.render.figures.canvas import inches_of, plain
from fluoroscope.render.figures.scale import hatch_missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Array

__all__ = ["Tile", "draw_tiles", "rows_of", "tile_aspect"]

GAP = 0.06  # between tiles, in widths of a tile
LEAST = 0.5  # inches of a tile on given Axes
LABEL = 0.2  # room above a tile for its label, in widths of a tile


@dataclass(frozen=True)
class Tile:
    """One small picture: values (rows, columns) with a norm, or colours (rows, columns, RGB) without one."""

    values: Array
    label: str = ""
    norm: Normalize | None = None
    colormap: Colormap | None = None


def tile_aspect(shape: tuple[int, ...]) -> float:
    """Height of a tile in widths; extreme shapes are brought to 1:3, so that a line stays a picture."""
    return min(max(shape[0] / shape[1], 1 / 3), 3.0)


def rows_of(count: int, columns: int, aspect: float, width: float) -> float:
    """Height in inches of ``count`` tiles in ``columns`` on ``width`` inches."""
    return math.ceil(count / columns) * (aspect + GAP + LABEL) * width / (columns * (1 + GAP))


def draw_tiles(ax: Axes, tiles: Sequence[Tile], columns: int, theme: Theme, room: float | None = None) -> None:
    """``tiles`` row by row, all in boxes of the first value tile's shape; ``room`` is the width the Axes will have."""
    aspect = tile_aspect(next((t.values.shape for t in tiles if t.norm is not None), tiles[0].values.shape))
    columns = min(columns, len(tiles))
    if room is None:  # narrow Axes get fewer columns, so that the labels stay readable
        columns = max(min(columns, int(inches_of(ax)[0] / LEAST)), 1)
    rows = math.ceil(len(tiles) / columns)
    pitch = aspect + GAP + LABEL
    plain(ax)
    size = _type_size(ax, columns, rows * pitch, room)
    for i, tile in enumerate(tiles):
        row, column = divmod(i, columns)
        left, top = column * (1 + GAP), row * pitch + LABEL
        _draw(ax, tile, (left, left + 1, top + aspect, top), theme)
        if size >= 4:
            style: dict[str, Any] = {"va": "bottom", "color": theme.muted, "parse_math": False, "clip_on": True}
            ax.text(left, top - 0.02, tile.label, fontsize=size, **style)
    ax.set(xlim=(0, columns * (1 + GAP) - GAP), ylim=(rows * pitch - GAP, 0), aspect="equal", anchor="NW")


def _draw(ax: Axes, tile: Tile, extent: tuple[float, float, float, float], theme: Theme) -> None:
    ax.imshow(
        tile.values,
        cmap=tile.colormap,
        norm=tile.norm,
        extent=extent,
        interpolation="nearest" if max(tile.values.shape[:2]) < 64 else "antialiased",
    )
    if tile.values.ndim == 2 and not np.isfinite(tile.values).all():
        hatch_missing(ax, tile.values, extent, theme)


def _type_size(ax: Axes, columns: int, height: float, room: float | None) -> float:
    """Points that fit above a tile: at most the design's smallest type."""
    across, down = inches_of(ax)
    unit = (room or across) / (columns * (1 + GAP))
    unit = unit if room else min(unit, down / height)
    return min(design.points("xs"), unit * 72 * LABEL * 0.85)
