"""One curve on a pair of axes: a line, or a band and its mean where there are more points than pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fluoroscope.render import design
from fluoroscope.render.figures.label import shortened
from fluoroscope.results.envelope import envelope, gaussian, moving_average, stretches

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Array, Series

__all__ = [
    "SECOND",
    "Points",
    "Smoothing",
    "draw_below",
    "draw_curve",
    "draw_gaps",
    "points_of",
    "wants_log",
]

BUCKETS = 1000
SECOND = 14  # points above the Axes, of a second line
MARKS = 400  # along an axis, beyond which they would touch one another
FEW = 2 * BUCKETS
"""Up to so many points every one of them is drawn."""
WIDE_RANGE = 200.0  # largest over smallest value from which a logarithmic axis is the readable one


@dataclass(frozen=True)
class Smoothing:
    """``weight`` of the past, 0 to 1, of a moving average, or the Gaussian of the same reach."""

    weight: float
    kernel: str

    def __call__(self, values: Array, most: int) -> Array:
        """Smoothed values; a series beside one of ``most`` points is smoothed over as much of the axis."""
        weight = 1 - (1 - self.weight) * most / max(len(values), 1)
        if weight <= 0:
            return values
        return moving_average(values, weight) if self.kernel == "average" else gaussian(values, 0.5 / (1 - weight))


@dataclass(frozen=True)
class Points:
    """A series on the axis that is shown: ``xs`` and ``values`` (S,)."""

    label: str
    unit: str
    xs: Array
    values: Array
    color: Any
    style: str = "-"


def spans_decades(values: Array) -> bool:
    """Whether a logarithmic axis is the readable one: the finite values are positive and far apart."""
    known = values[np.isfinite(values)]
    return bool(known.size and known.min() > 0 and known.max() / known.min() > WIDE_RANGE)


def wants_log(curves: Sequence[Array]) -> bool:
    """Whether a logarithmic axis is the readable one for all of them: their values are positive and far apart, or some
    are zero, none negative, and a linear axis would hide a curve that has no zeros, or press much against zero.
    """
    known = np.concatenate([np.zeros(0), *(c[np.isfinite(c)] for c in curves)])
    if not known.size or known.min() != 0:
        return spans_decades(known)
    return any(map(spans_decades, curves)) or any(map(_pressed, [*curves, known]))


def _pressed(values: Array) -> bool:
    """Zeros aside, the values are far apart, and a quarter of them is less than a fiftieth of the largest."""
    positive = values[np.isfinite(values) & (values > 0)]
    return spans_decades(positive) and bool((positive < positive.max() / 50).mean() >= 0.25)


def points_of(label: str, series: Series, axis: str, origin: float) -> tuple[Array, Array]:
    """Places on the axis and values; empty where the series does not have that axis."""
    found = {
        "step": series.steps,
        "epoch": series.epochs,
        "samples": series.samples,
        "time": None if series.times is None else np.asarray(series.times, float) - origin,
    }[axis]
    return (np.zeros(0), np.zeros(0)) if found is None else (np.asarray(found, float), np.asarray(series.values, float))


def draw_curve(ax: Axes, points: Points, width: float, smoothing: Smoothing | None, most: int) -> None:
    """The curve; what a restarted run wrote before it went back is fainter, as are raw values behind smoothed ones."""
    parts = stretches(points.xs)
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        xs, values = points.xs[part], points.values[part]
        if smoothing is not None:
            _stretch(ax, points, xs, values, width * 0.6, 0.35, "_raw")
            values = smoothing(values, most)
        _stretch(ax, points, xs, values, width, 1.0 if last else 0.35, shortened(points.label, 28) if last else "_old")


def _stretch(ax: Axes, points: Points, xs: Array, values: Array, width: float, alpha: float, label: str) -> None:
    style: dict[str, Any] = {"color": points.color, "linestyle": points.style, "linewidth": width, "alpha": alpha}
    finite = np.isfinite(values)
    # on a logarithmic axis no stroke goes down to an edge that stands for no value
    shown = np.where(finite & (values > 0) if ax.get_yscale() == "log" else finite, values, np.nan)
    if len(values) <= FEW:
        (line,) = ax.plot(xs, shown, label=label, **style)
        line.set(marker="o", markersize=3.5, markevery=np.flatnonzero(_alone(np.isfinite(shown))).tolist())
        return
    found = envelope(xs, shown, float(xs[0]), float(xs[-1]), BUCKETS)
    holes = envelope(xs, values, float(xs[0]), float(xs[-1]), BUCKETS).missing
    ax.fill_between(found.centers, found.low, found.high, color=points.color, alpha=0.25 * alpha, linewidth=0)
    ax.plot(found.centers, np.where(holes > 0, np.nan, found.mean), label=label, **style)


def _alone(known: Array) -> Array:
    """Points that are marked: all where they are few, else those without a neighbour."""
    before, after = np.roll(known, 1), np.roll(known, -1)
    before[:1], after[-1:] = False, False
    return known if len(known) <= 12 else known & ~before & ~after


def draw_gaps(ax: Axes, curves: list[Points], theme: Theme) -> None:
    """Stretches at which a series was not finite: a cross on the axis and a light band, told by number; on a
    logarithmic axis also what lies below it.
    """
    for curve in curves:
        for start, end in _spans(curve.xs, ~np.isfinite(curve.values)):
            ax.axvspan(start, end, color=theme.bad, alpha=0.12, linewidth=0)
            across = ax.get_xaxis_transform()
            middle = [(start + end) / 2]
            ax.plot(middle, [0], "x", color=theme.bad, transform=across, clip_on=False, markersize=6, label="_gap")
    total = sum(int((~np.isfinite(c.values)).sum()) for c in curves)
    if total:
        style: dict[str, Any] = {"color": theme.bad, "fontsize": design.points("xs"), "parse_math": False}
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right"}
        ax.annotate(f"× {total:,} not finite", (1, 1), (0, 4), **place, **style)
    draw_below(ax, curves, theme, SECOND if total else 4)


def draw_below(ax: Axes, curves: list[Points], theme: Theme, up: float) -> None:
    """On a logarithmic axis, where a curve is zero or negative: a triangle at the lower edge, told by number ``up``
    points above the Axes.
    """
    if ax.get_yscale() != "log":
        return
    zero = negative = 0
    for curve in curves:
        low = curve.xs[np.isfinite(curve.values) & (curve.values <= 0)]
        if not len(low):
            continue
        zero, negative = zero + int((curve.values == 0).sum()), negative + len(low) - int((curve.values == 0).sum())
        step = float(curve.xs.max() - curve.xs.min()) / MARKS or 1.0
        low = low[np.unique(np.floor((low - curve.xs.min()) / step), return_index=True)[1]]
        style: dict[str, Any] = {"color": curve.color, "markersize": 5, "linestyle": "", "label": "_below"}
        ax.plot(low, np.full(len(low), 0.015), marker="v", transform=ax.get_xaxis_transform(), clip_on=False, **style)
    if zero or negative:
        words = [f"{n:,} {word}" for n, word in ((zero, "zero"), (negative, "negative")) if n]
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right"}
        ink: dict[str, Any] = {"color": theme.muted, "fontsize": design.points("xs"), "parse_math": False}
        ax.annotate(f"▼ {', '.join(words)}: below a log axis", (1, 1), (0, up), **place, **ink)


def _spans(xs: Array, missing: Array) -> list[tuple[float, float]]:
    """Stretches of missing values, from the point before to the point after; at most a few hundred, else as one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], missing.astype(int), [0]])))
    last = len(xs) - 1
    found = [(float(xs[max(a - 1, 0)]), float(xs[min(b, last)])) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    if len(found) <= 200 or not math.isfinite(found[0][0]):
        return found
    width = (float(xs.max()) - float(xs.min())) / 200 or 1.0
    joined = [found[0]]
    for start, end in found[1:]:
        near = start - joined[-1][1] < width
        joined[-1:] = [(joined[-1][0], end)] if near else [joined[-1], (start, end)]
    return joined
