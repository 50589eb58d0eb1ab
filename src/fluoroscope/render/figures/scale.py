"""From values to colours: one range for all the pictures that are compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import Normalize

from fluoroscope.render import design
from fluoroscope.render.figures.label import clean, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Array

__all__ = ["Scale", "color_bar", "hatch_missing", "missing_note", "scale_of"]


@dataclass(frozen=True)
class Scale:
    """A range of values and its palette: from 0 up, or symmetrical about 0 where there are two signs."""

    low: float
    high: float
    signed: bool
    unit: str = ""

    @property
    def colormap(self) -> Colormap:
        """Diverging for two signs, sequential for one."""
        return design.colormap("diverging" if self.signed else "sequential")

    def norm(self) -> Normalize:
        """A new norm; pictures that are compared must share one object, so ask once."""
        return Normalize(self.low, self.high)

    def position(self, values: Array) -> Array:
        """Values as positions 0 to 1 in the palette, NaN kept."""
        return np.asarray((values - self.low) / (self.high - self.low))

    def colors(self, values: Array) -> Array:
        """Values as opaque sRGB (..., 3); those that are not finite are NaN."""
        finite = np.isfinite(values)
        shown = design.color_at(
            "diverging" if self.signed else "sequential", self.position(np.where(finite, values, 0))
        )
        return np.where(finite[..., None], shown, np.nan)

    def __str__(self) -> str:
        unit = f" {clean(self.unit)}" if self.unit else ""
        return f"{number(self.low)} … {number(self.high)}{unit}"


def scale_of(arrays: Iterable[Array], signed: bool = False, unit: str = "") -> Scale:
    """The range over all finite values of ``arrays``: [0, max], or [-m, m] with m the greatest magnitude.

    Values below 0 make it two-signed even where none were promised, so that nothing is hidden below the range. Where
    all is zero, or nothing is finite, the range is that of one unit.
    """
    low, high = 0.0, 0.0
    for values in arrays:
        finite = np.asarray(values)[np.isfinite(values)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if signed or low < 0:
        limit = max(-low, high) or 1.0
        return Scale(-limit, limit, True, unit)
    return Scale(0.0, high or 1.0, False, unit)


def color_bar(figure: Figure, mappable: ScalarMappable, axes: Any, label: str, theme: Theme, **options: Any) -> Any:
    """The colour bar for pictures that share one scale, with its unit."""
    bar = figure.colorbar(mappable, ax=axes, **{"fraction": 0.05, "pad": 0.02, "aspect": 28, **options})
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2, color=theme.line, labelcolor=theme.muted, labelsize=design.points("xs"))
    bar.set_label(clean(label), color=theme.muted, fontsize=design.points("xs"), parse_math=False)
    return bar


def missing_note(values: Array) -> str:
    """``3 of 49 values are not finite (hatched)``, or nothing where all are."""
    count = int(values.size - np.isfinite(values).sum())
    return f"{count:,} of {values.size:,} values not finite (hatched)." if count else ""


def hatch_missing(ax: Axes, values: Array, extent: tuple[float, float, float, float], theme: Theme) -> None:
    """Grey and hatch the cells of ``values`` (rows, columns) that are not finite; ``extent`` as for ``imshow``."""
    from matplotlib.collections import PolyCollection

    left, right, bottom, top = extent
    boxes = _runs(~np.isfinite(values))
    if not boxes:
        return
    rows, columns = values.shape
    x = left + (right - left) * np.arange(columns + 1) / columns
    y = top + (bottom - top) * np.arange(rows + 1) / rows
    corners = [[(x[a], y[r]), (x[b], y[r]), (x[b], y[s]), (x[a], y[s])] for r, s, a, b in boxes]
    ax.add_collection(
        PolyCollection(
            corners, facecolor=theme.raised, edgecolor=theme.muted, hatch="////", linewidth=0, label="not finite"
        ),
        autolim=False,
    )


def _runs(missing: Array) -> list[tuple[int, int, int, int]]:
    """Cells that are missing as boxes (first row, end row, first column, end column), equal rows in one box."""
    boxes: list[tuple[int, int, int, int]] = []
    start = 0
    for row in range(1, len(missing) + 1):
        if row < len(missing) and np.array_equal(missing[row], missing[start]):
            continue
        edges = np.flatnonzero(np.diff(np.concatenate([[0], missing[start].astype(int), [0]])))
        boxes += [(start, row, int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        start = row
    return boxes
