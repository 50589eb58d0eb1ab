"""The design language: type scale, spacing, colours and palettes, read from ``design.json``.

The same file dresses the web page. Colours between the stops of a palette are found by linear interpolation in sRGB, as
the page does, so that a figure and the page show one value in one colour.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from fluoroscope.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

__all__ = [
    "Family",
    "Palette",
    "Size",
    "Theme",
    "color_at",
    "colormap",
    "contrast",
    "families",
    "layer_families",
    "luminance",
    "palette",
    "points",
    "readable_on",
    "rgb",
    "space",
    "theme",
]

Palette = Literal["sequential", "diverging", "categorical", "categorical_dark"]
Size = Literal["xs", "s", "m", "l", "xl", "xxl"]

POINTS_PER_PIXEL = 0.75  # CSS: 96 pixels and 72 points per inch
LEVELS = 1025  # odd, so that the neutral colour of a diverging map sits exactly on its centre


@dataclass(frozen=True, kw_only=True)
class Theme:
    """The colours of light or dark surroundings, as ``#rrggbb``."""

    name: Literal["light", "dark"]
    page: str
    surface: str
    raised: str
    line: str
    text: str
    muted: str
    accent: str
    accent_text: str
    good: str
    warn: str
    bad: str
    focus: str

    @property
    def series(self) -> tuple[str, ...]:
        """Colours that tell lines and points apart on these surroundings; a place means the same hue in both."""
        return palette("categorical_dark" if self.name == "dark" else "categorical")


@cache
def tokens() -> dict[str, Any]:
    """Everything in ``design.json``, as it stands there."""
    text = files("fluoroscope.render").joinpath("design.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def theme(dark: bool = False) -> Theme:
    """The colours for light surroundings, or for dark ones."""
    name: Literal["light", "dark"] = "dark" if dark else "light"
    colors = tokens()["color"][name]
    return Theme(name=name, accent_text=colors["accentText"], **{k: v for k, v in colors.items() if k != "accentText"})


def points(size: Size) -> float:
    """A size of the type scale in points, which matplotlib counts in."""
    return float(tokens()["type"]["scale"][size]) * POINTS_PER_PIXEL


def families(role: Literal["family", "mono"] = "family") -> tuple[str, ...]:
    """The font families of the design, the preferred one first."""
    return tuple(name.strip(" '\"") for name in tokens()["type"][role].split(","))


def space(step: int) -> float:
    """A step of the spacing scale in inches, which matplotlib lays out in."""
    return float(tokens()["space"][str(step)]) * POINTS_PER_PIXEL / 72


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of layer: its name, the pattern that names of classes and operations fit, its place in the palette."""

    name: str
    title: str
    pattern: str
    series: int

    @property
    def color(self) -> str:
        """Its colour of the categorical palette."""
        return palette("categorical")[self.series]


@cache
def layer_families() -> tuple[Family, ...]:
    """Kinds of layers that practitioners tell apart at a glance; the first whose pattern fits counts."""
    return tuple(Family(**entry) for entry in tokens()["families"])


def palette(name: Palette) -> tuple[str, ...]:
    """The stops of a palette as ``#rrggbb``. Raises OptionError for a name that is none."""
    known: dict[str, list[str]] = tokens()["palette"]
    if name not in known:
        raise OptionError("there is no such palette", got=name, expected=", ".join(known))
    return tuple(known[name])


def rgb(color: str) -> npt.NDArray[np.float64]:
    """``#rrggbb`` as three numbers from 0 to 1."""
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def color_at(name: Literal["sequential", "diverging"], position: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The colours (..., 3) of a palette at positions (...) from 0 to 1: linear interpolation in sRGB between stops."""
    stops = np.stack([rgb(c) for c in palette(name)])
    along = np.clip(np.asarray(position, dtype=float), 0, 1) * (len(stops) - 1)
    return np.stack([np.interp(along, np.arange(len(stops)), stops[:, i]) for i in range(3)], axis=-1)


@cache
def colormap(name: Literal["sequential", "diverging"]) -> Colormap:
    """The palette as a matplotlib colour map; values that are not finite are left transparent.

    Raises:
        OptionError: the palette is categorical, which has no colours in between, or unknown.
    """
    from matplotlib.colors import LinearSegmentedColormap

    if name not in ("sequential", "diverging"):
        raise OptionError("only a continuous palette is a colour map", got=name, expected="'sequential' or 'diverging'")
    made = LinearSegmentedColormap.from_list(f"fluoroscope-{name}", list(palette(name)), N=LEVELS)
    return made.with_extremes(bad=(0, 0, 0, 0))


def luminance(color: str | npt.NDArray[np.float64]) -> float:
    """Relative luminance of an sRGB colour, 0 to 1 (WCAG 2.2)."""
    value = rgb(color) if isinstance(color, str) else np.asarray(color)[:3]
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one: str | npt.NDArray[np.float64], other: str | npt.NDArray[np.float64]) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def readable_on(background: str | npt.NDArray[np.float64]) -> str:
    """Black or white, whichever is easier to read on ``background``: at least 4.5:1 on any colour (4.58 at worst).

    The softer text colours of the themes would fall below that on mid-tones.
    """
    return max("#000000", "#ffffff", key=lambda text: contrast(text, background))
