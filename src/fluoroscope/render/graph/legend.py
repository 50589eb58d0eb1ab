"""What the colours of a drawing mean, below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoroscope.render.graph.sheet import Polygon, Rect, Sheet, Text, mixed, text_width

if TYPE_CHECKING:
    from fluoroscope.render.design import Theme
    from fluoroscope.render.graph.tints import Legend

__all__ = ["add_legend"]

SMALL = 7.5
MARGIN = 10.0


def add_legend(sheet: Sheet, legend: Legend, theme: Theme) -> None:
    """Below the picture: swatches, or a ramp between two numbers."""
    y, at = sheet.height + 4, MARGIN
    if legend.ramp:
        sheet.marks.append(Text(at, y, legend.title, SMALL, theme.muted, True, "left"))
        at += text_width(legend.title, SMALL, True) + 8
        sheet.marks.append(Text(at, y, legend.low, SMALL, theme.muted, False, "left"))
        at += text_width(legend.low, SMALL) + 5
        for i, color in enumerate(legend.ramp):
            x = at + 4 * i
            sheet.marks.append(Polygon(((x, y - 4), (x + 4.2, y - 4), (x + 4.2, y + 4), (x, y + 4)), color))
        at += 4 * len(legend.ramp) + 5
        sheet.marks.append(Text(at, y, legend.high, SMALL, theme.muted, False, "left"))
        sheet.width = max(sheet.width, at + text_width(legend.high, SMALL) + MARGIN)
    for color, word in legend.swatches:
        needed = 14 + text_width(word, SMALL) + 12
        if at + needed > max(sheet.width, 230) and at > MARGIN:
            at, y = MARGIN, y + 13
        sheet.marks.append(Rect(at, y - 4, 8, 8, 2, mixed(theme.surface, color, 0.45), color, 0.8))
        sheet.marks.append(Text(at + 12, y, word, SMALL, theme.muted, False, "left"))
        at += needed
        sheet.width = max(sheet.width, at)
    if legend.ramp or legend.swatches:
        sheet.height = y + 12
