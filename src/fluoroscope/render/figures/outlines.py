"""Very many texts as outlines in one collection: an artist for each would take a minute to draw."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path as Outline
from matplotlib.textpath import TextPath
from matplotlib.transforms import IdentityTransform

from fluoroscope.render.graph.sheet import Text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluoroscope.results import Array

__all__ = ["draw_outlines"]

LEFT = {"left": 0.0, "center": 0.5, "right": 1.0}
PAD = 1.0  # points around a text that has a ground of its own


def draw_outlines(ax: Axes, marks: Sequence[Text], order: float) -> None:
    """Level texts on Axes whose unit is a point and whose y grows downwards, as ``ax.text`` would set them.

    Sizes are those of the drawing: the texts grow with the Axes.
    """
    fonts = {bold: FontProperties(weight="bold" if bold else "normal", size=1.0) for bold in (False, True)}
    of_one_point = lru_cache(None)(lambda text, bold: TextPath((0, 0), text, prop=fonts[bold]))
    above = {bold: float(of_one_point("lp", bold).get_extents().ymax) for bold in fonts}
    outlines: list[Outline] = []
    colors: list[str] = []
    for mark in marks:
        letters = of_one_point(mark.text, mark.bold)
        if not len(letters.vertices):
            continue
        width = float(letters.vertices[:, 0].max()) * mark.size
        height = above[mark.bold] * mark.size
        corner = np.array([mark.x - LEFT[mark.align] * width, mark.y + height / 2])  # where the baseline begins
        if mark.back:
            outlines.append(_ground(corner, width, height, 0.24 * mark.size))
            colors.append(mark.back)
        outlines.append(Outline(letters.vertices * (mark.size, -mark.size) + corner, letters.codes))
        colors.append(mark.color)
    style: dict[str, Any] = {"facecolors": colors, "edgecolors": "none", "linewidths": 0, "zorder": order}
    ax.add_collection(
        PathCollection(outlines, transform=ax.transData, offset_transform=IdentityTransform(), **style), autolim=False
    )


def _ground(corner: Array, width: float, above: float, below: float) -> Outline:
    (left, baseline), right = corner, corner[0] + width
    low, high = baseline + below + PAD, baseline - above - PAD
    return Outline(
        [(left - PAD, low), (right + PAD, low), (right + PAD, high), (left - PAD, high), (left - PAD, low)], closed=True
    )
