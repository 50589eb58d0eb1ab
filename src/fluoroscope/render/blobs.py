"""Binary data of a page: arrays as gzip, images as PNG or WebP, both as base64 in blocks that a browser never runs."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np

from fluoroscope.errors import InputError
from fluoroscope.results import Array

__all__ = ["Blobs", "storage"]

PNG_LIMIT = 96
"""Images up to this many pixels on their longer side are kept exactly (PNG); larger ones are WebP."""
WEBP_QUALITY = 90
SMALL = 4096
"""Arrays of up to this many entries keep single precision; larger ones may be halved where three digits survive."""

Entry = dict[str, Any]


class Blobs:
    """The blocks of one page in order; equal data is kept once. ``apart``: they are asked for one by one, and need not
    fit into one file.
    """

    apart = False

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._numbers: dict[bytes, int] = {}

    def array(self, values: Array, *, exact: bool = False) -> Entry:
        """Reference to ``values``, stored in C order, little-endian, as the smallest type of :func:`storage`."""
        source = np.asarray(values)
        kept = np.ascontiguousarray(source.astype(storage(source, exact=exact), copy=False))
        packed = gzip.compress(kept.tobytes(), compresslevel=6, mtime=0)
        dtype = f"{kept.dtype.kind}{kept.dtype.itemsize}"
        return {"blob": self._add(packed), "dtype": dtype, "shape": list(source.shape)}

    def image(self, pixels: Array) -> Entry:
        """Reference to a ``uint8`` picture (H, W), (H, W, 1) or (H, W, 3).

        Raises:
            InputError: not a picture of one or three bytes for each pixel.
        """
        from PIL import Image

        picture = Image.fromarray(_checked(pixels))
        small = max(picture.size) <= PNG_LIMIT
        file = io.BytesIO()
        if small:
            picture.save(file, "PNG", optimize=True)
        else:
            picture.save(file, "WEBP", quality=WEBP_QUALITY, method=4)
        mime = "image/png" if small else "image/webp"
        return {"blob": self._add(file.getvalue()), "mime": mime, "width": picture.width, "height": picture.height}

    def text(self, text: str) -> Entry:
        """Reference to a text, for lists that are too long for the document."""
        return {"blob": self._add(gzip.compress(text.encode("utf-8", "replace"), compresslevel=6, mtime=0))}

    def file(self, name: str, read: Callable[[], bytes], mime: str, width: int, height: int) -> Entry:
        """Reference to an encoded picture, which ``read`` gives as it is; ``name`` tells it from all others."""
        return {"blob": self._later(name, read), "mime": mime, "width": width, "height": height}

    def blocks(self) -> list[str]:
        """The base64 texts by number."""
        return list(self._texts)

    def _add(self, data: bytes) -> int:
        key = hashlib.blake2b(data, digest_size=16).digest()
        if key not in self._numbers:
            self._numbers[key] = self._keep(data)
        return self._numbers[key]

    def _later(self, name: str, read: Callable[[], bytes]) -> int:
        return self._add(read())

    def _keep(self, data: bytes) -> int:
        """Keep data that were not there yet; their number."""
        self._texts.append(base64.b64encode(data).decode("ascii"))
        return len(self._texts) - 1


def _checked(pixels: Array) -> Array:
    picture = np.asarray(pixels)
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[:, :, 0]
    fits = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)
    if picture.dtype != np.uint8 or not fits or 0 in picture.shape:
        raise InputError(
            "a sample is not a picture that a page can show",
            got=f"{picture.dtype} of shape {picture.shape}",
            expected="uint8 of shape (H, W), (H, W, 1) or (H, W, 3)",
        )
    return np.ascontiguousarray(picture)


def storage(values: Array, *, exact: bool = False) -> np.dtype[Any]:
    """The smallest of the page's types (u1, i4, f2, f4, f8) that keeps ``values``.

    Whole numbers stay whole. Others keep single precision; an array of more than :data:`SMALL` entries is halved where
    every entry keeps three digits, counting from a thousandth of the largest. Beyond single precision's range: double.
    """
    if values.dtype == np.bool_ or values.dtype == np.uint8:
        return np.dtype("<u1")
    if values.dtype.kind in "iu":
        fits = values.size == 0 or (values.min() >= -(2**31) and values.max() < 2**31)
        return np.dtype("<i4") if fits else np.dtype("<f8")
    if not exact and values.size > SMALL and _keeps_digits(values, np.dtype("<f2"), 1 / 2000):
        return np.dtype("<f2")
    keeps = values.dtype.itemsize <= 4 or _keeps_digits(values, np.dtype("<f4"), 1e-6)
    return np.dtype("<f4") if keeps else np.dtype("<f8")


def _keeps_digits(values: Array, dtype: np.dtype[Any], tolerance: float) -> bool:
    numbers = values[np.isfinite(values)].astype(np.float64)
    if numbers.size == 0:
        return True
    with np.errstate(over="ignore"):
        kept = numbers.astype(dtype).astype(np.float64)
    magnitude = np.abs(numbers)
    allowed = tolerance * np.maximum(magnitude, magnitude.max() / 1000)
    return bool(np.all(np.isfinite(kept)) and np.all(np.abs(kept - numbers) <= allowed))
