"""Norms of rows and columns as strips beside the picture of a matrix, and marks of what stands out in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fluoroscope.render.figures.canvas import plain
from fluoroscope.render.figures.scale import Scale, scale_of
from fluoroscope.results.pyramid import coarsest_step, reduced

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Array, TensorRecord

__all__ = ["draw_margin", "mark_outliers", "mark_rows", "usual_scale"]

USUAL = 99.5  # percentile of the cells that the colours span where a few lie far beyond
FAR = 3.0  # times that, from where the colours do not reach the largest
MOST_MARKS = 24
MOST_BARS = 300


def usual_scale(picture: Array) -> tuple[Scale, float]:
    """The scale of a picture, and the largest magnitude.

    Where single cells lie far beyond all others, the colours span the others, and those are marked instead.
    """
    whole = scale_of([picture], signed=True)
    known = np.abs(picture[np.isfinite(picture)])
    if known.size < 400:
        return whole, whole.high
    usual = float(np.percentile(known, USUAL))
    if usual > 0 and whole.high > FAR * usual:
        return Scale(-usual, usual, True, whole.unit), whole.high
    return whole, whole.high


def mark_outliers(ax: Axes, picture: Array, steps: tuple[int, int], scale: Scale, theme: Theme) -> int:
    """A ring around the cells far beyond the colours, the largest first; how many there are."""
    known = np.where(np.isfinite(picture), np.abs(picture), 0)
    beyond = np.argwhere(known > scale.high * FAR / 1.5)
    order: Array = np.argsort(-known[tuple(beyond.T)], kind="stable")
    for row, column in beyond[order][:MOST_MARKS]:
        place = (column + 0.5) * steps[1] - 0.5, (row + 0.5) * steps[0] - 0.5
        for color, width in ((theme.surface, 4.0), (theme.text, 1.6)):  # a ring that stands out on every colour
            ax.plot(*place, marker="o", markersize=9, markerfacecolor="none", color=color, markeredgewidth=width)
    return len(beyond)


def mark_rows(ax: Axes, tensor: TensorRecord, theme: Theme) -> str:
    """Ticks at the left edge where rows are dead or repeat others; what they mean, in words."""
    said = []
    for rows, color, word in (
        (tensor.dead, theme.bad, "dead"),
        (None if tensor.duplicates is None else tensor.duplicates[:, 0], theme.series[3], "duplicate"),
    ):
        if rows is None or not len(rows):
            continue
        place: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "clip_on": False, "linestyle": ""}
        ax.plot(np.full(len(rows), -0.008), rows, marker=4, markersize=5, color=color, **place)
        said.append(f"{len(rows):,} {word} {'row' if len(rows) == 1 else 'rows'}")
    return ", ".join(said)


def draw_margin(ax: Axes, norms: Array, length: int, upright: bool, theme: Theme) -> None:
    """L2 norms along one side of a picture of ``length`` entries, from 0; ``upright`` is beside the rows."""
    plain(ax)
    cells = coarsest_step(len(norms), MOST_BARS)  # no thinner than a pixel, so that none vanishes
    norms = reduced(norms[:, None], cells, 1)[:, 0]
    step = length / len(norms)
    at = np.repeat(np.arange(len(norms) + 1) * step - 0.5, 2)[1:-1]
    heights = np.repeat(np.where(np.isfinite(norms), norms, 0), 2)
    color, top = theme.series[4], float(np.nanmax(norms, initial=0.0)) or 1.0
    style: dict[str, Any] = {"color": color, "linewidth": 0}
    if upright:
        ax.fill_betweenx(at, 0, heights, **style)
        ax.set(xlim=(0, top), ylim=(length - 0.5, -0.5))
    else:
        ax.fill_between(at, 0, heights, **style)
        ax.set(xlim=(-0.5, length - 0.5), ylim=(0, top))
