"""Values along a series: the line for reading numbers, the strip of colours below it for finding places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluoroscope.render import design
from fluoroscope.render.figures.canvas import quiet
from fluoroscope.render.figures.scale import hatch_missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

    from fluoroscope.render.design import Theme
    from fluoroscope.render.figures.scale import Scale
    from fluoroscope.results import Array

__all__ = ["draw_series"]

STRIP = 0.12  # height of the strip as a share of the range


def draw_series(
    ax: Axes, values: Array, scale: Scale, norm: Normalize, theme: Theme, places: tuple[float, float]
) -> None:
    """``values`` (T,) at ``places`` (middle of the first cell, distance of cells): gaps where they are not finite."""
    first, step = places
    along = first + step * np.arange(len(values))
    shown = np.where(np.isfinite(values), values, np.nan)
    room = (scale.high - scale.low) * 0.05
    floor = scale.low - room
    strip = (floor - (scale.high - scale.low) * STRIP, floor)
    extent = (first - step / 2, first + step * (len(values) - 0.5), strip[0], strip[1])
    ax.imshow(shown[None], cmap=scale.colormap, norm=norm, extent=extent, aspect="auto", interpolation="nearest")
    hatch_missing(ax, shown[None], extent, theme)
    if scale.signed:
        ax.axhline(0, color=theme.line, linewidth=0.8)
    ax.plot(along, shown, color=theme.text, linewidth=1.0, marker="." if len(values) < 40 else "", markersize=4)
    ax.set_xlim(extent[0], extent[1])
    ax.set_ylim(strip[0], scale.high + room)
    quiet(ax, theme)
    ax.tick_params(labelsize=design.points("xs"))
