"""Records of an event file: where each begins, and whether it is whole.

A record is ``length (8 bytes), masked CRC of the length (4), content, masked CRC of the content (4)``, little-endian.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from fluoroscope.integrations.tensorboard.crc32c import crc32c, crc32c_rows, masked
from fluoroscope.results import Array

__all__ = ["HEAD", "TAIL", "Frames", "framed", "framed_rows", "intact", "split"]

HEAD, TAIL = 12, 4
LONG = 1024
"""Contents longer than this are summed one by one, shorter ones together with all others of their length."""
ROWS = 1 << 14
"""Records that are summed at once: as many as fit a processor's cache."""


class Frames(NamedTuple):
    """Places of contents (N,), their lengths (N,), where the last whole record ends, and why reading ended there.

    ``trouble`` is empty where the file just ends, or ends within a record that may still be in writing.
    """

    starts: Array
    lengths: Array
    end: int
    trouble: str


def split(data: Array, offset: int = 0, most: int = 1 << 62) -> Frames:
    """Walk over up to ``most`` records of ``data`` (uint8) from ``offset``. No content is looked at."""
    starts: list[int] = []
    lengths: list[int] = []
    view = memoryview(data)  # type: ignore[arg-type]
    size = len(view)
    read = struct.Struct("<QI").unpack_from
    known: dict[int, int] = {}
    trouble = ""
    at = offset
    while at + HEAD <= size and len(starts) < most:
        length, crc = read(view, at)
        expected = known.get(length)
        if expected is None:
            expected = known[length] = int(masked(crc32c(struct.pack("<Q", length))))
        if crc != expected:
            trouble = "the length of the record does not agree with its checksum, so what follows can't be found"
            break
        end = at + HEAD + length + TAIL
        if end > size:
            break
        starts.append(at + HEAD)
        lengths.append(length)
        at = end
    return Frames(np.array(starts, np.int64), np.array(lengths, np.int64), at, trouble)


def intact(data: Array, frames: Frames) -> Array:
    """Whether each record's content agrees with its checksum (N,)."""
    good = np.ones(len(frames.starts), bool)
    for length in np.unique(frames.lengths).tolist():
        which = np.flatnonzero(frames.lengths == length)
        if length > LONG:
            for i in which.tolist():
                good[i] = _whole(data, int(frames.starts[i]), length)
            continue
        columns = np.arange(length + TAIL)
        for begin in range(0, len(which), ROWS):
            part = which[begin : begin + ROWS]
            rows = data[frames.starts[part][:, None] + columns]
            stored = np.ascontiguousarray(rows[:, length:]).view("<u4")[:, 0]
            good[part] = masked(crc32c_rows(np.asfortranarray(rows[:, :length]))) == stored
    return good


def _whole(data: Array, start: int, length: int) -> bool:
    stored = int.from_bytes(data[start + length : start + length + TAIL].tobytes(), "little")
    return int(masked(crc32c(data[start : start + length]))) == stored


def framed(content: bytes) -> bytes:
    """One record around ``content``."""
    head = struct.pack("<Q", len(content))
    sums = [struct.pack("<I", int(masked(crc32c(part)))) for part in (head, content)]
    return head + sums[0] + content + sums[1]


def framed_rows(contents: Array) -> Array:
    """Records (N, HEAD + L + TAIL) around equally long ``contents`` (N, L) of uint8."""
    count, length = contents.shape
    out = np.empty((count, HEAD + length + TAIL), np.uint8)
    head = struct.pack("<Q", length)
    out[:, :8] = np.frombuffer(head, np.uint8)
    out[:, 8:HEAD] = np.frombuffer(struct.pack("<I", int(masked(crc32c(head)))), np.uint8)
    out[:, HEAD:-TAIL] = contents
    for begin in range(0, count, ROWS):
        part = slice(begin, begin + ROWS)
        sums = masked(crc32c_rows(np.asfortranarray(contents[part]))).astype("<u4")
        out[part, -TAIL:] = sums.view(np.uint8).reshape(-1, 4)
    return out
