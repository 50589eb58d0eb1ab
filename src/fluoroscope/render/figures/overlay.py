"""A map laid over the picture it explains: opacity grows with the value, so that the picture stays visible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize

from fluoroscope.render.figures.scale import Scale, hatch_missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Array

__all__ = ["Extent", "draw_overlay", "draw_photo", "draw_segments", "grey", "opacity"]

Extent = tuple[float, float, float, float]
LUMA = (0.299, 0.587, 0.114)  # the weights of Rec. 601, as in Pillow's conversion to grey


def opacity(values: Array, scale: Scale, alpha: float) -> Array:
    """How opaque each value is: ``alpha`` at the end of the scale, 0 at 0, in proportion between (NaN: 0)."""
    limit = max(abs(scale.low), abs(scale.high))
    return np.asarray(alpha * np.clip(np.nan_to_num(np.abs(values) / limit, nan=0.0, posinf=0.0, neginf=0.0), 0, 1))


def grey(image: Array, colour: float = 0.0) -> Array:
    """The picture (H, W, RGB) of bytes without its colours, or with a part of them left."""
    luma = (image[..., :3] @ np.array(LUMA))[..., None]
    return np.asarray(np.rint(luma + colour * (image[..., :3] - luma)).astype(np.uint8))


def draw_photo(ax: Axes, image: Array, extent: Extent) -> AxesImage:
    """The picture as it is: (H, W), (H, W, 1) or (H, W, 3)."""
    data = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    small = max(data.shape[:2]) < 100  # the pixels of small pictures are shown, not smeared
    how = "nearest" if small else "antialiased"
    norm = Normalize(0, 255) if data.ndim == 2 else None
    return ax.imshow(data, cmap="gray", extent=extent, interpolation=how, norm=norm)


def draw_segments(ax: Axes, segments: Array) -> None:
    """Lines (S, 4), x0, y0, x1, y1 each, light on dark, so that they are seen on any picture."""
    for colour, width in (("black", 3.0), ("white", 1.2)):
        style: dict[str, Any] = {"colors": colour, "linewidths": width, "capstyle": "projecting", "label": "_outline"}
        ax.add_collection(LineCollection(list(segments.reshape(-1, 2, 2)), **style), autolim=False)


def draw_overlay(
    ax: Axes,
    image: Array,
    values: Array,
    scale: Scale,
    norm: Normalize,
    theme: Theme,
    alpha: float,
    raw: Array,
    place: Extent,
) -> AxesImage:
    """``values`` (H, W) over ``image`` in grey; cells of ``raw`` at ``place`` that are not finite are hatched."""
    height, width = values.shape
    extent = (0.0, float(width), float(height), 0.0)
    colour = np.repeat(image[..., None], 3, -1) if image.ndim == 2 else np.broadcast_to(image, (*image.shape[:2], 3))
    draw_photo(ax, grey(colour), extent)
    drawn = ax.imshow(
        values,
        cmap=scale.colormap,
        norm=norm,
        alpha=opacity(values, scale, alpha),
        extent=extent,
        interpolation="nearest",
    )
    hatch_missing(ax, raw, place, theme)
    return drawn
