"""One picture file, decoded with care: its header is judged before its pixels, and every failure names the file."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fluoroscope.errors import FluoroscopeError, InputError, nearest

__all__ = ["FORMATS", "MAX_PIXELS", "decoded", "read_image", "in_rgb"]

Image.init()
FORMATS = tuple(f for f in ("PNG", "JPEG", "MPO", "WEBP", "BMP", "GIF", "TIFF", "PPM") if f in Image.OPEN)
"""Only these decoders of PIL see a file: others start programs or are rarely looked after. Phones write MPO as .jpg."""

MAX_PIXELS = 178_956_970
"""Larger pictures are refused by their header, before anything is decoded; half a gigabyte of RGB."""


def read_image(path: str | os.PathLike[str]) -> Image.Image:
    """One picture in RGB. Raises InputError: missing, empty, too large, truncated, corrupt, or not a picture."""
    return decoded(Path(path).expanduser())[0]


def decoded(path: Path) -> tuple[Image.Image, tuple[str, ...]]:
    """One picture in RGB, and notes on what was assumed. Raises InputError as :func:`read_image` does."""
    _check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL warns of size and odd metadata; size is checked below
            with Image.open(path, formats=FORMATS) as image:
                _check_size(path, image.width * image.height, f"{image.width:,} x {image.height:,} pixels")
                return in_rgb(image)
    except FluoroscopeError:
        raise
    except Image.DecompressionBombError as error:
        count = re.search(r"\d+", str(error))
        raise _too_large(path, f"{int(count[0]):,} pixels" if count else str(error)) from error
    except UnidentifiedImageError as error:
        raise _not_an_image(path) from error
    except PermissionError as error:
        raise InputError(f"{path} can't be read", got=error.strerror or "no permission") from error
    except Exception as error:  # decoders meet broken bytes with every kind of exception
        text = str(error)
        what = "is truncated" if "truncated" in text.lower() else "is corrupt"
        raise InputError(
            f"{path} {what}", got=f"{type(error).__name__}: {text}", remedy="fetch or copy it again"
        ) from error


def _check_file(path: Path) -> None:
    try:
        if path.is_file():
            if path.stat().st_size == 0:
                raise InputError(f"{path} is empty", got="0 bytes", expected="a picture")
            return
        there = path.exists()
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError as error:
        raise InputError(f"{path} can't be read", got=error.strerror or str(error)) from error
    if there:
        raise InputError(f"{path} is not a regular file", expected="a picture or a folder")
    raise InputError(f"there is no file or folder {path}", nearest=nearest(path.name, beside))


def _check_size(path: Path, pixels: int, shown: str) -> None:
    if pixels > MAX_PIXELS:
        raise _too_large(path, shown)


def _too_large(path: Path, shown: str) -> InputError:
    return InputError(
        f"{path} is too large to be decoded",
        got=shown,
        expected=f"at most {MAX_PIXELS:,} pixels",
        remedy="scale it down or cut out a part first",
    )


def _not_an_image(path: Path) -> InputError:
    try:
        with path.open("rb") as handle:
            head = handle.read(24)
    except OSError:
        head = b""
    pointer = head.startswith(b"version https://git-lfs")
    return InputError(
        f"{path} is not a picture",
        got="a pointer of Git LFS" if pointer else f"bytes {head[:8]!r}",
        expected=" ".join(FORMATS).lower(),
        remedy="git lfs pull" if pointer else None,
    )


def in_rgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """The decoded picture as RGB, upright, on white; with notes on what was assumed."""
    notes = [f"the first of {n} frames"] if (n := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO" else []
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        upright = Image.fromarray(np.round(np.asarray(upright, np.float64) / 257).astype(np.uint8))
    elif upright.mode in ("I", "F"):
        upright, note = _from_numbers(upright)
        notes.append(note)
    if upright.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in upright.info:
        coloured = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured)
    return upright.convert("RGB"), tuple(notes)


def _from_numbers(image: Image.Image) -> tuple[Image.Image, str]:
    """32-bit pixels: fractions in [0, 1] times 255, values in 0 ... 255 as they are, others stretched."""
    values = np.asarray(image, np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if image.mode == "F" and low >= 0 and high <= 1:
        low, high, note = 0.0, 1.0, "32-bit fractions, read as 0 to 1"
    elif low >= 0 and high <= 255:
        low, high, note = 0.0, 255.0, "32-bit values, read as 0 to 255"
    else:
        note = f"32-bit values, scaled from {low:g} ... {high:g}"
    scaled = np.nan_to_num((values - low) / ((high - low) or 1.0), nan=0.0, posinf=1.0, neginf=0.0)
    return Image.fromarray(np.round(scaled.clip(0, 1) * 255).astype(np.uint8)), note
