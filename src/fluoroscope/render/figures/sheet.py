"""A sheet of marks on matplotlib Axes: few artists for however many marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.path import Path as Outline
from matplotlib.transforms import IdentityTransform

from fluoroscope.render.figures.canvas import inches_of, plain
from fluoroscope.render.figures.outlines import draw_outlines
from fluoroscope.render.graph.sheet import Mark, Path, Polygon, Rect, Sheet, Text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_sheet"]

CORNER = 0.5523  # of the radius: a circle's quarter as a cubic Bézier curve
ARROW = (5.5, 2.6)  # points: length and half width
SHAPES, WORDS = 1.0, 2.0  # texts lie above all boxes and wires
MOST_ARTISTS = 1000  # texts that are still texts, which PDF files can be searched for


def draw_sheet(ax: Axes, sheet: Sheet, inches: tuple[float, float] | None = None) -> None:
    """All marks of ``sheet`` on ``ax``, as large as its proportions allow; ``inches`` is how large the Axes will be."""
    plain(ax)
    across, down = inches or inches_of(ax)
    scale = min(across * 72 / sheet.width, down * 72 / sheet.height)
    slack = (across * 72 / scale - sheet.width) / 2, (down * 72 / scale - sheet.height) / 2
    ax.set(xlim=(-slack[0], sheet.width + slack[0]), ylim=(sheet.height + slack[1], -slack[1]), aspect="equal")
    ax.set_facecolor("none")
    words = [mark for mark in sheet.marks if isinstance(mark, Text)]
    _shapes(ax, [mark for mark in sheet.marks if not isinstance(mark, Text)], scale)
    level = [mark for mark in words if not mark.angle] if len(words) > MOST_ARTISTS else []
    if level:
        draw_outlines(ax, level, WORDS)
    for mark in words if not level else (m for m in words if m.angle):
        _text(ax, mark, scale)


def _shapes(ax: Axes, marks: list[Mark], scale: float) -> None:
    outlines: list[Outline] = []
    style: dict[str, list[Any]] = {"facecolors": [], "edgecolors": [], "linewidths": [], "linestyles": []}

    def add(outline: Outline, fill: Any, stroke: Any, line: float, dashed: bool = False) -> None:
        outlines.append(outline)
        style["facecolors"].append(fill or "none")
        style["edgecolors"].append(stroke or "none")
        style["linewidths"].append(line * scale)
        style["linestyles"].append((0, (3, 2)) if dashed else "-")

    for mark in marks:
        if isinstance(mark, Rect):
            add(_rounded(mark), mark.fill, mark.stroke, mark.line, mark.dashed)
        elif isinstance(mark, Polygon):
            add(Outline([*mark.points, mark.points[0]], closed=True), (mark.fill, mark.opacity), mark.stroke, mark.line)
        elif isinstance(mark, Path):
            color = (mark.stroke, mark.opacity)
            add(_line(mark), None, color, mark.line, mark.dashed)
            if mark.arrow and (head := _head(mark)) is not None:
                add(head, color, None, 0)
    ax.add_collection(
        PathCollection(outlines, transform=ax.transData, zorder=SHAPES, offset_transform=IdentityTransform(), **style),
        autolim=False,
    )


def _rounded(rect: Rect) -> Outline:
    x, y, w, h = rect.x, rect.y, rect.width, rect.height
    r = min(rect.radius, w / 2, h / 2)
    c = r * (1 - CORNER)
    points = [
        (x + r, y), (x + w - r, y), (x + w - c, y), (x + w, y + c), (x + w, y + r),
        (x + w, y + h - r), (x + w, y + h - c), (x + w - c, y + h), (x + w - r, y + h),
        (x + r, y + h), (x + c, y + h), (x, y + h - c), (x, y + h - r),
        (x, y + r), (x, y + c), (x + c, y), (x + r, y), (x + r, y),
    ]  # fmt: skip
    side = [Outline.LINETO, Outline.CURVE4, Outline.CURVE4, Outline.CURVE4]
    return Outline(points, [Outline.MOVETO, *side * 4, Outline.CLOSEPOLY])


def _line(path: Path) -> Outline:
    points, codes = [path.pieces[0][0]], [Outline.MOVETO]
    for piece in path.pieces:
        points += piece[1:]
        codes += [Outline.LINETO] if len(piece) == 2 else [Outline.CURVE4] * 3
    return Outline(points, codes)


def _head(path: Path) -> Outline | None:
    """The arrow head at the end of ``path``, in its direction."""
    tip = np.asarray(path.pieces[-1][-1], dtype=float)
    way = tip - np.asarray(path.pieces[-1][-2], dtype=float)
    length = float(np.hypot(*way))
    if not length:
        return None
    way = way / length
    aside = np.array([-way[1], way[0]]) * ARROW[1]
    foot = tip - way * ARROW[0]
    return Outline([tip, foot + aside, foot - aside, tip], closed=True)


def _text(ax: Axes, mark: Text, scale: float) -> None:
    box = {"facecolor": mark.back, "edgecolor": "none", "pad": 1.0 * scale} if mark.back else None
    shown = ax.text(
        mark.x,
        mark.y,
        mark.text,
        color=mark.color,
        fontsize=mark.size * scale,
        weight="bold" if mark.bold else "normal",
        ha=mark.align,
        va="center_baseline" if not mark.angle else "center",
        rotation=mark.angle,
        rotation_mode="anchor",
        parse_math=False,
        clip_on=True,
        zorder=WORDS,
        bbox=box,
    )
    shown.set_in_layout(False)  # the Axes have their size; measuring thousands of texts would take longer than drawing
