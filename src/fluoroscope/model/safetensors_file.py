"""Safetensors files read piece by piece: the header is checked against the file before a single value is read.

The file is read through a plain descriptor, not mapped, so that what was read does not stay in memory.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluoroscope.errors import InputError, ModelError
from fluoroscope.model.number_formats import FORMATS

__all__ = ["SafetensorsFile", "StoredTensor"]

HEADER_LIMIT = 100_000_000
"""Bytes of a header, at most: the limit of the format itself."""
LFS = b"version https://git-lfs"


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor lies in a file: ``start`` and ``end`` count bytes from the beginning of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class SafetensorsFile:
    """The table of contents of one file. ``unreadable`` has tensors whose number format is not known here."""

    path: Path
    tensors: tuple[StoredTensor, ...]
    unreadable: tuple[StoredTensor, ...]

    @classmethod
    def open(cls, path: Path) -> SafetensorsFile:
        """Read and check the header: sizes, places and number formats, before anything is allocated for values.

        Raises:
            InputError: the file can't be read.
            ModelError: it is truncated, corrupt, or its header promises what the file does not hold.
        """
        try:
            size = path.stat().st_size
            with path.open("rb") as handle:
                header, begin = _header(path.name, handle, size)
        except OSError as error:
            raise InputError(f"{path.name} can't be read", got=error.strerror or str(error)) from error
        entries = [_entry(path.name, name, said, begin) for name, said in header.items() if name != "__metadata__"]
        _check_places(path.name, entries, begin, size)
        known = [e for e in entries if e.dtype in FORMATS]
        for entry in known:
            _check_size(path.name, entry)
        return cls(path, tuple(known), tuple(e for e in entries if e.dtype not in FORMATS))

    def read(self, tensor: StoredTensor, start: int, stop: int) -> Any:
        """Entries ``start`` to ``stop`` of a tensor in their stored order, as a NumPy array of floats.

        Raises:
            ModelError: the file became shorter since it was opened.
        """
        form = FORMATS[tensor.dtype]
        wanted = (stop - start) * form.bytes
        with self.path.open("rb", buffering=0) as handle:
            handle.seek(tensor.start + start * form.bytes)
            buffer = bytearray(wanted)
            got, view = 0, memoryview(buffer)
            while got < wanted:
                count = handle.readinto(view[got:])
                if not count:
                    raise _broken(self.path.name, f"{got:,} of {wanted:,} bytes of {tensor.name!r}")
                got += count
        return form.decode(buffer)


def _header(name: str, handle: Any, size: int) -> tuple[dict[str, Any], int]:
    start = handle.read(8)
    if start.startswith(LFS[:8]):
        raise ModelError(f"{name} is a pointer of Git LFS, not the weights", remedy="git lfs pull")
    if start.lstrip()[:1] == b"<":
        raise ModelError(f"{name} is a web page, not the weights", remedy="download the file itself")
    if len(start) < 8:
        raise _broken(name, f"{size} bytes")
    length = struct.unpack("<Q", start)[0]
    if length > HEADER_LIMIT or 8 + length > size:
        raise _broken(name, f"{size:,} bytes, but its header alone takes {8 + length:,}")
    text = handle.read(length)
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _broken(name, f"a header that is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise _broken(name, "a header that is no table of tensors")
    return header, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {twice!r} stands there twice")
    return found


def _entry(file: str, name: str, said: Any, begin: int) -> StoredTensor:
    """One line of the header, every part of the type that it must have."""
    try:
        dtype, shape, (start, end) = said["dtype"], said["shape"], said["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise _broken(file, f"no dtype, shape and data_offsets for {name!r}") from error
    whole = isinstance(shape, list) and all(_count(n) for n in shape) and _count(start) and _count(end)
    if not whole or not isinstance(dtype, str) or start > end:
        raise _broken(file, f"{name!r} with dtype {dtype!r}, shape {shape!r}, bytes {start!r} to {end!r}")
    return StoredTensor(name, dtype, tuple(shape), begin + start, begin + end)


def _count(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**63


def _check_places(file: str, entries: Iterable[StoredTensor], begin: int, size: int) -> None:
    """No two tensors share bytes, none lies outside the file, and nothing is left over."""
    at, before = begin, ""
    for entry in sorted(entries, key=lambda e: (e.start, e.end)):
        if entry.start < at:
            raise _broken(file, f"{entry.name!r} lies over {before!r}")
        if entry.start > at:
            raise _broken(file, f"{entry.start - at:,} bytes before {entry.name!r} that belong to nothing")
        at, before = entry.end, entry.name
    if at != size:
        raise _broken(file, f"{size:,} bytes, but its header promises {at:,}")


def _check_size(file: str, entry: StoredTensor) -> None:
    wanted = entry.size * FORMATS[entry.dtype].bytes
    if wanted != entry.end - entry.start:
        raise _broken(
            file, f"{entry.end - entry.start:,} bytes for {entry.name!r}, {entry.dtype} of shape {list(entry.shape)}"
        )


def _broken(file: str, got: str) -> ModelError:
    return ModelError(f"{file} is not a complete safetensors file", got=got, remedy="fetch or copy it again")
