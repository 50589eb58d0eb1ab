"""Names and numbers as short literal text.

Names of classes, layers and files are hostile: they may be endless, hold control characters, or ``$`` that matplotlib
would read as mathematics. All text passes here and is set with ``parse_math=False``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fluoroscope.render import design

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from fluoroscope.render.design import Theme

__all__ = ["amount", "byte_label", "clean", "measured", "note", "number", "plural", "shortened", "title"]


def clean(text: str) -> str:
    """One printable line: control and direction characters are shown as escapes, white space becomes a space."""
    shown = (c if c.isprintable() else (" " if c.isspace() else c.encode("unicode_escape").decode()) for c in text)
    return "".join(shown).strip()


def shortened(text: str, limit: int = 32) -> str:
    """``text`` in at most ``limit`` characters, cut in the middle, where names differ least."""
    line = clean(text[: 50 * limit] + text[-limit:] if len(text) > 51 * limit else text)
    if len(line) <= limit:
        return line
    tail = (limit - 1) // 2
    return f"{line[: limit - 1 - tail]}…{line[len(line) - tail :]}"


def number(value: float) -> str:
    """Three significant digits, for example ``0.0312``, ``12.5``, ``1.2e−07``; a true minus sign; NaN by name."""
    if not math.isfinite(value):
        return {True: "NaN"}.get(math.isnan(value), "∞" if value > 0 else "−∞")
    return (f"{value:.3g}" if abs(value) < 1 else f"{value:.4g}").replace("-", "−")


def amount(value: float, digits: int = 3) -> str:
    """A count with its magnitude, in three digits or more: ``512``, ``23.5 k``, ``25.6 M``, ``8.21 G``."""
    for scale, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= scale:
            return f"{value / scale:.{digits}g}{unit}"
    return f"{value:.{digits}g}"


def measured(value: float, unit: str) -> str:
    """A value with what its unit asks for: ``12.5 %`` of a share, ``352 MB`` of bytes, else the number alone."""
    if unit == "bytes":
        return f"{amount(value)}B"
    return f"{100 * value:.3g} %".replace("-", "−") if unit == "share" else number(value)


def byte_label(axis: Axis) -> Callable[[float, float], str]:
    """A formatter of ``axis`` for bytes, with as many digits as tell a tick from the next: ``352.1 MB``."""

    def label(value: float, _: float) -> str:
        ticks = np.asarray(axis.get_majorticklocs())
        step = np.diff(ticks).min() if len(ticks) > 1 else 0.0
        digits = 1 + math.floor(math.log10(abs(ticks).max())) - math.floor(math.log10(step)) if step > 0 else 3
        return f"{amount(value, min(15, max(3, digits)))}B" if value else "0"

    return label


def plural(count: int, noun: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def title(ax: Axes, text: str, theme: Theme, detail: str = "") -> None:
    """The title of one picture, left, with a second, muted line for numbers."""
    ax.set_title(
        text, loc="left", color=theme.text, fontsize=design.points("xs"), pad=16 if detail else 5, parse_math=False
    )
    if detail:
        style: dict[str, Any] = {"color": theme.muted, "fontsize": design.points("xs"), "parse_math": False}
        ax.annotate(detail, (0, 1), (0, 4), xycoords="axes fraction", textcoords="offset points", va="bottom", **style)


def note(ax: Axes, text: str, theme: Theme) -> None:
    """A remark below a picture, for what a person has to know to read it."""
    ax.set_xlabel(text, loc="left", color=theme.muted, fontsize=design.points("xs"), parse_math=False)
