"""How columns become blobs: little-endian NumPy, steps by their stride where they have one."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from fluoroscope.results import Array

__all__ = [
    "MISSING",
    "missing",
    "pack_counts",
    "pack_steps",
    "pack_table",
    "present",
    "unpack_counts",
    "unpack_floats",
    "unpack_steps",
    "unpack_table",
]

_REGULAR = struct.Struct("<cqq")
FLOAT, SMALL, INTEGER, COUNT = np.dtype("<f8"), np.dtype("<f4"), np.dtype("<i8"), np.dtype("<u2")

MISSING = 0x7FC0F15C
"""The one NaN among float32 that means "was not recorded"; every other NaN was seen."""


def missing(*shape: int) -> Array:
    """An array of float32 in which nothing is recorded yet."""
    return np.full(shape, MISSING, np.uint32).view(np.float32)


def present(values: Array) -> Array:
    """Where a float32 array holds something that was recorded."""
    found: Array = np.ascontiguousarray(values).view(np.uint32) != MISSING
    return found


def pack_steps(steps: Array) -> bytes:
    """Steps (S,) int64: first and stride where the stride is constant (17 bytes), else all of them."""
    if len(steps) == 0:
        return b""
    if len(steps) == 1:
        return _REGULAR.pack(b"A", int(steps[0]), 0)
    with np.errstate(over="ignore"):
        strides = np.diff(steps)
    if (strides == strides[0]).all():
        return _REGULAR.pack(b"A", int(steps[0]), int(strides[0]))
    return b"R" + np.ascontiguousarray(steps, INTEGER).tobytes()


def unpack_steps(blob: bytes, count: int) -> Array:
    """The inverse of :func:`pack_steps`."""
    if blob[:1] == b"A":
        _, first, stride = _REGULAR.unpack(blob)
        found: Array = np.arange(count, dtype=np.int64) * stride + first
        return found
    return np.frombuffer(blob, INTEGER, offset=1) if blob else np.zeros(0, np.int64)


def unpack_floats(blobs: list[bytes]) -> Array:
    """One float64 column out of the blobs of consecutive chunks."""
    return np.frombuffer(blobs[0] if len(blobs) == 1 else b"".join(blobs), FLOAT)


def pack_table(table: Array) -> bytes:
    """A table (S, L) of float32: bits that differ from the row before, highest bytes of all numbers first, deflated."""
    bits = np.ascontiguousarray(table, SMALL).view("<u4").copy()
    bits[1:] ^= bits[:-1].copy()
    return zlib.compress(bits.view(np.uint8).reshape(-1, 4).T.tobytes(), 1)


def unpack_table(blob: bytes, columns: int) -> Array:
    """The inverse of :func:`pack_table`."""
    planes = np.frombuffer(zlib.decompress(blob), np.uint8).reshape(4, -1)
    bits = np.ascontiguousarray(planes.T).view("<u4").reshape(-1, columns)
    return np.bitwise_xor.accumulate(bits, axis=0).view(SMALL)


def pack_counts(counts: Array, *, fast: bool = False) -> bytes:
    """Counts (..., B): only the bins in which anything was counted, low bytes before high bytes, deflated.

    Where that leaves more zeros (weights hardly change), the differences from the entry before along the first axis.
    ``fast``: neither of the two, for what is soon packed again.
    """
    if not counts.size:
        return b""
    used = np.flatnonzero(counts.reshape(-1, counts.shape[-1]).any(0))
    low, high = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 0)
    part = np.ascontiguousarray(counts[..., low:high], COUNT)
    differs = False
    if not fast:
        change = np.diff(part, axis=0, prepend=np.zeros_like(part[:1]))  # modulo 2**16
        differs = bool(np.count_nonzero(change) < np.count_nonzero(part))
        part = change if differs else part
    small = bool(part.size == 0 or part.max() < 256)
    body = part.astype(np.uint8) if small else np.moveaxis(part.view(np.uint8).reshape(*part.shape, 2), -1, 0)
    data = body.tobytes()
    return struct.pack("<HHB", low, high, small | 2 * differs | 4 * fast) + (data if fast else zlib.compress(data, 1))


def unpack_counts(blob: bytes, shape: tuple[int, ...]) -> Array:
    """The inverse of :func:`pack_counts` for an array of ``shape``."""
    counts = np.zeros(shape, np.uint16)
    if blob:
        low, high, flags = struct.unpack_from("<HHB", blob)
        small, differs, plain = flags & 1, flags & 2, flags & 4
        inner = (*shape[:-1], high - low)
        raw = np.frombuffer(blob[5:] if plain else zlib.decompress(blob[5:]), np.uint8)
        if not small:
            raw = np.ascontiguousarray(np.moveaxis(raw.reshape(2, *inner), 0, -1)).view(COUNT)
        part = raw.reshape(inner).astype(np.uint16)
        counts[..., low:high] = np.add.accumulate(part, axis=0, dtype=np.uint16) if differs else part
    return counts
