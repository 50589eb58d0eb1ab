"""A matrix of values as a heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from fluoroscope.render import design
from fluoroscope.render.figures.canvas import quiet
from fluoroscope.render.figures.label import shortened
from fluoroscope.render.figures.scale import Scale, hatch_missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.image import AxesImage

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Array

__all__ = ["draw_matrix"]

NAMED = 40  # more rows than that are counted, not named


def draw_matrix(
    ax: Axes,
    values: Array,
    scale: Scale,
    norm: Normalize,
    theme: Theme,
    names: tuple[str, str] = ("", ""),
    rows: Sequence[str] = (),
    entries: tuple[int, int] | None = None,
) -> AxesImage:
    """``values`` (rows, columns) filling the Axes; ``names`` are those of the two axes, ``rows`` those of the rows.

    Where cells stand for several entries, ``entries`` is the size of the whole, and the axes count in entries.
    """
    height, width = values.shape
    down, across = entries or values.shape
    extent = (-0.5, across - 0.5, down - 0.5, -0.5)
    few = width <= 800 and height <= 380  # more cells than pixels are averaged, not dropped
    how = "nearest" if few else "antialiased"
    drawn = ax.imshow(values, cmap=scale.colormap, norm=norm, extent=extent, aspect="auto", interpolation=how)
    hatch_missing(ax, values, extent, theme)
    quiet(ax, theme)
    ax.spines[:].set_visible(False)
    size = design.points("xs")
    if rows and len(rows) <= NAMED:
        ax.set_yticks(range(height), [shortened(r, 20) for r in rows], parse_math=False)
    else:
        ax.set_ylabel(names[0], color=theme.muted, fontsize=size, parse_math=False)
        ax.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    ax.set_xlabel(names[1], color=theme.muted, fontsize=size, parse_math=False, loc="left")
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    for axis, cells in ((ax.xaxis, across), (ax.yaxis, down)):
        if cells == 1 and not rows:
            axis.set_ticks([0])
    return drawn
