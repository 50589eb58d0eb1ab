"""The newest rows of scalars, in a plain file beside the writer's: one ``write`` for a row, where a transaction of
SQLite takes a dozen calls of the system.

It begins with the number of the last row that the SQLite file had turned into columns when this one was begun. Every
row carries its own number and a checksum: what a power cut tore off is noticed. Columns are committed first, and then a
new file takes the old one's place at once; whoever has read SQLite's older state finds a larger number than it knows
of, and looks again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import zlib
from pathlib import Path

from fluoroscope.training.store.compaction import TailRow

__all__ = ["Numbered", "TailFile", "read_tail", "tail_path"]

_BEGIN = struct.Struct("<4sQ")
_ROW = struct.Struct("<QqqdI")
_CHECK = struct.Struct("<I")
MAGIC = b"FlT1"
SUFFIX = ".tail"

Numbered = tuple[int, int, int, float, bytes]
"""Number, layout, step, time, values."""


def tail_path(file: Path) -> Path:
    """Where the newest rows of a writer's ``file`` lie."""
    return file.with_suffix(SUFFIX)


class TailFile:
    """The file being written. Every method raises OSError where the disk does not take it, and leaves no half row."""

    def __init__(self, file: Path, base: int) -> None:
        self.path = tail_path(file)
        self._place, self._size = -1, 0
        self.begin(base)

    def begin(self, base: int) -> None:
        """Start anew, in one move: rows up to number ``base`` are columns now."""
        fresh = self.path.with_suffix(".tail-new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | getattr(os, "O_BINARY", 0)
        place = os.open(fresh, flags, 0o666)
        try:
            if os.write(place, _BEGIN.pack(MAGIC, base)) != _BEGIN.size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(fresh))
            os.replace(fresh, self.path)
        except OSError:
            os.close(place)
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise
        self._shut()
        self._place, self._size = place, _BEGIN.size

    def append(self, number: int, row: TailRow) -> None:
        """Add one row: read by others as soon as this returns, kept when the process is killed."""
        layout, step, time, values = row
        body = _ROW.pack(number, layout, step, time, len(values)) + values
        data = body + _CHECK.pack(zlib.crc32(body))
        written = 0
        try:
            written = os.write(self._place, data)
        finally:
            if written == len(data):
                self._size += written
            else:
                os.ftruncate(self._place, self._size)
        if written != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def remove(self) -> None:
        """The end: all rows are columns."""
        self._shut()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _shut(self) -> None:
        place, self._place = self._place, -1
        if place >= 0:
            os.close(place)


def read_tail(file: Path) -> tuple[int, list[Numbered]] | None:
    """The number that the tail of a writer's ``file`` begins with and its whole rows; None where there is none."""
    try:
        data = tail_path(file).read_bytes()
    except OSError:
        return None
    if len(data) < _BEGIN.size or data[:4] != MAGIC:
        return None
    rows: list[Numbered] = []
    at = _BEGIN.size
    while at + _ROW.size + _CHECK.size <= len(data):
        number, layout, step, time, size = _ROW.unpack_from(data, at)
        end = at + _ROW.size + size
        if end + _CHECK.size > len(data) or _CHECK.unpack_from(data, end)[0] != zlib.crc32(data[at:end]):
            break
        rows.append((number, layout, step, time, data[end - size : end]))
        at = end + _CHECK.size
    return int(_BEGIN.unpack_from(data)[1]), rows
