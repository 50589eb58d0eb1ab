"""History as figures: curves over the steps of a training, those of one group on one pair of axes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fluoroscope.errors import OptionError, nearest
from fluoroscope.render import design
from fluoroscope.render.figures.canvas import Picture, heading, new_figure, plain, quiet
from fluoroscope.render.figures.label import number, shortened, title
from fluoroscope.render.figures.registry import Drawing, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Array, History, Series

__all__ = ["HistoryDrawing"]

WIDE_RANGE = 200.0  # largest over smallest value from which a logarithmic axis is the readable one
Curves = dict[str, "Series"]


@drawing("history")
class HistoryDrawing(Drawing):
    """Options of the drawing.

    ``group`` of series (None: the first on given Axes, all on a new figure); ``log`` axis of values (None:
    where all are positive and range over more than two decades).
    """

    group: str | None = None
    log: bool | None = None

    def on(self, result: History, ax: Axes, theme: Theme) -> None:
        """One group on ``ax``."""
        name, curves = next(iter(self._groups(result).items()), ("", {}))
        self._draw(name, curves, ax, theme)
        ax.set_xlabel(result.axis, color=theme.muted, fontsize=design.points("xs"), loc="left", parse_math=False)

    def figure(self, result: History, theme: Theme) -> Picture:
        """A pair of axes for every group, two side by side."""
        groups = self._groups(result) or {"": {}}
        columns = min(2, len(groups))
        rows = math.ceil(len(groups) / columns)
        with new_figure(6.2 if columns == 1 else 10.0, 2.7 * rows + 0.9, theme) as figure:
            axes = figure.subplots(rows, columns, squeeze=False).ravel()
            for ax, (name, curves) in zip(axes, groups.items(), strict=False):
                self._draw(name, curves, ax, theme)
                ax.set_xlabel(result.axis, color=theme.muted, loc="left", parse_math=False)
            for ax in axes[len(groups) :]:
                ax.set_visible(False)
            heading(figure, result, theme)
        return figure

    def _groups(self, result: History) -> dict[str, Curves]:
        groups: dict[str, Curves] = {}
        for name, series in result.series.items():
            groups.setdefault(series.group or name, {})[name] = series
        if self.group is None:
            return groups
        if self.group not in groups:
            raise OptionError(
                "there is no such group of series",
                got=self.group,
                expected="a group",
                nearest=nearest(self.group, groups),
            )
        return {self.group: groups[self.group]}

    def _draw(self, name: str, curves: Curves, ax: Axes, theme: Theme) -> None:
        if not any(len(s.values) for s in curves.values()):
            plain(ax)
            ax.text(
                0.5, 0.5, "nothing was logged yet", color=theme.muted, ha="center", va="center", transform=ax.transAxes
            )
            title(ax, shortened(name, 60), theme)
            return
        log = _wide(curves) if self.log is None else self.log
        if log:
            ax.set_yscale("log")
        colors = _colors(len(curves), theme)
        for color, (label, series) in zip(colors, curves.items(), strict=True):
            _curve(ax, label, series, color, 1.6 if len(curves) <= 8 else 0.9)
        _gaps(ax, curves, theme)
        quiet(ax, theme, "y")
        ax.margins(x=0.02)
        steps = np.unique(np.concatenate([s.steps for s in curves.values()]))
        if len(steps) == 1:
            ax.set_xlim(float(steps[0]) - 1, float(steps[0]) + 1)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.xaxis.set_major_formatter(lambda v, _: f"{v:,.6g}".replace("-", "−"))
        if all(s.unit == "share" for s in curves.values()):
            ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g} %")
        _legend(ax, curves, name, theme)
        units = sorted({s.unit for s in curves.values() if s.unit and s.unit != "share"})
        title(
            ax,
            shortened(name, 60),
            theme,
            " · ".join([*(shortened(u, 30) for u in units), *(["logarithmic"] if log else [])]),
        )


def _wide(curves: Curves) -> bool:
    values = np.concatenate([s.values[np.isfinite(s.values)] for s in curves.values()])
    return bool(values.size and values.min() > 0 and values.max() / values.min() > WIDE_RANGE)


def _colors(count: int, theme: Theme) -> list[Any]:
    """Categorical colours while they last; for more series their order as a ramp."""
    known = design.palette("categorical")
    if count <= len(known):
        return list(known[:count])
    low, high = (0.15, 0.75) if theme.name == "light" else (0.4, 0.95)
    return list(design.color_at("sequential", np.linspace(low, high, count)))


def _curve(ax: Axes, label: str, series: Series, color: Any, width: float) -> None:
    """A line that is broken where a value is not finite; points where they are few or stand alone."""
    shown = np.where(np.isfinite(series.values), series.values, np.nan)
    known = np.isfinite(shown)
    (line,) = ax.plot(series.steps, shown, color=color, linewidth=width, label=shortened(label, 28))
    before, after = np.roll(known, 1), np.roll(known, -1)
    before[:1], after[-1:] = False, False
    alone = known if len(shown) <= 12 else known & ~before & ~after
    line.set(marker="o", markersize=3.5, markevery=np.flatnonzero(alone).tolist())


def _gaps(ax: Axes, curves: Curves, theme: Theme) -> None:
    """Steps at which a series was not finite: a cross on the axis and a light band, told by name."""
    for series in curves.values():
        missing = ~np.isfinite(series.values)
        if not missing.any():
            continue
        for start, end in _spans(series.steps, missing):
            ax.axvspan(start, end, color=theme.bad, alpha=0.12, linewidth=0)
            middle = [(start + end) / 2]
            across = ax.get_xaxis_transform()
            ax.plot(middle, [0], "x", color=theme.bad, transform=across, clip_on=False, markersize=6, label="_gap")
    total = sum(int((~np.isfinite(s.values)).sum()) for s in curves.values())
    if total:
        style: dict[str, Any] = {"color": theme.bad, "fontsize": design.points("xs"), "parse_math": False}
        ax.annotate(
            f"× {total} not finite",
            (1, 1),
            (0, 4),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="right",
            **style,
        )


def _spans(steps: Array, missing: Array) -> list[tuple[float, float]]:
    """Stretches of missing values, from the step before to the step after."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], missing.astype(int), [0]])))
    last = len(steps) - 1
    return [
        (float(steps[max(a - 1, 0)]), float(steps[min(b, last)])) for a, b in zip(edges[::2], edges[1::2], strict=True)
    ]


