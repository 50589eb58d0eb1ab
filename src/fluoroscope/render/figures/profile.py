"""Profile: quantities along the layers of a network at one moment, as curves over its depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fluoroscope.render import design
from fluoroscope.render.figures.canvas import plain, quiet
from fluoroscope.render.figures.label import shortened, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.results import TensorHistory

__all__ = ["draw_profile"]

LINES = {"activation/std": "spread of the output →", "gradient/std": "← gradient that comes back"}
MOST_NAMES = 24


def draw_profile(result: TensorHistory, ax: Axes, theme: Theme) -> None:
    """Curves on a logarithmic axis; a cross at the bottom where a layer has nothing (zero, NaN or infinite)."""
    shown = {q: np.asarray(result.statistics[q], float)[:, 0] for q in LINES if q in result.statistics}
    places = np.arange(len(result.names))
    drawn = {q: np.where(np.isfinite(v) & (v > 0), v, np.nan) for q, v in shown.items()}
    if not any(np.isfinite(v).any() for v in drawn.values()):
        plain(ax)
        ax.text(0.5, 0.5, "no signal at any layer", color=theme.muted, ha="center", transform=ax.transAxes)
        return
    title(ax, "Signals by layer", theme, "logarithmic")
    ax.set_yscale("log")
    for color, (quantity, values) in zip(theme.series, drawn.items(), strict=False):
        ax.plot(places, values, color=color, linewidth=1.6, marker="o", markersize=3, label=LINES[quantity])
        given = result.recorded.get(quantity)
        lost = ~np.isfinite(values) & (np.ones(len(values), bool) if given is None else np.asarray(given)[:, 0])
        style: dict[str, Any] = {
            "color": color,
            "linestyle": "none",
            "clip_on": False,
            "transform": ax.get_xaxis_transform(),
        }
        ax.plot(places[lost], np.zeros(lost.sum()), marker="x", **style)
    ax.axhline(1.0, color=theme.line, linewidth=0.9, zorder=0)
    finite = np.concatenate([v[np.isfinite(v)] for v in drawn.values()])
    ax.set_ylim(min(finite.min() / 2, 0.1), max(finite.max() * 2, 10))
    quiet(ax, theme, "y")
    every = max(1, -(-len(places) // MOST_NAMES))
    names = [shortened(n, 22) for n in result.names[::every]]
    ax.set_xticks(places[::every], names, rotation=50, ha="right", rotation_mode="anchor", parse_math=False)
    ax.tick_params(axis="x", length=0, labelsize=design.points("xs"))
    ax.margins(x=0.02)
    legend = ax.legend(loc="best", fontsize=design.points("xs"), labelcolor=theme.text, frameon=True)
    legend.get_frame().set(facecolor=theme.surface, edgecolor=theme.surface, alpha=0.85)
