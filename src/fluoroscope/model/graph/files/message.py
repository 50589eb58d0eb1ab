"""Whether a file is an ONNX message, as far as can be told without the package that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import IO

__all__ = ["is_message"]

GRAPH, LENGTH, FIXED = 7, 2, {1: 8, 5: 4}


def is_message(file: Path) -> bool:
    """Whether the outermost fields of a protobuf message fill ``file`` to its last byte, a graph among them. Contents
    are jumped over, so that the size of the file does not matter.
    """
    fields, end = set(), file.stat().st_size
    with file.open("rb") as handle:
        while handle.tell() < end:
            key = _number(handle)
            if key is None or not key >> 3:
                return False
            fields.add(key >> 3)
            kind = key & 7
            size = _number(handle) if kind in (0, LENGTH) else FIXED.get(kind)
            if size is None:
                return False
            if kind and handle.seek(size, 1) > end:
                return False
    return GRAPH in fields


def _number(handle: IO[bytes]) -> int | None:
    """A number of up to ten bytes, seven bits in each; None where it does not end."""
    found = 0
    for place in range(10):
        byte = handle.read(1)
        if not byte:
            return None
        found |= (byte[0] & 127) << (7 * place)
        if byte[0] < 128:
            return found
    return None
