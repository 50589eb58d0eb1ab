"""Media as figures: a row of pictures for each series, and the last texts."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from fluoroscope.errors import OptionError, nearest
from fluoroscope.render import design
from fluoroscope.render.figures.canvas import Picture, heading, new_figure, plain
from fluoroscope.render.figures.label import clean, shortened, title
from fluoroscope.render.figures.registry import Drawing, drawing
from fluoroscope.results.picture_file import picture_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Array, ImageSeries, Media

__all__ = ["MediaDrawing"]

ROWS, COLUMNS, LINES = 6, 6, 4
FORMATS = ("PNG", "JPEG", "GIF", "WEBP")


@drawing("media")
class MediaDrawing(Drawing):
    """Options of the drawing: ``name`` of a series of pictures (None: the first on given Axes, up to six on a new
    figure).
    """

    name: str | None = None

    def on(self, result: Media, ax: Axes, theme: Theme) -> None:
        """The last picture of one series on ``ax``."""
        names = self._names(result)
        if not names:
            plain(ax)
            ax.text(0.5, 0.5, "no pictures", color=theme.muted, ha="center", transform=ax.transAxes)
            return
        series = result.images[names[0]]
        _show(ax, series, len(series) - 1, names[0], theme)

    def figure(self, result: Media, theme: Theme) -> Picture:
        """A row for each series, with up to six steps that are evenly spaced; below, the last text of each series."""
        names = self._names(result)[:ROWS]
        with new_figure(10.0, 1.9 * max(len(names), 1) + 0.9, theme) as figure:
            axes = figure.subplots(max(len(names), 1), COLUMNS, squeeze=False)
            for ax in axes.ravel():
                plain(ax)
            for row, name in zip(axes, names, strict=False):
                series = result.images[name]
                firsts = np.flatnonzero(series.parts == 0) if len(series) else np.zeros(0, int)
                chosen = firsts[np.unique(np.linspace(0, len(firsts) - 1, min(COLUMNS, len(firsts))).astype(int))]
                for ax, index in zip(row, chosen.tolist(), strict=False):
                    _show(ax, series, index, name, theme)
            said = [f"{clean(name)}, step {t.steps[-1]}: {shortened(t.texts[-1], 110)}"
                    for name, t in list(result.texts.items())[:LINES] if len(t)]  # fmt: skip
            more = len(result.images) - len(names)
            heading(figure, result, theme, [*([f"{more} more series of pictures"] if more > 0 else []), *said])
        return figure

    def _names(self, result: Media) -> list[str]:
        if self.name is None:
            return list(result.images)
        if self.name not in result.images:
            known = result.images
            raise OptionError(
                "there is no series of pictures of that name", got=self.name, nearest=nearest(self.name, known)
            )
        return [self.name]


def _show(ax: Axes, series: ImageSeries, index: int, name: str, theme: Theme) -> None:
    plain(ax)
    pixels = _decoded(series.picture(index))
    title(ax, shortened(name, 22), theme, f"step {series.steps[index]:,}")
    if pixels is None:
        style: dict[str, Any] = {"color": theme.bad, "fontsize": design.points("xs"), "ha": "center"}
        ax.text(0.5, 0.5, "can't be decoded", transform=ax.transAxes, **style)
        return
    ax.imshow(pixels, interpolation="nearest" if max(pixels.shape[:2]) <= 96 else "antialiased")


def _decoded(data: bytes) -> Array | None:
    """The first frame as RGBA (H, W, 4), of a file whose size was looked at before; None where it is damaged."""
    from PIL import Image

    if picture_file(data) is None:
        return None
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            picture.thumbnail((1024, 1024))
            return np.asarray(picture.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
