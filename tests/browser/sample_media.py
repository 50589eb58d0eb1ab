"""Pictures and texts as a training logs them, hostile names and texts included."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from fluoroscope.results import ImageSeries, Media, TextSeries
from tests.browser.sample_results import BREAKOUT, RTL

__all__ = ["media"]


def _encoded(level: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (24, 16), (level, 40, 90)).save(file, kind)
    return file.getvalue()


def media() -> Media:
    """Two series of pictures, one of two at once, and a series of texts."""
    steps = list(range(0, 50, 10))
    twice = [step for step in steps for _ in range(2)]
    texts = TextSeries(
        steps=np.array(steps),
        times=np.zeros(5),
        parts=np.zeros(5, int),
        texts=tuple(f"text at {step} {BREAKOUT} {RTL}" for step in steps),
    )
    return Media(
        title="Logged",
        images={
            BREAKOUT: ImageSeries.of(steps, [_encoded(5 * s) for s in steps]),
            "pairs": ImageSeries.of(twice, [_encoded(5 * s, "JPEG") for s in twice], parts=[0, 1] * 5),
        },
        texts={f"note {BREAKOUT}": texts},
    )
