"""What an attribution is a map of, and where its cells lie on the input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from fluoroscope.errors import OptionError
from fluoroscope.render.figures.overlay import Extent

if TYPE_CHECKING:
    from fluoroscope.results import Array, Attribution

__all__ = ["Form", "extent", "fitted", "form", "frame", "places_of", "strongest_slice"]

Form = Literal["image", "token", "table", "series"]


def form(result: Attribution) -> Form:
    """How the positions are drawn, by the axes that are left beside examples, targets and channels."""
    rest = tuple(a for a in result.axes if a not in "NKC")
    forms: dict[tuple[str, ...], Form] = {
        ("H", "W"): "image",
        ("Z", "H", "W"): "image",
        ("L",): "token",
        ("D",): "table",
        ("T",): "series",
    }
    if rest not in forms:
        raise OptionError(
            "an attribution over these axes can't be drawn",
            got=f"({', '.join(result.axes)})",
            expected="positions (H, W), (Z, H, W), (L), (D) or (T)",
        )
    return forms[rest]


def frame(result: Attribution) -> tuple[float, float]:
    """Height and width of the input in pixels: as stated, else of its picture, else of the map."""
    images = result.samples.images
    size = result.size[-2:] or (images.shape[1:3] if images is not None else result.data.shape[-2:])
    return float(size[0]), float(size[1])


def extent(result: Attribution, values: Array) -> Extent:
    """Where the cells of a map (rows, columns) lie, in pixels of the input: left, right, bottom, top."""
    edges = []
    for axis in (-2, -1):
        cells, length = values.shape[axis], frame(result)[axis]
        first, step = result.centers[axis] if result.centers else (length / cells / 2, length / cells)
        edges.append((first - step / 2, first + step * (cells - 0.5)))
    (upper, lower), (left, right) = edges
    return left, right, lower, upper


def places_of(result: Attribution, cells: int) -> tuple[float, float]:
    """Middle of the first cell and distance of cells along a series, in steps of the input; step i is at i, so half a
    step before the middle of pixel i.
    """
    length = result.size[-1] if result.size else cells
    first, step = result.centers[-1] if result.centers else (length / cells / 2, length / cells)
    return first - 0.5, step


def strongest_slice(values: Array) -> tuple[Array, int]:
    """A map as it is; of a volume (Z, H, W) the slice with the greatest magnitude, and its number."""
    if values.ndim == 2:
        return values, 0
    peaks = np.nan_to_num(np.abs(values)).reshape(len(values), -1).max(axis=1)
    return np.asarray(values[int(peaks.argmax())]), int(peaks.argmax())


def fitted(result: Attribution, values: Array, size: tuple[int, ...]) -> Array:
    """The map on the pixels of the picture; what is not finite counts as 0 there and is hatched, not interpolated."""
    flat = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)[None]
    centers = result.centers[-2:] if result.centers else None
    sized = result.replace(data=flat, axes=("N", "H", "W"), size=result.size[-2:], centers=centers)
    return np.asarray(sized.resized(size[0], size[1])[0])
