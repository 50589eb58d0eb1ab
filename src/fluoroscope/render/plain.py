"""Anything as plain JSON values: text, numbers, lists and dicts, with numbers that are not finite spelled out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["plain"]

LONG = 64
"""Arrays in provenance with more entries than this are described, not listed."""


def plain(item: Any) -> Any:
    """``item`` as JSON values: ``"nan"``, ``"inf"``, ``"-inf"`` for such numbers, ``str`` of what JSON lacks."""
    if isinstance(item, np.generic):
        item = item.item()
    if item is None or isinstance(item, (bool, int, str)):
        return item
    if isinstance(item, float):
        return item if math.isfinite(item) else repr(item)
    if isinstance(item, Mapping):
        return {str(key): plain(value) for key, value in item.items()}
    if isinstance(item, np.ndarray):
        return plain(item.tolist()) if item.size <= LONG else f"{item.dtype} array of shape {item.shape}"
    if isinstance(item, (list, tuple)):
        return [plain(value) for value in item]
    if isinstance(item, (set, frozenset)):
        return sorted(plain(value) for value in item)
    return str(item)
