"""Runs together on a pair of axes: the line of their mean and the band of their range."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fluoroscope.render import design
from fluoroscope.render.figures.curves import FEW, SECOND, Points, Smoothing, draw_below
from fluoroscope.render.figures.label import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.results.spread import Spread

__all__ = ["draw_spreads"]


def draw_spreads(ax: Axes, lines: list[tuple[Points, Spread]], smoothing: Smoothing | None, theme: Theme) -> None:
    """Mean and range of groups of runs; places at which a run was not finite are marked on the axis."""
    for points, spread in lines:
        _draw(ax, points, spread, smoothing)
    gaps = np.unique(np.concatenate([spread.gaps for _, spread in lines]))
    if len(gaps):
        across = ax.get_xaxis_transform()
        marked = gaps[:: max(1, len(gaps) // 200)]
        ax.plot(marked, np.zeros(len(marked)), "|", color=theme.bad, transform=across, clip_on=False, label="_gap")
        text: dict[str, Any] = {"color": theme.bad, "fontsize": design.points("xs"), "parse_math": False}
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right"}
        ax.annotate("| a run is not finite", (1, 1), (0, 4), **place, **text)
    draw_below(ax, [points for points, _ in lines], theme, SECOND if len(gaps) else 4)


def _draw(ax: Axes, points: Points, spread: Spread, smoothing: Smoothing | None) -> None:
    """One group. The line is broken where the number of runs with a value changes, and fainter where
    that is not all of them.
    """
    label = shortened(points.label, 40)
    style: dict[str, Any] = {"color": points.color, "linestyle": points.style, "linewidth": 1.6}
    cuts = np.flatnonzero(np.diff(spread.runs)) + 1
    for part in np.split(np.arange(len(spread.xs)), cuts):
        if not len(part) or not spread.runs[part[0]]:
            continue
        xs, mean = spread.xs[part], spread.mean[part]
        alpha = 1.0 if spread.runs[part[0]] == spread.total else 0.4
        thin = slice(None, None, max(1, len(part) // FEW))
        ax.fill_between(
            xs[thin],
            _extreme(spread.low[part], thin.step, np.minimum),
            _extreme(spread.high[part], thin.step, np.maximum),
            color=points.color,
            alpha=0.2,
            linewidth=0,
        )
        shown = mean if smoothing is None else smoothing(mean, len(mean))
        if ax.get_yscale() == "log":
            shown = np.where(shown > 0, shown, np.nan)
        marker: dict[str, Any] = {"marker": "o", "markersize": 3.5} if len(part) == 1 else {}
        ax.plot(xs[thin], shown[thin], alpha=alpha, label=label, **style, **marker)
        label = "_part"


def _extreme(values: Any, step: int | None, least: Any) -> Any:
    """The extreme of every ``step`` entries, so that a band hides no spike."""
    return least.reduceat(values, np.arange(0, len(values), step or 1))
