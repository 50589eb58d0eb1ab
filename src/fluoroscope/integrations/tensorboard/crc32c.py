"""CRC-32C (Castagnoli) of many short records at once.

The sum is affine over GF(2): ``crc(m) = c_L xor XOR_i T_{L-1-i}[m_i]``, where ``T_k[b]`` is the contribution of byte b
with k bytes after it. So equally long records are looked up column by column, without a loop over records. Records and
their lengths are framed with the sum rotated right by 15 bits plus a constant, which the format calls masked.

Source: RFC 3720, appendix B.4 (polynomial 0x1EDC6F41, reflected 0x82F63B78).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from fluoroscope.results import Array

__all__ = ["crc32c", "crc32c_rows", "masked"]

POLYNOMIAL = 0x82F63B78
MASK_DELTA = 0xA282EAD8
ALL = 0xFFFFFFFF
BLOCK = 512  # bytes of a long message that are summed side by side


@cache
def _table() -> Array:
    """Next state for each low byte of the state."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(POLYNOMIAL), table >> 1).astype(np.uint32)
    return table


_POSITIONS: list[Array] = []
"""``_POSITIONS[k]`` is ``T_k``."""


def _positions(count: int) -> list[Array]:
    table = _table()
    if not _POSITIONS:
        _POSITIONS.append(table)
    while len(_POSITIONS) < count:
        last = _POSITIONS[-1]
        _POSITIONS.append(table[last & 0xFF] ^ (last >> np.uint32(8)))
    return _POSITIONS


def _shift(states: Array, count: int) -> Array:
    """States (N,) after ``count`` zero bytes, count at least 4: the four bytes of a state are a message themselves."""
    tables = _positions(count)
    out = np.zeros(len(states), np.uint32)
    for i in range(4):
        out ^= tables[count - 1 - i][(states >> np.uint32(8 * i)) & np.uint32(0xFF)]
    return out


def _linear(rows: Array) -> Array:
    """The part (N,) of the sums that depends on the bytes (N, L): start state 0, no final inversion."""
    length = rows.shape[1]
    tables = _positions(length)
    out = np.zeros(len(rows), np.uint32)
    for i in range(length):
        out ^= tables[length - 1 - i].take(rows[:, i])
    return out


@cache
def _constant(length: int) -> int:
    """The sum of ``length`` zero bytes, before the final inversion."""
    state = ALL
    table = _table()
    for _ in range(min(length, 3)):
        state = int(table[state & 0xFF]) ^ (state >> 8)
    left = length - min(length, 3)
    while left:
        part = min(left, BLOCK)
        if part < 4:
            for _ in range(part):
                state = int(table[state & 0xFF]) ^ (state >> 8)
        else:
            state = int(_shift(np.array([state], np.uint32), part)[0])
        left -= part
    return state


def crc32c_rows(rows: Array) -> Array:
    """Sums (N,) of the rows of ``uint8`` (N, L), L at most a few hundred."""
    return _linear(rows) ^ np.uint32(_constant(rows.shape[1])) ^ np.uint32(ALL)


def crc32c(message: Array | bytes) -> int:
    """The sum of one message of any length."""
    data = np.frombuffer(message, np.uint8) if isinstance(message, (bytes, memoryview)) else message
    head = len(data) % BLOCK
    state = int(_linear(data[None, :head])[0]) ^ _constant(head)
    if len(data) > head:
        for part in _linear(data[head:].reshape(-1, BLOCK)).tolist():
            state = _after_block(state) ^ part
    return state ^ ALL


def _after_block(state: int) -> int:
    tables = _block_tables()
    return tables[0][state & 255] ^ tables[1][state >> 8 & 255] ^ tables[2][state >> 16 & 255] ^ tables[3][state >> 24]


@cache
def _block_tables() -> tuple[list[int], ...]:
    return tuple(_positions(BLOCK)[BLOCK - 1 - i].tolist() for i in range(4))


def masked(crc: Array | int) -> Array:
    """The sums as the format stores them."""
    wide = np.asarray(crc, np.uint64)
    rotated = ((wide >> np.uint64(15)) | (wide << np.uint64(17))) & np.uint64(ALL)
    return ((rotated + np.uint64(MASK_DELTA)) & np.uint64(ALL)).astype(np.uint32)
