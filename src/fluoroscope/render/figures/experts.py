"""A number for every layer and every expert of a mixture, as a heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fluoroscope.errors import OptionError
from fluoroscope.render.figures.canvas import heading, new_figure
from fluoroscope.render.figures.label import shortened, title
from fluoroscope.render.figures.matrix import draw_matrix
from fluoroscope.render.figures.scale import color_bar, scale_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.render.figures.canvas import Picture
    from fluoroscope.results import ExpertGrid

__all__ = ["draw_experts", "expert_figure", "grids_of"]

MOST = 4  # tables on one figure


def grids_of(result: Any) -> Sequence[ExpertGrid]:
    """The tables of a result. Raises OptionError where there is none."""
    if not result.grids:
        raise OptionError("there are no experts to draw", got="names without a mixture of experts")
    found: Sequence[ExpertGrid] = result.grids
    return found


def expert_figure(result: Any, theme: Theme) -> Picture:
    """The first table of every mixture, and where there is one mixture all of its tables."""
    grids = grids_of(result)
    shown = [(g, n) for g in grids for n in (g.tables if len(grids) == 1 else list(g.tables)[:1])][:MOST]
    rows = max(len(g.layers) for g, _ in shown)
    with new_figure(10.0, 0.9 + len(shown) * max(1.7, min(4.5, 0.9 + 0.16 * rows)), theme) as figure:
        axes = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
        for ax, (grid, name) in zip(axes, shown, strict=True):
            draw_experts(ax, grid, name, theme, figure)
        more = sum(len(g.tables) for g in grids) - len(shown)
        heading(figure, result, theme, [f"{more} more tables in .grids."] if more else [])
    return figure


def draw_experts(ax: Axes, grid: ExpertGrid, name: str | None, theme: Theme, figure: Any = None) -> None:
    """The table ``name`` (the first where None): layers down, experts across; hatched where there is no tensor."""
    name = name or next(iter(grid.tables))
    values = np.asarray(grid.tables[name], dtype=float)
    scale = scale_of([values])
    known = values[np.isfinite(values)]
    norm = scale.norm()
    if known.size and known.min() > 0.5 * known.max():  # values close together: the colours span what there is
        norm.vmin = float(known.min())
    drawn = draw_matrix(ax, values, scale, norm, theme, ("layer", "expert"))
    _ticks(ax, grid)
    title(ax, name, theme, shortened(grid.pattern, 90))
    if figure is not None:
        color_bar(figure, drawn, ax, "", theme, aspect=18, fraction=0.04)


def _ticks(ax: Axes, grid: ExpertGrid) -> None:
    for axis, numbers in ((ax.yaxis, grid.layers), (ax.xaxis, grid.experts)):
        step = max(1, -(-len(numbers) // 24))
        axis.set_ticks(range(0, len(numbers), step), [str(n) for n in numbers[::step]])
