"""Horizontal bars sorted by magnitude, or as a waterfall that leads from the rest to the score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fluoroscope.render import design
from fluoroscope.render.figures.canvas import inches_of, quiet
from fluoroscope.render.figures.label import note, number, plural, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Array

__all__ = ["bar_count", "draw_bars", "sign_colors"]

NUMBER = 0.75  # inches that a number beside a bar takes


def sign_colors(theme: Theme) -> tuple[str, str]:
    """The colours of values below and above 0: of the diverging palette, where it stands out from the surface."""
    stops = design.palette("diverging")
    return (stops[2], stops[9]) if theme.name == "light" else (stops[3], stops[9])


def draw_bars(
    ax: Axes, names: tuple[str, ...], values: Array, theme: Theme, top: int, unit: str = "", score: float | None = None
) -> None:
    """The ``top`` entries of ``values`` (D,) of greatest magnitude, the others in one bar.

    With ``score`` the bars are a waterfall: each begins where the one below it ends, from ``score`` less their sum
    ("before all features") up to ``score``. Entries that are not finite are listed without a bar.
    """
    rows = _rows(names, values, top)
    numbers = np.array([v for _, v in rows])
    drawn = np.nan_to_num(numbers, nan=0.0, posinf=0.0, neginf=0.0)
    starts = np.zeros(len(rows)) if score is None else score - np.cumsum(drawn)
    low, high = sign_colors(theme)
    places = np.arange(len(rows))
    ax.barh(places, drawn, left=starts, height=0.72, color=[high if v >= 0 else low for v in drawn])
    ax.set_yticks(places, [shortened(name, 28) for name, _ in rows], parse_math=False)
    ax.invert_yaxis()
    _numbers(ax, numbers, starts, theme)
    quiet(ax, theme, "x")
    ax.tick_params(axis="y", length=0, labelcolor=theme.text)
    _reference(ax, starts, score, theme)
    missing = int((~np.isfinite(values)).sum())
    note(ax, ", ".join(filter(None, [unit, f"{plural(missing, 'value')} not finite" if missing else ""])), theme)


def bar_count(values: Array, top: int) -> int:
    """How many bars :func:`draw_bars` draws."""
    return len(_rows((), values, top))


def _rows(names: tuple[str, ...], values: Array, top: int) -> list[tuple[str, float]]:
    order = sorted(range(len(values)), key=lambda i: -abs(values[i]) if np.isfinite(values[i]) else 1.0)
    named = [(names[i] if i < len(names) else f"feature {i}", float(values[i])) for i in order]
    some = [entry for entry in named if entry[1] != 0]
    if 0 < len(some) <= min(top, len(named) - 2):  # rows of nothing say nothing, one by one
        return [*some, (f"{len(named) - len(some)} others, each 0", 0.0)]
    rest = named[top:]
    if len(rest) < 2:
        return named
    total = sum(v for _, v in rest if np.isfinite(v))
    return [*named[:top], (f"{len(rest)} others together", total)]


def _numbers(ax: Axes, numbers: Array, starts: Array, theme: Theme) -> None:
    style: dict[str, Any] = {"color": theme.muted, "fontsize": design.points("xs"), "parse_math": False, "va": "center"}
    for i, value in enumerate(numbers):
        finite = bool(np.isfinite(value))
        end = starts[i] + (value if finite else 0)
        forward = not finite or value >= 0
        text = number(value or 0.0) if value <= 0 or not finite else f"+{number(value)}"  # no minus before 0
        style["ha"] = "left" if forward else "right"
        ax.annotate(text, (end, i), (4 if forward else -4, 0), textcoords="offset points", **style)
    ax.use_sticky_edges = False  # bars would keep the margin, and with it room for the numbers, away
    ax.margins(x=min(0.45, NUMBER / inches_of(ax)[0]), y=0.02)


def _reference(ax: Axes, starts: Array, score: float | None, theme: Theme) -> None:
    if score is None:
        ax.axvline(0, color=theme.muted, linewidth=0.8)
        return
    base = float(starts[-1]) if len(starts) else score
    for i in range(len(starts) - 1):  # thin steps that lead the eye from bar to bar
        ax.plot([starts[i], starts[i]], [i - 0.36, i + 1.36], color=theme.muted, linewidth=0.6)
    ax.axvline(base, color=theme.muted, linewidth=0.8, linestyle=":")
    style: dict[str, Any] = {"color": theme.muted, "fontsize": design.points("xs"), "parse_math": False}
    ax.annotate(
        f"{number(base)} → score {number(score)}",
        (1, 1),
        (0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="bottom",
        **style,
    )