def _legend(ax: Axes, curves: Curves, name: str, theme: Theme) -> None:
    if len(curves) == 1:
        (label, series), *_ = curves.items()
        if label != name:
            ax.set_ylabel(shortened(label, 28), color=theme.muted, parse_math=False)
        _last_value(ax, series, theme)
        return
    handles = [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")]
    place: dict[str, Any] = {"loc": "best"}
    if len(handles) > len(design.palette("categorical")):
        place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}  # so many curves leave no room among them
        picked = np.linspace(0, len(handles) - 1, 6).round().astype(int)
        handles = [handles[i] for i in picked]
    style: dict[str, Any] = {"labelcolor": theme.text, "handlelength": 1.2, **place, "fontsize": design.points("xs")}
    style |= {"frameon": True, "facecolor": theme.surface, "edgecolor": theme.surface, "framealpha": 0.85}
    handles = [Line2D([], [], color=line.get_color(), linewidth=2, label=line.get_label()) for line in handles]
    for text in ax.legend(handles=handles, **style).get_texts():
        text.set_parse_math(False)


def _last_value(ax: Axes, series: Series, theme: Theme) -> None:
    value = float(series.values[-1])
    if math.isfinite(value):
        style: dict[str, Any] = {
            "color": theme.text,
            "fontsize": design.points("xs"),
            "va": "center",
            "parse_math": False,
        }
        text = f"{100 * value:.3g} %" if series.unit == "share" else number(value)
        ax.annotate(text, (series.steps[-1], value), (5, 0), textcoords="offset points", annotation_clip=False, **style)
