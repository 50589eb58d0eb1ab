"""Neurons as dots and weights as lines, with the activations of one input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from fluoroscope.render import design
from fluoroscope.render.figures.label import number, shortened
from fluoroscope.render.graph.sheet import Path, Rect, Sheet, Text, mixed, text_width

if TYPE_CHECKING:
    from fluoroscope.render.design import Theme
    from fluoroscope.results import Array, NeuronDiagram, NeuronLayer

__all__ = ["Lines", "neuron_sheet"]

Lines = Literal["weights", "flow"]

PITCH, RADIUS = 26.0, 8.5  # points
COLUMN = 150.0
TYPE = 7.5
THICKEST = 4.0
FAINT = 0.02  # of the largest weight; thinner lines are left out


@dataclass(frozen=True)
class _Column:
    """The neurons shown of one layer: their numbers, their places from the top, and how many are left out."""

    layer: NeuronLayer
    names: tuple[str, ...]
    shown: list[int]
    y: list[float]
    hidden: int
    x: float


def neuron_sheet(
    result: NeuronDiagram, theme: Theme, example: int = 0, lines: Lines = "weights", most: int = 16
) -> Sheet:
    """The drawing for example number ``example``; of each column the ``most`` neurons that matter most.

    A line's width is the magnitude of its weight, its colour the sign; with ``lines="flow"`` those of weight x
    activation, what it adds for this input. A dot's colour is its activation, on one scale for each column.
    """
    kept = [_kept(result.layers, i, example, most) for i in range(len(result.layers))]
    tallest = max(len(shown) + (1.2 if hidden else 0) for shown, hidden in kept)
    head = 34.0
    left = 64.0 + _names_width(result.names(0))
    columns = [
        _column(layer, result.names(i), *kept[i], left + COLUMN * i, head + PITCH * tallest / 2)
        for i, layer in enumerate(result.layers)
    ]
    right = 56.0 + _names_width(result.names(len(result.layers) - 1))
    sheet = Sheet(columns[-1].x + right, head + PITCH * tallest + 30, result.title or "Neuron view", result.caption)
    for one, other in pairwise(columns):
        _lines(sheet, one, other, example, lines, theme)
    for i, column in enumerate(columns):
        _dots(sheet, column, example, theme, i == 0, i == len(columns) - 1)
    _key(sheet, lines, theme)
    return sheet


def _kept(layers: tuple[NeuronLayer, ...], i: int, example: int, most: int) -> tuple[list[int], int]:
    """The neurons of column ``i`` that send most on: |activation| x largest weight; all where there is room."""
    values = np.abs(np.nan_to_num(layers[i].after[example]))
    count = len(values)
    if count <= most:
        return list(range(count)), 0
    if i + 1 < len(layers) and (weights := layers[i + 1].weights) is not None:
        values = values * np.abs(np.nan_to_num(weights)).max(0)
    best = np.argsort(-values, kind="stable")[:most]
    return sorted(int(n) for n in best), count - most


def _column(
    layer: NeuronLayer, names: tuple[str, ...], shown: list[int], hidden: int, x: float, middle: float
) -> _Column:
    rows = len(shown) + (1.2 if hidden else 0)
    top = middle - PITCH * (rows - 1) / 2
    return _Column(layer, names, shown, [top + PITCH * k for k in range(len(shown))], hidden, x)


def _names_width(names: tuple[str, ...]) -> float:
    return max((text_width(shortened(name, 18), TYPE) for name in names), default=10.0)


def _strength(one: _Column, other: _Column, example: int, lines: Lines) -> Array:
    weights: Array = np.nan_to_num(np.asarray(other.layer.weights, dtype=float))[np.ix_(other.shown, one.shown)]
    if lines == "weights":
        return weights
    sent: Array = np.nan_to_num(one.layer.after[example][one.shown].astype(float))
    flow: Array = weights * sent
    return flow


def _lines(sheet: Sheet, one: _Column, other: _Column, example: int, lines: Lines, theme: Theme) -> None:
    """Thin ones first, so that the strong ones lie on top; a gentle curve keeps bundles apart."""
    strength = _strength(one, other, example, lines)
    peak = float(np.abs(strength).max(initial=0.0))
    minus, plus = _signs(theme)
    for flat in np.argsort(np.abs(strength), axis=None, kind="stable"):
        row, column = divmod(int(flat), strength.shape[1])
        share = abs(float(strength[row, column])) / peak if peak else 0.0
        if share < FAINT:
            continue
        start, end = (one.x + RADIUS, one.y[column]), (other.x - RADIUS, other.y[row])
        middle = (start[0] + end[0]) / 2
        curve = (start, (middle, start[1]), (middle, end[1]), end)
        color = plus if strength[row, column] > 0 else minus
        said = f"{number(float(strength[row, column]))} from {one.shown[column]} to {other.shown[row]}"
        sheet.marks.append(Path((curve,), color, 0.3 + THICKEST * share, opacity=0.25 + 0.65 * share, title=said))


def _signs(theme: Theme) -> tuple[str, str]:
    """Blue for negative, red for positive: the ends of the diverging palette, clear of the background."""
    stops = design.palette("diverging")
    return (stops[2], stops[-4]) if theme.name == "light" else (stops[3], stops[-5])


def _dots(sheet: Sheet, column: _Column, example: int, theme: Theme, first: bool, last: bool) -> None:
    values = column.layer.after[example].astype(float)
    finite = np.abs(values[np.isfinite(values)])
    peak = float(finite.max(initial=0.0)) or 1.0
    for y, neuron in zip(column.y, column.shown, strict=True):
        value = float(values[neuron])
        fill = _tone(value / peak, theme) if math.isfinite(value) else theme.surface
        said = f"{_name(column, neuron)}: {number(value)}"
        dot = Rect(column.x - RADIUS, y - RADIUS, 2 * RADIUS, 2 * RADIUS, RADIUS, fill, theme.text, 0.8, said)
        sheet.marks.append(dot)
        label = shortened(column.names[neuron], 18) if column.names else ""
        if first:
            text = f"{label}  {number(value)}" if label else number(value)
            sheet.marks.append(Text(column.x - RADIUS - 5, y, text, TYPE, theme.text, False, "right"))
        elif last:
            text = f"{number(value)}  {label}" if label else number(value)
            sheet.marks.append(Text(column.x + RADIUS + 5, y, text, TYPE, theme.text, False, "left"))
    _heads(sheet, column, theme)


def _heads(sheet: Sheet, column: _Column, theme: Theme) -> None:
    count = len(column.shown) + column.hidden
    sheet.marks.append(Text(column.x, 10, shortened(column.layer.name, 22), 8.5, theme.text, True))
    sheet.marks.append(Text(column.x, 22, f"{count:,} neuron{'s' if count > 1 else ''}", TYPE, theme.muted))
    if column.hidden:
        y = column.y[-1] + PITCH * 0.75
        sheet.marks.append(Text(column.x, y, f"⋮ {column.hidden:,} weaker", TYPE, theme.muted))


def _name(column: _Column, neuron: int) -> str:
    return column.names[neuron] if column.names else f"{column.layer.name} {neuron}"


def _tone(share: float, theme: Theme) -> str:
    """White at zero, towards red where active, towards blue where negative."""
    minus, plus = _signs(theme)
    return mixed(theme.surface, plus if share > 0 else minus, min(1.0, abs(share)))


def _key(sheet: Sheet, lines: Lines, theme: Theme) -> None:
    y, at = sheet.height - 10, 14.0
    minus, plus = _signs(theme)
    what = "weight" if lines == "weights" else "weight × activation"
    for color, word in ((plus, f"positive {what}"), (minus, f"negative {what}")):
        sheet.marks.append(Path((((at, y), (at + 18, y)),), color, 2.5))
        sheet.marks.append(Text(at + 23, y, word, TYPE, theme.muted, False, "left"))
        at += 36 + text_width(word, TYPE)
    sheet.marks.append(Rect(at, y - 4, 8, 8, 4, plus, theme.text, 0.6))
    sheet.marks.append(Text(at + 13, y, "activation", TYPE, theme.muted, False, "left"))
    sheet.width = max(sheet.width, at + 13 + text_width("activation", TYPE) + 10)
