"""Tokens of a text on the colour of their value, set in lines as they are read."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np

from fluoroscope.render import design
from fluoroscope.render.figures.canvas import inches_of, installed_families, plain
from fluoroscope.render.figures.label import note, plural, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.render.figures.scale import Scale
    from fluoroscope.results import Array

__all__ = ["draw_tokens", "line_count", "without_padding"]

EM = 0.602  # width of a character of DejaVu Sans Mono, in font sizes
LEADING = 2.0  # distance of lines, in font sizes
NOTHING = 1e-3  # share of the scale that no colour shows
SIZES = (9.75, 9.0, 8.0, 7.0, 6.0, 5.0)  # points: the design's size where it fits, smaller where it must


def draw_tokens(
    ax: Axes,
    tokens: tuple[str, ...],
    values: Array,
    scale: Scale,
    theme: Theme,
    room_in: tuple[float, float] | None = None,
    padding: frozenset[int] = frozenset(),
) -> None:
    """``tokens`` in reading order, each on the colour of its entry of ``values`` (L,); smaller type for many.

    Of ``padding`` it is only said that it is there: grey, unless it has a value that could be seen.
    ``room_in`` is the width and height that the Axes will have in inches, where a layout has yet to place them.
    """
    names = [shortened(t, 24) or "␣" for t in tokens]
    width, height = room_in or inches_of(ax)
    for size in SIZES:
        columns = _columns(width, size)
        places = _wrapped(names, columns)
        room = max(1, int(height * 72 / (size * LEADING)))
        if places[-1][0] < room:
            break
    shown = [i for i, (line, _, _) in enumerate(places) if line < room]
    ax.set_xlim(0, columns)
    ax.set_ylim(room, 0)
    plain(ax)
    colors = scale.colors(values)
    for i in shown:
        if i in padding and abs(values[i]) < NOTHING * scale.high:
            _word(ax, names[i], places[i], size, theme.muted)
        else:
            _token(ax, names[i], places[i], colors[i], size, theme)
    if len(shown) < len(names):
        note(ax, f"the first {len(shown)} of {plural(len(names), 'token')}", theme)


def line_count(tokens: tuple[str, ...], width: float) -> int:
    """How many lines ``tokens`` take in ``width`` inches at the design's size."""
    return _wrapped([shortened(t, 24) or "␣" for t in tokens], _columns(width, SIZES[0]))[-1][0] + 1


def _columns(width: float, size: float) -> int:
    return max(26, int(width * 72 / (size * EM)))


def _wrapped(names: list[str], columns: int) -> list[tuple[int, int, int]]:
    """For every name its line, first column and width in characters."""
    places: list[tuple[int, int, int]] = []
    line, column = 0, 0
    for name in names:
        width = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in name) + 1
        if column and column + width > columns:
            line, column = line + 1, 0
        places.append((line, column, width))
        column += width
    return places or [(0, 0, 0)]


def _token(ax: Axes, name: str, place: tuple[int, int, int], color: Array, size: float, theme: Theme) -> None:
    from matplotlib.patches import Rectangle

    line, column, width = place
    known = bool(np.isfinite(color).all())
    fill: Any = color if known else theme.raised
    hatch: dict[str, Any] = {} if known else {"hatch": "////", "edgecolor": theme.muted}
    ax.add_patch(Rectangle((column + 0.08, line + 0.08), width - 0.16, 0.84, facecolor=fill, linewidth=0, **hatch))
    _word(ax, name, place, size, design.readable_on(fill))


def _word(ax: Axes, name: str, place: tuple[int, int, int], size: float, color: str) -> None:
    line, column, width = place
    style: dict[str, Any] = {"ha": "center", "va": "center_baseline", "parse_math": False, "clip_on": True}
    family = list(installed_families("mono"))
    ax.text(column + width / 2, line + 0.52, name, fontsize=size, family=family, color=color, **style)


def without_padding(
    tokens: tuple[str, ...], values: Array, runs: list[tuple[int, int]]
) -> tuple[tuple[str, ...], Array, frozenset[int]]:
    """Tokens and values (L,) with each run of padding as one token, of its value of greatest magnitude (methods may
    give a run one value, repeated), and which these are.
    """
    names, numbers, muted, done = list[str](), list[float](), set[int](), 0
    for start, stop in [*runs, (len(tokens), len(tokens))]:
        names += tokens[done:start]
        numbers += values[done:start].tolist()
        if stop > start:
            muted.add(len(names))
            names.append(f"padding × {stop - start}")
            numbers.append(float(values[start:stop][np.abs(values[start:stop]).argmax()]))
        done = stop
    return tuple(names), np.array(numbers), frozenset(muted)
