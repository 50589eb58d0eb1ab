"""Values along a series: the line for reading numbers, the strip of colours below it for finding places, and below both
the series itself, a lane for each channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from fluoroscope.render import design
from fluoroscope.render.figures.canvas import quiet
from fluoroscope.render.figures.label import number, shortened
from fluoroscope.render.figures.scale import hatch_missing
from fluoroscope.results.envelope import ranges

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

    from fluoroscope.render.design import Theme
    from fluoroscope.render.figures.scale import Scale
    from fluoroscope.results import Array

__all__ = ["CHANNELS", "Lanes", "draw_series"]

STRIP = 0.12  # height of the strip as a share of the range
MARGIN = 0.05  # room above and below the line, likewise
CELLS = 800  # colours beside each other that a figure can tell apart
CHANNELS = 64  # lanes at most
VALUES = 1.35  # inches that the line and its strip take
GAP = 0.1  # inches between the strip and the series
LABEL = 0.17  # inches between names of channels


@dataclass(frozen=True)
class Lanes:
    """The series of one example, ``series`` (C, B, R) as :class:`~fluoroscope.results.Samples` keeps it.

    ``bounds`` (C, 2) are the least and greatest value of each channel in all examples, ``length`` the steps of the
    input, ``names`` those of the channels where they are known.
    """

    series: Array
    bounds: Array
    length: int
    names: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Channels that are drawn."""
        return min(len(self.series), CHANNELS)

    def name(self, channel: int) -> str:
        """The name of a channel, shortened, else its number."""
        if channel < len(self.names):
            return shortened(self.names[channel], 16)
        return f"channel {channel}" if len(self.series) > 1 else "input"

    @property
    def lane(self) -> float:
        """Height of one channel in inches: less where there are many."""
        return float(np.clip(2.4 / self.count, 0.07, 0.8))

    @property
    def height(self) -> float:
        """Height of all channels in inches."""
        return self.lane * self.count + GAP


def draw_series(
    ax: Axes,
    values: Array,
    scale: Scale,
    norm: Normalize,
    theme: Theme,
    places: tuple[float, float],
    unit: str = "",
    lanes: Lanes | None = None,
) -> None:
    """``values`` (T,) at ``places`` (middle of the first cell, distance of cells): gaps where they are not finite."""
    span = scale.high - scale.low
    strip = (scale.low - span * (MARGIN + STRIP), scale.low - span * MARGIN)
    ends = places[0] - places[1] / 2, places[0] + places[1] * (len(values) - 0.5)
    _strip(ax, values, scale, norm, theme, (*ends, *strip))
    if scale.signed:
        ax.axhline(0, color=theme.line, linewidth=0.8)
    shown = np.where(np.isfinite(values), values, np.nan)
    _line(ax, shown[:, None], ends, theme.text, 1.0)
    top = scale.high + span * MARGIN
    quiet(ax, theme)
    ax.tick_params(labelsize=design.points("xs"))
    if lanes is None:
        bottom = strip[0]
        ax.set(xlim=ends, ylim=(bottom, top))
    else:
        inch = (top - strip[0]) / VALUES
        bottom = strip[0] - lanes.height * inch
        ax.set(xlim=(-0.5, lanes.length - 0.5), ylim=(bottom, top))
        named = _lanes(ax, lanes, strip[0] - GAP * inch, inch, theme)
        ticks = [v for v in MaxNLocator(4).tick_values(scale.low, scale.high) if scale.low <= v <= top]
        places_of_texts = [*ticks, *(y for y, _ in named)]
        ax.set_yticks(places_of_texts, [*map(number, ticks), *(text for _, text in named)], parse_math=False)
    style: dict[str, Any] = {"color": theme.muted, "parse_math": False}
    ax.set_ylabel(shortened(unit, 40), y=((scale.low + scale.high) / 2 - bottom) / (top - bottom), ha="center", **style)


def _strip(
    ax: Axes,
    values: Array,
    scale: Scale,
    norm: Normalize,
    theme: Theme,
    extent: tuple[float, float, float, float],
) -> None:
    """Values as colours; of more than can be told apart, of each stretch the one of greatest magnitude."""
    known = np.where(np.isfinite(values), values, np.nan)
    pairs = ranges(known, 2 * CELLS)
    low, high = pairs[:, 0], pairs[:, -1]
    cells = np.where(np.abs(low) > np.abs(high), low, high)
    if len(cells) < len(values):
        missing = np.logical_or.reduceat(np.isnan(known), np.arange(len(cells)) * len(values) // len(cells))
        cells = np.where(missing, np.nan, cells)
    ax.imshow(cells[None], cmap=scale.colormap, norm=norm, extent=extent, aspect="auto", interpolation="nearest")
    hatch_missing(ax, cells[None], extent, theme)


def _line(ax: Axes, pairs: Array, ends: tuple[float, float], color: str, weight: float) -> None:
    """Values (B, R) in B equal stretches from end to end: a line, or the range of each stretch."""
    if len(pairs) > 2 * CELLS:
        outer = [ranges(pairs[:, side], 2 * CELLS)[:, side] for side in (0, -1)]
        pairs = np.stack(outer, axis=1)
    width = (ends[1] - ends[0]) / len(pairs)
    along = ends[0] + width * (np.arange(len(pairs)) + 0.5)
    marker = "." if pairs.size < 40 else ""
    # from the least to the greatest of each stretch and on to the next: a steep rise leaves no gap
    style: dict[str, Any] = {"color": color, "linewidth": weight, "marker": marker, "markersize": 4 * weight}
    ax.plot(along.repeat(pairs.shape[1]), pairs.ravel(), **style)


def _lanes(ax: Axes, lanes: Lanes, top: float, inch: float, theme: Theme) -> list[tuple[float, str]]:
    """A lane for each channel below ``top``, each on its own scale; ``inch`` are units of the axis. Returns their names
    and, where there is room for them, their bounds, with the places of these.
    """
    lane, every = lanes.lane * inch, int(np.ceil(LABEL / lanes.lane))
    numbered = lanes.lane > 2.5 * LABEL
    margin, weight = 0.14 if numbered else 0.06, 0.9 if lanes.lane > LABEL else 0.5
    named: list[tuple[float, str]] = []
    for c in range(lanes.count):
        low, high = (float(v) for v in lanes.bounds[c])
        floor = top - (c + 1) * lane
        share = (lanes.series[c] - low) / (high - low) if high > low else np.full_like(lanes.series[c], 0.5)
        ends = (-0.5, lanes.length - 0.5)
        _line(ax, floor + lane * (margin + (1 - 2 * margin) * share), ends, theme.muted, weight)
        if numbered and high > low:
            named += [(floor + lane * (1 - margin), number(high)), (floor + lane * margin, number(low))]
        if c % every == 0:
            named.append((floor + lane / 2, lanes.name(c)))
    return named
