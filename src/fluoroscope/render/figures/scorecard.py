"""Scorecards as figures: dots with whiskers, and a line for what chance reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fluoroscope.errors import OptionError, nearest
from fluoroscope.render import design
from fluoroscope.render.figures.canvas import Picture, heading, new_figure, quiet
from fluoroscope.render.figures.label import clean, measured, shortened, title
from fluoroscope.render.figures.registry import Drawing, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Scorecard

__all__ = ["ScorecardDrawing"]

ACROSS = 4  # columns in a line of a figure
INTERVAL = 1.96  # standard errors to either side: 95 % where the error is normal


@drawing("scorecard")
class ScorecardDrawing(Drawing):
    """Options: ``column`` by name or number (None: the first on given Axes, all on a new figure)."""

    column: int | str | None = None

    def on(self, result: Scorecard, ax: Axes, theme: Theme) -> None:
        """One column on ``ax``."""
        self._draw(result, self._columns(result)[0], ax, theme, named=True)

    def figure(self, result: Scorecard, theme: Theme) -> Picture:
        """All columns side by side, four in a line, the rows at the same height."""
        columns = self._columns(result)
        across = min(len(columns), ACROSS)
        down = -(-len(columns) // across)
        height = 0.36 * len(result.rows) + 0.75
        with new_figure(2.2 + 2.6 * across, down * height + 0.95, theme) as figure:
            axes = figure.subplots(down, across, squeeze=False).ravel()
            for i, (ax, column) in enumerate(zip(axes, columns, strict=False)):
                self._draw(result, column, ax, theme, named=i % across == 0)
            for ax in axes[len(columns) :]:
                ax.set_visible(False)
            heading(figure, result, theme, self._facts(result))
        return figure

    def _columns(self, result: Scorecard) -> list[int]:
        if not result.columns:
            raise OptionError("there is nothing to draw", got="a scorecard without columns", expected="at least one")
        if self.column is None:
            return list(range(len(result.columns)))
        if isinstance(self.column, str) and self.column in result.columns:
            return [result.columns.index(self.column)]
        if isinstance(self.column, int) and 0 <= self.column < len(result.columns):
            return [self.column]
        near = nearest(str(self.column), result.columns)
        raise OptionError(
            "there is no such column",
            got=self.column,
            expected=f"0 to {len(result.columns) - 1} or a name",
            nearest=near,
        )

    def _draw(self, result: Scorecard, column: int, ax: Axes, theme: Theme, named: bool) -> None:
        values = np.asarray(result.table[:, column], dtype=float)
        places = np.arange(len(values))
        unit = _of(result.units, column)
        quiet(ax, theme, "x")
        _whiskers(ax, result, column, values, theme)
        ax.plot(values, places, "o", color=theme.accent, markersize=7, linestyle="none")
        _reference(ax, result, column, unit, theme)
        _numbers(ax, values, unit, theme)
        ax.set_ylim(len(values) - 0.4, -0.6)
        ax.set_yticks(places, [shortened(r, 28) if named else "" for r in result.rows], parse_math=False)
        ax.tick_params(axis="y", length=0, labelcolor=theme.text)
        ax.spines["left"].set_visible(False)
        ax.margins(x=0.12)
        ax.locator_params(axis="x", nbins=4)
        if unit == "share":
            ax.xaxis.set_major_formatter(lambda v, _: measured(v, "share"))
        way = {"high": "higher is better →", "low": "← lower is better"}.get(_of(result.better, column), "")
        told = "" if unit == "share" else shortened(unit, 20)
        title(ax, shortened(result.columns[column], 36), theme, "  ".join(filter(None, [told, way])) or " ")

    def _facts(self, result: Scorecard) -> list[str]:
        facts = ["Whiskers: 95 % interval (1.96 standard errors)."] if result.errors is not None else []
        if any(np.isfinite(result.reference)):
            facts.append("Dashed line: what chance or a control reaches.")
        return [
            *facts,
            *(f"{shortened(r, 40)}: {clean(v)}" for r, v in zip(result.rows, result.verdicts, strict=False) if v),
        ]


def _of(entries: tuple[str, ...], column: int) -> str:
    return entries[column] if column < len(entries) else ""


def _whiskers(ax: Axes, result: Scorecard, column: int, values: Any, theme: Theme) -> None:
    if result.errors is None:
        return
    reach = INTERVAL * np.nan_to_num(np.asarray(result.errors[:, column], dtype=float))
    ax.hlines(np.arange(len(values)), values - reach, values + reach, color=theme.accent, linewidth=2, alpha=0.55)


def _reference(ax: Axes, result: Scorecard, column: int, unit: str, theme: Theme) -> None:
    level = result.reference[column] if column < len(result.reference) else float("nan")
    if not np.isfinite(level):
        return
    ax.axvline(level, color=theme.warn, linewidth=1.2, linestyle=(0, (4, 3)))
    style: dict[str, Any] = {
        "color": theme.warn,
        "fontsize": design.points("xs"),
        "parse_math": False,
        "ha": "center",
        "va": "top",
    }
    text = f"chance {measured(level, unit)}"
    ax.annotate(text, (level, 0), (0, -20), xycoords=ax.get_xaxis_transform(), textcoords="offset points", **style)


def _numbers(ax: Axes, values: Any, unit: str, theme: Theme) -> None:
    style: dict[str, Any] = {"color": theme.muted, "fontsize": design.points("xs"), "parse_math": False, "ha": "center"}
    ground = {"facecolor": theme.surface, "edgecolor": "none", "pad": 0.6}  # keeps the lines behind out of the numbers
    for i, value in enumerate(values):
        if np.isfinite(value):
            ax.annotate(measured(value, unit), (value, i), (0, 6), textcoords="offset points", bbox=ground, **style)
        else:
            ax.annotate("no value", (0.5, i), xycoords=ax.get_yaxis_transform(), va="center", **style)
