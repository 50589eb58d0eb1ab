"""Number formats of stored weights: how many bytes an entry takes, and its value as a float.

Names are those of the safetensors format. Formats of eight bits are read through a table of their 256 values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

__all__ = ["FORMATS", "Format"]


@dataclass(frozen=True)
class Format:
    """Bytes of one entry, the name that torch gives the format, and the way from bytes to float32 or float64."""

    bytes: int
    torch_name: str
    decode: Callable[[bytearray], Any]


def _plain(kind: str, to: str) -> Callable[[bytearray], Any]:
    return lambda raw: np.frombuffer(raw, dtype=kind).astype(to, copy=False)


def _brain(raw: bytearray) -> Any:
    """bfloat16 is the upper half of float32."""
    wide = np.frombuffer(raw, dtype="<u2").astype("<u4")
    wide <<= np.uint32(16)
    return wide.view("<f4")


def _eight(exponent: int, fraction: int, finite: bool) -> Callable[[bytearray], Any]:
    return lambda raw: _table(exponent, fraction, finite)[np.frombuffer(raw, dtype=np.uint8)]


def _powers(raw: bytearray) -> Any:
    """E8M0: a power of two from 2^-127 to 2^127; 255 is NaN."""
    codes = np.frombuffer(raw, dtype=np.uint8)
    return np.where(codes == 255, np.nan, np.exp2(codes.astype(np.float64) - 127)).astype(np.float32)


def _magnitudes(raw: bytearray) -> Any:
    return np.abs(np.frombuffer(raw, dtype="<c8"))


@cache
def _table(exponent: int, fraction: int, finite: bool) -> Any:
    """The 256 values of an eight-bit float. ``finite``: only all ones is NaN and there is no infinity (E4M3)."""
    codes = np.arange(256)
    sign = np.where(codes & 0x80, -1.0, 1.0)
    power, part = (codes & 0x7F) >> fraction, codes & ((1 << fraction) - 1)
    bias = (1 << (exponent - 1)) - 1
    normal = (1 + part / (1 << fraction)) * np.exp2(power - float(bias))
    small = part / (1 << fraction) * 2.0 ** (1 - bias)
    values = sign * np.where(power == 0, small, normal)
    top = (1 << exponent) - 1
    if finite:
        values[(codes & 0x7F) == 0x7F] = np.nan
    else:
        values = np.where(power == top, np.where(part == 0, sign * np.inf, np.nan), values)
    return values.astype(np.float32)


FORMATS: dict[str, Format] = {
    "F64": Format(8, "float64", _plain("<f8", "<f8")),
    "F32": Format(4, "float32", _plain("<f4", "<f4")),
    "F16": Format(2, "float16", _plain("<f2", "<f4")),
    "BF16": Format(2, "bfloat16", _brain),
    "F8_E4M3": Format(1, "float8_e4m3fn", _eight(4, 3, finite=True)),
    "F8_E5M2": Format(1, "float8_e5m2", _eight(5, 2, finite=False)),
    "F8_E8M0": Format(1, "float8_e8m0fnu", _powers),
    "C64": Format(8, "complex64", _magnitudes),
    "I64": Format(8, "int64", _plain("<i8", "<f8")),
    "U64": Format(8, "uint64", _plain("<u8", "<f8")),
    "I32": Format(4, "int32", _plain("<i4", "<f8")),
    "U32": Format(4, "uint32", _plain("<u4", "<f8")),
    "I16": Format(2, "int16", _plain("<i2", "<f4")),
    "U16": Format(2, "uint16", _plain("<u2", "<f4")),
    "I8": Format(1, "int8", _plain("|i1", "<f4")),
    "U8": Format(1, "uint8", _plain("|u1", "<f4")),
    "BOOL": Format(1, "bool", _plain("|u1", "<f4")),
}
