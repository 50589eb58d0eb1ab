"""Tensors, histograms and pictures as summaries hold them.

Source: tensor.proto, types.proto, histogram.proto and summary.proto of TensorFlow.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from fluoroscope.integrations.tensorboard.wire import BYTES, EIGHT, FOUR, VARINT, Malformed, fields, signed
from fluoroscope.results import Array

__all__ = ["Tensor", "bucket_histogram", "encoded_image", "read_tensor", "scalar_slot", "triple_histogram"]

DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 17: "<u2", 19: "<f2"}
DTYPES |= {22: "<u4", 23: "<u8"}
STRING, BFLOAT16, HALF = 7, 14, 19
FLOATS = {5: (FOUR, "<f4"), 6: (EIGHT, "<f8")}
INTEGERS = {7, 10, 11, 13, 16, 17}  # int, int64, bool, half (as its 16 bits), uint32, uint64


class Tensor(NamedTuple):
    """``values`` in the tensor's shape, or ``strings`` in C order where it holds text."""

    values: Array
    strings: tuple[bytes, ...] | None = None


def read_tensor(data: bytes, start: int, end: int) -> Tensor:
    """The tensor ``data[start:end]``. Raises Malformed."""
    dtype, content = 0, None
    shape: tuple[int, ...] = ()
    strings: list[bytes] = []
    numbers: list[float] = []
    for field in fields(data, start, end):
        if field.number == 1:
            dtype = field.value
        elif field.number == 2:
            shape = _shape(data, field.start, field.end)
        elif field.number == 4 and field.wire == BYTES:
            content = data[field.start : field.end]
        elif field.number == 8 and field.wire == BYTES:
            strings.append(data[field.start : field.end])
        elif field.number in FLOATS:
            kind = FLOATS[field.number][1]
            numbers += np.frombuffer(data[field.start : field.end], kind).tolist()
        elif field.number in INTEGERS:
            numbers += _integers(data, field.wire, field.start, field.end, field.value)
    if dtype == STRING:
        return Tensor(np.zeros(shape), tuple(strings))
    return Tensor(_filled(dtype, shape, content, numbers))


def _shape(data: bytes, start: int, end: int) -> tuple[int, ...]:
    sizes = []
    for field in fields(data, start, end):
        if field.number == 2 and field.wire == BYTES:
            inner = [f.value for f in fields(data, field.start, field.end) if f.number == 1 and f.wire == VARINT]
            sizes.append(signed(inner[0]) if inner else 0)
    return tuple(sizes)


def _integers(data: bytes, wire: int, start: int, end: int, value: int) -> list[float]:
    if wire == VARINT:
        return [signed(value)]
    out, number, shift = [], 0, 0
    for byte in data[start:end]:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            out.append(float(signed(number & 0xFFFFFFFFFFFFFFFF)))
            number = shift = 0
    return out


def _filled(dtype: int, shape: tuple[int, ...], content: bytes | None, numbers: list[float]) -> Array:
    """The values; fewer of them than the shape has places repeat the last one, as the format says."""
    size = int(np.prod(shape, dtype=np.int64)) if shape else 1
    if min(shape, default=1) < 0 or size > 1 << 28:
        raise Malformed(f"a tensor of the shape {shape}")
    if content is not None:
        return _from_bytes(dtype, shape, size, content)
    if dtype in (HALF, BFLOAT16):
        bits = np.array(numbers, np.uint16)
        numbers = (bits.view("<f2") if dtype == HALF else _bfloat(bits)).astype(float).tolist()
    if len(numbers) > size:
        raise Malformed(f"{len(numbers)} values in a tensor of {size}")
    rest = [numbers[-1] if numbers else 0.0] * (size - len(numbers))
    return np.array(numbers + rest, np.float64).reshape(shape)


def _from_bytes(dtype: int, shape: tuple[int, ...], size: int, content: bytes) -> Array:
    kind = "<u2" if dtype == BFLOAT16 else DTYPES.get(dtype)
    if kind is None or len(content) != size * np.dtype(kind).itemsize:
        raise Malformed(f"{len(content)} bytes in a tensor of {size} values of type {dtype}")
    raw = np.frombuffer(content, kind)
    return (_bfloat(raw) if dtype == BFLOAT16 else raw).reshape(shape)


def _bfloat(bits: Array) -> Array:
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def scalar_slot(data: bytes, start: int, end: int) -> tuple[int, str] | None:
    """Place and type of the one number of a tensor, where it lies there as it is; None for any other tensor."""
    dtype = 0
    slot: tuple[int, str] | None = None
    for field in fields(data, start, end):
        if field.number == 1:
            dtype = field.value
        elif field.number == 2 and any(size != 1 for size in _shape(data, field.start, field.end)):
            return None
        elif field.number == 4 and field.wire == BYTES and DTYPES.get(dtype):
            slot = (field.start, DTYPES[dtype]) if np.dtype(DTYPES[dtype]).itemsize == field.end - field.start else None
        elif field.number in FLOATS and slot is None:
            kind = FLOATS[field.number][1]
            slot = (field.start, kind) if np.dtype(kind).itemsize == field.end - field.start else None
    return slot


def triple_histogram(values: Array) -> tuple[Array, Array]:
    """Edges (B + 1,) and counts (B,) of rows ``left, right, count`` (B, 3)."""
    if values.ndim != 2 or values.shape[1] != 3:
        raise Malformed(f"a histogram of the shape {values.shape}")
    if not len(values):
        return np.zeros(1), np.zeros(0)
    return np.append(values[:, 0], values[-1, 1]).astype(float), values[:, 2].astype(float)


def bucket_histogram(data: bytes, start: int, end: int) -> tuple[Array, Array]:
    """Edges and counts of the older format, which has right ends of buckets and the extremes of the data.

    The first bucket begins at the least value and the last one ends at the greatest, since the right ends of the format
    reach from -1.8e308 to 1.8e308.
    """
    low = high = 0.0
    lists: dict[int, list[float]] = {6: [], 7: []}
    for field in fields(data, start, end):
        if field.number in (1, 2) and field.wire == EIGHT:
            (value,) = struct.unpack_from("<d", data, field.start)
            low, high = (value, high) if field.number == 1 else (low, value)
        elif field.number in lists:
            lists[field.number] += np.frombuffer(data[field.start : field.end], "<f8").tolist()
    right, counts = np.array(lists[6]), np.array(lists[7])
    if len(right) != len(counts):
        raise Malformed(f"a histogram of {len(counts)} counts and {len(right)} limits")
    if not len(counts):
        return np.zeros(1), np.zeros(0)
    filled = np.flatnonzero(counts)
    if not len(filled):
        return np.array([low, high]), np.zeros(1)
    first, last = filled[0], filled[-1]
    before = max(low, right[first - 1]) if first else low
    edges = np.concatenate([[min(before, right[first])], right[first:last], [max(min(high, right[last]), before)]])
    return np.maximum.accumulate(edges), counts[first : last + 1]


def encoded_image(data: bytes, start: int, end: int) -> bytes:
    """The encoded picture of the older format."""
    found = [f for f in fields(data, start, end) if f.number == 4 and f.wire == BYTES]
    if not found:
        raise Malformed("an image without a picture")
    return data[found[-1].start : found[-1].end]
