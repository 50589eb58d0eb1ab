"""The examples that results are about, as a page shows them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluoroscope.render.blobs import Blobs
from fluoroscope.results import Array, Samples

__all__ = ["items", "same_samples"]


def items(samples: Samples, count: int, blobs: Blobs) -> list[dict[str, Any]]:
    """Name, picture, series and features of each of ``count`` examples; those without a name are numbered from 1."""
    return [
        {
            "name": samples.names[n] if n < len(samples.names) else f"example {n + 1}",
            "image": blobs.image(samples.images[n]) if samples.images is not None and n < len(samples.images) else None,
            "series": blobs.array(samples.series[n])
            if samples.series is not None and n < len(samples.series)
            else None,
            "padding": [list(run) for run in samples.padding(n)],
            "features": list(samples.features[n]) if n < len(samples.features) else None,
        }
        for n in range(count)
    ]


def same_samples(first: Samples, second: Samples) -> bool:
    """Whether two results are about the same examples."""
    if first.names != second.names or first.features != second.features:
        return False
    return all(_same(getattr(first, name), getattr(second, name)) for name in ("images", "series", "real", "rows"))


def _same(first: Array | None, second: Array | None) -> bool:
    if first is None or second is None:
        return first is second
    return first is second or np.array_equal(first, second)
