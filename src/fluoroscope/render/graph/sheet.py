"""A drawing as plain marks, in points: what a figure and an SVG file both show."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Mark", "Path", "Point", "Polygon", "Rect", "Sheet", "Text", "mixed", "text_width"]

Point = tuple[float, float]

NARROW, SLIM, BROAD = frozenset("ijlI|!.,:;' "), frozenset('frt()[]{}/\\-"·*'), frozenset("mwMW@%—…×")


@dataclass(frozen=True)
class Rect:
    """A rectangle with round corners; ``title`` is what a pointer on it is told."""

    x: float
    y: float
    width: float
    height: float
    radius: float = 4.0
    fill: str = ""
    stroke: str = ""
    line: float = 1.0
    title: str = ""
    dashed: bool = False


@dataclass(frozen=True)
class Path:
    """Lines (two points) and cubic Bézier curves (four), one after the other; with an arrow head where ``arrow``."""

    pieces: tuple[tuple[Point, ...], ...]
    stroke: str
    line: float = 1.0
    arrow: bool = False
    dashed: bool = False
    opacity: float = 1.0
    title: str = ""


@dataclass(frozen=True)
class Polygon:
    """A filled area."""

    points: tuple[Point, ...]
    fill: str
    stroke: str = ""
    line: float = 0.6
    opacity: float = 1.0
    title: str = ""


@dataclass(frozen=True)
class Text:
    """One line of text; ``y`` is its middle. ``angle`` turns it against the clock, in degrees."""

    x: float
    y: float
    text: str
    size: float
    color: str
    bold: bool = False
    align: Literal["left", "center", "right"] = "center"
    back: str = ""
    angle: float = 0.0


Mark = Rect | Path | Polygon | Text


@dataclass
class Sheet:
    """Marks from the lowest to the highest, on a sheet of ``width`` x ``height`` points; y grows downwards."""

    width: float
    height: float
    title: str = ""
    caption: str = ""
    marks: list[Mark] = field(default_factory=list)


def text_width(text: str, size: float, bold: bool = False) -> float:
    """About how wide ``text`` is at ``size`` points, on the wide side for the fonts that may be there."""
    return sum(map(_em, text)) * size * (1.09 if bold else 1.0)


def _em(character: str) -> float:
    if character in NARROW:
        return 0.33
    if character in SLIM:
        return 0.42
    if character in BROAD:
        return 0.95
    if ord(character) > 0x2E80 and unicodedata.east_asian_width(character) in "WF":
        return 1.05
    return 0.72 if character.isupper() else 0.61


def mixed(one: str, other: str, share: float) -> str:
    """``#rrggbb`` between two colours, ``share`` of the second."""
    channels = ((int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in channels)
