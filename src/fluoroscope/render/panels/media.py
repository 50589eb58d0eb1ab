"""Media: pictures and texts over the steps of a training, within what a page can carry."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from fluoroscope.render.blobs import Blobs
from fluoroscope.render.panels.registry import Panel, builder, head
from fluoroscope.results import Array, ImageSeries, Media, TextSeries

__all__ = ["media_panel"]

BYTES = 24 << 20
"""Bytes of pictures that a page carries, where it carries them itself."""
PICTURES = 4000
CHARACTERS = 2_000_000
TEXTS = 4000


@builder("media")
def media_panel(results: list[Media], blobs: Blobs) -> Panel:
    """One panel per result; of more pictures and texts than a page has room for, moments that are evenly spaced."""
    result = results[0]
    limit = None if blobs.apart else BYTES
    images, left_images = _fitting([(s.steps, s.parts, s.sizes) for s in result.images.values()], PICTURES, limit)
    lengths = [np.array([len(t) for t in s.texts], np.int64) for s in result.texts.values()]
    texts, left_texts = _fitting(
        [(s.steps, s.parts, n) for s, n in zip(result.texts.values(), lengths, strict=True)], TEXTS, CHARACTERS
    )
    left = left_images + left_texts
    notes = [f"{left:,} pictures and texts have no room on this page; those shown are evenly spaced"] if left else []
    shown = head(result)
    return {
        **shown,
        "notes": [*shown["notes"], *notes],
        "images": [
            {"name": name, "items": [_image(name, series, i, blobs) for i in kept.tolist()]}
            for (name, series), kept in zip(result.images.items(), images, strict=True)
        ],
        "texts": [
            {"name": name, "items": [_text(series, i) for i in kept.tolist()]}
            for (name, series), kept in zip(result.texts.items(), texts, strict=True)
        ],
    }


def _image(name: str, series: ImageSeries, index: int, blobs: Blobs) -> dict[str, Any]:
    key = f"{name}\0{index}\0{series.steps[index]}\0{series.times[index]}\0{series.parts[index]}"
    about = (series.mimes[index], int(series.widths[index]), int(series.heights[index]))
    read = functools.partial(series.picture, index)
    return {"step": int(series.steps[index]), "part": int(series.parts[index]), "image": blobs.file(key, read, *about)}


def _text(series: TextSeries, index: int) -> dict[str, Any]:
    return {"step": int(series.steps[index]), "part": int(series.parts[index]), "text": series.texts[index]}


def _fitting(series: Sequence[tuple[Array, Array, Array]], most: int, limit: int | None) -> tuple[list[Array], int]:
    """Which items of each series (steps, parts, sizes) are shown, and how many are not: every second moment of the
    largest series is left out until the rest fits, never the last.
    """
    moments = [np.cumsum(parts == 0) - 1 if len(parts) else parts for _, parts, _ in series]
    strides = [1] * len(series)
    kept = [_every(m, 1) for m in moments]
    while True:
        sizes = [int(size[k].sum()) for (_, _, size), k in zip(series, kept, strict=True)]
        count = sum(len(k) for k in kept)
        if count <= most and (limit is None or sum(sizes) <= limit):
            break
        weights = sizes if limit is not None and sum(sizes) > limit else [len(k) for k in kept]
        at = int(np.argmax(weights))
        fewer = _every(moments[at], 2 * strides[at])
        # a series of one moment can only be left out altogether
        kept[at] = fewer if len(fewer) < len(kept[at]) else fewer[:0]
        strides[at] *= 2
    return kept, sum(len(m) for m in moments) - sum(len(k) for k in kept)


def _every(moments: Array, stride: int) -> Array:
    last = moments.max(initial=-1)
    return np.flatnonzero((moments % stride == 0) | (moments == last))
