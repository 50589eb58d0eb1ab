"""History as figures: curves over the steps of a training, those of one group on one pair of axes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fluoroscope.errors import OptionError, nearest
from fluoroscope.render import design
from fluoroscope.render.figures.canvas import Picture, heading, new_figure, plain, quiet
from fluoroscope.render.figures.curves import Points, Smoothing, draw_curve, draw_gaps, points_of, wants_log
from fluoroscope.render.figures.label import byte_label, clean, measured, shortened, title
from fluoroscope.render.figures.registry import Drawing, drawing
from fluoroscope.render.figures.spreads import draw_spreads
from fluoroscope.results.course import HELD_OUT, best_step, higher_is_better, is_limit, overfitting_onset, pairs
from fluoroscope.results.spread import run_groups, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Array, History, Series

__all__ = ["HistoryDrawing"]

MOST = 24  # pairs of axes on one figure
STYLES = ("-", "--", ":", "-.")
TIMES = ((2 * 86400, 86400, "days"), (7200, 3600, "hours"), (180, 60, "minutes"))
Curves = dict[str, "Series"]
AMONG = 5
"""Most entries of a legend that lies among the curves; a longer one stands beside them."""

ENTRIES = 12
"""Most entries of a legend; of more lines some are named, and how many are not is said."""


@drawing("history")
class HistoryDrawing(Drawing):
    """Options of the drawing.

    ``group`` of series (None: the first on given Axes, all on a new figure); ``log`` axis of values (None:
    where all are positive and range over more than two decades); ``axis`` what runs to the right; ``smoothing``, 0
    to 1, is the weight of the past in a moving average without bias, or a Gaussian of the same reach (``kernel``);
    neither crosses a gap. ``color_by`` names the setting whose values the colours of runs stand for. ``group_by`` puts
    runs together that agree in the settings named, ``()`` all of them: a line for the mean and a ``band`` for the
    ``"range"`` or the ``"quartiles"``, of the runs that have a value at the place.
    """

    group: str | None = None
    log: bool | None = None
    axis: Literal["step", "epoch", "samples", "time"] = "step"
    smoothing: float = 0.0
    kernel: Literal["average", "gaussian"] = "average"
    color_by: str | None = None
    group_by: str | tuple[str, ...] | None = None
    band: Literal["range", "quartiles"] = "range"

    def on(self, result: History, ax: Axes, theme: Theme) -> None:
        """One group on ``ax``."""
        name, curves = next(iter(self._groups(result).items()), ("", {}))
        self._draw(result, name, curves, ax, theme)

    def figure(self, result: History, theme: Theme) -> Picture:
        """A pair of axes for every group, two side by side."""
        groups = self._groups(result) or {"": {}}
        left_out = len(groups) - MOST
        shown = dict(list(groups.items())[:MOST])
        columns = min(2, len(shown))
        rows = math.ceil(len(shown) / columns)
        with new_figure(6.2 if columns == 1 else 10.0, 2.7 * rows + 0.9, theme) as figure:
            axes = figure.subplots(rows, columns, squeeze=False).ravel()
            for ax, (name, curves) in zip(axes, shown.items(), strict=False):
                self._draw(result, name, curves, ax, theme)
            for ax in axes[len(shown) :]:
                ax.set_visible(False)
            more = [f"{left_out} more groups: group= names the one to draw."] if left_out > 0 else []
            heading(figure, result, theme, [*more, *([] if self.group_by is not None else _settings(result))])
        return figure

    def _groups(self, result: History) -> dict[str, Curves]:
        groups: dict[str, Curves] = {}
        for name, series in result.series.items():
            groups.setdefault(series.group or series.name or name, {})[name] = series
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

    def _draw(self, result: History, name: str, curves: Curves, ax: Axes, theme: Theme) -> None:
        if self.group_by is not None:
            self._draw_groups(result, name, curves, ax, theme)
            return
        found = self._points(result, curves, theme)
        drawn = [p for p in found.values() if len(p.values)]
        if not drawn:
            self._nothing(name, curves, ax, theme)
            return
        log = _wide(drawn) if self.log is None else self.log
        if log:
            ax.set_yscale("log")
        smoothing = Smoothing(min(self.smoothing, 0.999), self.kernel) if self.smoothing > 0 else None
        most = max(len(p.values) for p in drawn)
        for points in drawn:
            draw_curve(ax, points, 1.6 if len(drawn) <= 8 else 0.9, smoothing, most)
        draw_gaps(ax, drawn, theme)
        _marks(ax, result, curves, found, theme)
        self._frame(result, name, drawn, ax, theme, log)

    def _draw_groups(self, result: History, name: str, curves: Curves, ax: Axes, theme: Theme) -> None:
        """A line and a band for every group of runs that agree in the settings of ``group_by``."""
        asked: Any = self.group_by
        keys = tuple(asked) if isinstance(asked, (tuple, list)) else (asked,)
        for key in keys:
            self._column(result, key)
        groups = run_groups(result, keys)
        of = {run: at for at, runs in enumerate(groups.values()) for run in runs}
        colors, names = _colors(len(groups), theme), list(dict.fromkeys(s.name or key for key, s in curves.items()))
        members: dict[tuple[int, str], list[tuple[Array, Array]]] = {}
        origins, labels = _origins(result), list(groups) or [""]
        for key, series in curves.items():
            found = points_of(key, series, self.axis, origins.get(series.run, 0.0))
            if len(found[0]):
                members.setdefault((of.get(series.run, 0), series.name or key), []).append(found)
        unit = next((s.unit for s in curves.values()), "")
        lines = []
        for (at, one), runs in members.items():
            label = f"{labels[at]}: {one}" if len(names) > 1 else labels[at]
            together, style = spread(runs, quartiles=self.band == "quartiles"), STYLES[names.index(one) % len(STYLES)]
            points = Points(f"{label} (n = {len(runs)})", unit, together.xs, together.mean, colors[at], style)
            if len(points.xs):
                lines.append((points, together))
        if not lines:
            self._nothing(name, curves, ax, theme)
            return
        drawn = [points for points, _ in lines]
        log = _wide(drawn) if self.log is None else self.log
        if log:
            ax.set_yscale("log")
        smoothing = Smoothing(min(self.smoothing, 0.999), self.kernel) if self.smoothing > 0 else None
        draw_spreads(ax, lines, smoothing, theme)
        self._frame(result, name, drawn, ax, theme, log)

    def _frame(self, result: History, name: str, drawn: list[Points], ax: Axes, theme: Theme, log: bool) -> None:
        """What stands around the curves."""
        quiet(ax, theme, "y")
        self._bottom(result, drawn, ax, theme)
        if all(p.unit == "share" for p in drawn):
            ax.yaxis.set_major_formatter(lambda v, _: measured(v, "share"))
        if all(p.unit == "bytes" for p in drawn):
            ax.yaxis.set_major_formatter(byte_label(ax.yaxis))
        _legend(ax, drawn, name, theme)
        units = sorted({p.unit for p in drawn if p.unit and p.unit not in ("share", "bytes")})
        detail = [*(shortened(u, 30) for u in units), *(["logarithmic"] if log else [])]
        title(ax, shortened(name, 60), theme, " · ".join(detail))

    def _points(self, result: History, curves: Curves, theme: Theme) -> dict[str, Points]:
        """The series as they are drawn: one colour for each run where there are several, else for each series."""
        runs = result.runs
        several = len(runs) > 1
        setting = self._setting(result)
        values = [repr(setting.get(run)) if setting else run for run in runs]
        kinds = list(dict.fromkeys(values))
        colors = _colors(len(kinds) if several else len(curves), theme)
        names = list(dict.fromkeys(s.name or key for key, s in curves.items()))
        origins = _origins(result)
        found = {}
        for i, (key, series) in enumerate(curves.items()):
            xs, data = points_of(key, series, self.axis, origins.get(series.run, 0.0))
            at = kinds.index(values[runs.index(series.run)]) if several and series.run else i % len(colors)
            name = series.name or key
            label = key if not several else (f"{series.run}: {name}" if len(names) > 1 else series.run)
            style = STYLES[names.index(name) % len(STYLES)] if several else "-"
            if is_limit(name):
                style = "--"
            color = theme.muted if is_limit(name) and not several else colors[at]
            found[key] = Points(label, series.unit, xs, data, color, style)
        return found

    def _setting(self, result: History) -> dict[str, Any] | None:
        return None if self.color_by in (None, "run") else self._column(result, str(self.color_by))

    def _column(self, result: History, key: Any) -> dict[str, Any]:
        """The values that runs have in a setting. Raises OptionError."""
        known = result.differences
        if not isinstance(key, str) or key not in known:
            raise OptionError(
                "there is no such setting in which the runs differ",
                got=key,
                expected=", ".join(["run", *known]),
                nearest=nearest(str(key), known),
            )
        return known[key]

    def _bottom(self, result: History, drawn: list[Points], ax: Axes, theme: Theme) -> None:
        """Ticks and name of the horizontal axis."""
        ax.margins(x=0.02)
        xs = np.unique(np.concatenate([p.xs[[0, -1]] for p in drawn]))
        if len(xs) == 1:
            ax.set_xlim(float(xs[0]) - 1, float(xs[0]) + 1)
        reach = float(np.nanmax(xs)) if self.axis == "time" else 0.0
        scale, unit = next(((size, word) for above, size, word in TIMES if reach >= above), (1, "seconds"))
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=self.axis in ("step", "samples")))
        ax.xaxis.set_major_formatter(lambda v, _: f"{v / scale:,.6g}".replace("-", "−"))
        text = {"step": result.axis, "time": f"time ({unit})"}.get(self.axis, self.axis)
        ax.set_xlabel(text, color=theme.muted, fontsize=design.points("xs"), loc="left", parse_math=False)

    def _nothing(self, name: str, curves: Curves, ax: Axes, theme: Theme) -> None:
        plain(ax)
        logged = any(len(s.values) for s in curves.values())
        text = f"no {self.axis} was recorded" if logged else "nothing was logged yet"
        ax.text(0.5, 0.5, text, color=theme.muted, ha="center", va="center", transform=ax.transAxes)
        title(ax, shortened(name, 60), theme)


def _origins(result: History) -> dict[str, float]:
    """When each run began: the first time of any of its series."""
    found: dict[str, float] = {}
    for series in result.series.values():
        if series.times is not None and len(series.times):
            found[series.run] = min(found.get(series.run, math.inf), float(series.times[0]))
    return found


def _settings(result: History) -> list[str]:
    """For each run what sets it apart, as far as a figure has room for it."""
    differences = list(result.differences.items())[:6]
    if not differences or len(result.runs) > 5:
        return []
    return [
        f"{shortened(run, 30)}: "
        + ", ".join(f"{clean(key)} {shortened(str(c.get(run)), 20)}" for key, c in differences)
        for run in result.runs
    ]


def _wide(curves: list[Points]) -> bool:
    return wants_log([p.values for p in curves])


def _colors(count: int, theme: Theme) -> list[Any]:
    """Categorical colours while they last; for more series their order as a ramp."""
    known = theme.series
    if count <= len(known):
        return list(known[: max(count, 1)])
    low, high = (0.15, 0.75) if theme.name == "light" else (0.4, 0.95)
    return list(design.color_at("sequential", np.linspace(low, high, count)))


def _marks(ax: Axes, result: History, curves: Curves, found: dict[str, Points], theme: Theme) -> None:
    """The best step of every validation series on these axes, and where overfitting sets in."""
    style: dict[str, Any] = {"fontsize": design.points("xs"), "parse_math": False}
    if not any(HELD_OUT.search(series.name or key) for key, series in curves.items()):
        return
    held_out = [p for p in pairs(result) if p.held_out in curves and len(found[p.held_out].values)]
    for pair in held_out:
        series, points = curves[pair.held_out], found[pair.held_out]
        high = higher_is_better(series.name or pair.held_out)
        best = None if high is None else best_step(series, high)
        if high is None or best is None:
            continue
        at = (float(points.xs[best]), float(points.values[best]))
        ax.plot(
            *at,
            "o",
            color=points.color,
            markersize=7,
            markerfacecolor=theme.surface,
            markeredgewidth=1.8,
            label="_best",
        )
        if len(held_out) > 2:
            continue
        text = f"best {measured(at[1], series.unit)}"
        ax.annotate(text, at, (6, -12), textcoords="offset points", color=theme.text, **style)
        onset = overfitting_onset(result.series[pair.trained], series, high) if pair.trained else None
        if onset is not None:
            start = float(points.xs[onset])
            ax.axvline(start, color=theme.warn, linestyle=(0, (4, 3)), linewidth=1, label="_onset")
            ax.axvspan(start, float(points.xs[-1]), color=theme.warn, alpha=0.06, linewidth=0)
            place: dict[str, Any] = {"xycoords": ax.get_xaxis_transform(), "textcoords": "offset points"}
            ax.annotate("overfitting sets in", (start, 1), (3, -9), color=theme.warn, **place, **style)


def _legend(ax: Axes, drawn: list[Points], name: str, theme: Theme) -> None:
    if len(drawn) == 1:
        (only,) = drawn
        if only.label != name:
            ax.set_ylabel(shortened(only.label, 28), color=theme.muted, parse_math=False)
        _last_value(ax, only, theme)
        return
    handles = [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")]
    place: dict[str, Any] = {"loc": "best"}
    if len(handles) > AMONG:
        place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}  # so many curves leave no room among them
        if len(handles) > ENTRIES:
            left = len(handles) - (ENTRIES - 1)
            picked = np.linspace(0, len(handles) - 1, ENTRIES - 1).round().astype(int)
            handles = [*(handles[i] for i in picked), Line2D([], [], linestyle="", label=f"and {left} more")]
    style: dict[str, Any] = {"labelcolor": theme.text, "handlelength": 1.6, **place, "fontsize": design.points("xs")}
    style |= {"frameon": True, "facecolor": theme.surface, "edgecolor": theme.surface, "framealpha": 0.85}
    handles = [
        Line2D([], [], color=h.get_color(), linestyle=h.get_linestyle(), linewidth=2, label=h.get_label())
        for h in handles
    ]
    for text in ax.legend(handles=handles, **style).get_texts():
        text.set_parse_math(False)


def _last_value(ax: Axes, points: Points, theme: Theme) -> None:
    value = float(points.values[-1])
    if math.isfinite(value):
        style: dict[str, Any] = {
            "color": theme.text,
            "fontsize": design.points("xs"),
            "va": "center",
            "parse_math": False,
        }
        text = measured(value, points.unit)
        ax.annotate(text, (points.xs[-1], value), (5, 0), textcoords="offset points", annotation_clip=False, **style)
