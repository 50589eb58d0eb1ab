"""The wire format of protocol buffers: fields of a message, and messages from fields. No schema, no generated code.

Source: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["BYTES", "FOUR", "EIGHT", "VARINT", "Field", "Malformed", "chunk", "double", "fields", "float32", "number"]
__all__ += ["signed", "varint"]

VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5


class Malformed(ValueError):
    """Bytes that are no message. It is told with the place in the file, and never reaches the user."""


class Field(NamedTuple):
    """One field: its number, its wire type, and ``start`` to ``end`` of its content; ``value`` of a varint."""

    number: int
    wire: int
    start: int
    end: int
    value: int = 0


def _varint_at(data: bytes, at: int, end: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        if at >= end or shift > 63:
            raise Malformed("a number runs over the end of its message")
        byte = data[at]
        at += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found & 0xFFFFFFFFFFFFFFFF, at
        shift += 7


def fields(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """The fields of the message ``data[start:end]``. Raises Malformed."""
    last = len(data) if end is None else end
    at = start
    while at < last:
        key, at = _varint_at(data, at, last)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            begin = at
            value, at = _varint_at(data, at, last)
            yield Field(number, wire, begin, at, value)
            continue
        if wire == BYTES:
            size, at = _varint_at(data, at, last)
        elif wire in (EIGHT, FOUR):
            size = 8 if wire == EIGHT else 4
        else:
            raise Malformed(f"wire type {wire} does not exist")
        if at + size > last:
            raise Malformed("a field runs over the end of its message")
        yield Field(number, wire, at, at + size)
        at += size


def signed(value: int) -> int:
    """A varint as the signed 64-bit number it stands for."""
    return value - (1 << 64) if value >= 1 << 63 else value


def varint(value: int) -> bytes:
    """``value`` (negative ones as 64-bit two's complement) as varint."""
    left = value & 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while left >= 0x80:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """A varint field."""
    return varint(field << 3) + varint(value)


def chunk(field: int, content: bytes | str) -> bytes:
    """A field of bytes, text or an inner message."""
    raw = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | BYTES) + varint(len(raw)) + raw


def double(field: int, value: float) -> bytes:
    """A field of eight bytes."""
    return varint(field << 3 | EIGHT) + struct.pack("<d", value)


def float32(field: int, value: float) -> bytes:
    """A field of four bytes."""
    return varint(field << 3 | FOUR) + struct.pack("<f", value)
