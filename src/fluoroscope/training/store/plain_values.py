"""Configurations and facts as plain values that JSON holds: readable again without the code they came from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence, Set
from pathlib import PurePath
from typing import Any

import numpy as np

__all__ = ["flat", "plain_values", "utf8"]

LONGEST = 2000
DEEPEST = 12


def plain_values(item: Any, depth: int = 0) -> Any:
    """``item`` out of dicts, lists, text, numbers, truth values and None.

    Dataclasses, named tuples, namespaces and mappings become dicts; arrays of up to some thousand entries lists; NaN
    and infinity the words ``"nan"``, ``"inf"``, ``"-inf"``; anything else its ``repr``, cut.
    """
    if isinstance(item, np.generic):
        item = item.item()
    if item is None or isinstance(item, bool | int):
        return item
    if isinstance(item, str):
        return utf8(item)
    if isinstance(item, float):
        return item if math.isfinite(item) else str(item)
    if depth > DEEPEST:
        return "…"
    if isinstance(item, PurePath):
        return utf8(str(item))
    inner = _mapping(item)
    if inner is not None:
        return {utf8(str(k)): plain_values(v, depth + 1) for k, v in inner.items()}
    if isinstance(item, np.ndarray) and item.size <= LONGEST:
        return plain_values(item.tolist(), depth + 1)
    if isinstance(item, Sequence | Set) and not isinstance(item, bytes | bytearray | memoryview):
        return [plain_values(v, depth + 1) for v in item]
    return _shown(item)


def _mapping(item: Any) -> Mapping[Any, Any] | None:
    if isinstance(item, Mapping):
        return item
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return {f.name: getattr(item, f.name) for f in dataclasses.fields(item)}
    if isinstance(item, tuple) and isinstance(names := getattr(item, "_fields", None), tuple):
        return dict(zip(names, item, strict=True))
    if type(item).__name__ in ("Namespace", "SimpleNamespace"):
        return dict(vars(item))
    return None


def _shown(item: Any) -> str:
    name = getattr(item, "__qualname__", None)
    text = f"{getattr(item, '__module__', '')}.{name}" if isinstance(name, str) else repr(item)
    return utf8(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")


def utf8(text: str) -> str:
    """A text that files and pages can hold: halves of surrogate pairs, which UTF-8 has no place for, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, keys joined by dots: for tables and for the differences of runs."""
    if not isinstance(config, Mapping):
        return {prefix: config} if prefix else {}
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        found.update(flat(value, name) if isinstance(value, Mapping) and value else {name: value})
    return found
