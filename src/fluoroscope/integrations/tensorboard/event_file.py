"""One event file: read from where reading ended last time, so that a file in writing can be followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fluoroscope.errors import InputError
from fluoroscope.integrations.tensorboard.columns import ColumnBuilder
from fluoroscope.integrations.tensorboard.crc32c import crc32c_rows, masked
from fluoroscope.integrations.tensorboard.framing import LONG, TAIL, Frames, intact, split
from fluoroscope.integrations.tensorboard.records import EventLog, Problem
from fluoroscope.results import Array

__all__ = ["EventFile"]

BLOCK = 1 << 16
"""Records that are read at once: what bounds the memory besides the columns themselves."""
FEW = 12
"""Up to so many equally long records are read one by one, which is faster than as columns."""


class EventFile:
    """Reads one file of events in pieces.

    A record whose content disagrees with its checksum is left out and told. After a length that disagrees with its own
    nothing can be found any more, which is told as well, once. A record that is not complete yet is waited for: the
    next :meth:`read` begins there. ``check=False`` trusts the contents and only checks the lengths. ``plugins`` can be
    shared by the files of one run, since the metadata of a tag is written once.
    """

    def __init__(self, path: str | Path, *, check: bool = True, plugins: dict[str, str] | None = None) -> None:
        self.path = Path(path)
        self.check = check
        self.offset = 0
        self.torn = 0
        self._told = -1
        self._plugins: dict[str, str] = {} if plugins is None else plugins

    def read(self) -> EventLog:
        """What was added since the last call; ``torn`` is how many bytes of an incomplete record follow it.

        Raises:
            InputError: the file can't be read.
        """
        log = EventLog()
        data = self._mapped()
        if len(data) < self.offset:
            self.torn = 0
            if self._told != self.offset:
                self._told = self.offset
                what = f"the file has {len(data):,} bytes now, fewer than were read of it; more are waited for"
                log.problems.append(Problem(str(self.path), self.offset, what))
            return log
        builder = ColumnBuilder(str(self.path), self._plugins)
        trouble = ""
        while True:
            frames = split(data, self.offset, BLOCK)
            self._block(data, frames, builder)
            self.offset, trouble = frames.end, frames.trouble
            log.records += len(frames.starts)
            if len(frames.starts) < BLOCK:
                break
        builder.into(log)
        if trouble and self._told != self.offset:
            self._told = self.offset
            log.problems.append(Problem(str(self.path), self.offset, trouble))
        self.torn = 0 if trouble else len(data) - self.offset
        return log

    def _mapped(self) -> Array:
        try:
            if not self.path.stat().st_size:
                return np.zeros(0, np.uint8)
            return np.memmap(self.path, np.uint8, "r")
        except OSError as error:
            raise InputError(f"{self.path} can't be read", got=error.strerror or str(error)) from error

    def _block(self, data: Array, frames: Frames, builder: ColumnBuilder) -> None:
        if not len(frames.starts):
            return
        single: list[Array] = []
        ordered = np.argsort(frames.lengths, kind="stable")
        sizes, begins = np.unique(frames.lengths[ordered], return_index=True)
        for length, which in zip(sizes.tolist(), np.split(ordered, begins[1:]), strict=True):
            if length > LONG or len(which) <= FEW:
                single.append(which)
            else:
                single.append(which[self._columns(data, frames.starts[which], length, builder)])
        self._one_by_one(data, frames, np.sort(np.concatenate(single)), builder)
        builder.end_block()

    def _columns(self, data: Array, starts: Array, length: int, builder: ColumnBuilder) -> Array:
        """Read equally long records together; the rows that have to be looked at one by one."""
        rows = _rows(data, starts, length + TAIL)
        if self.check:
            stored = np.ascontiguousarray(rows[:, length:]).view("<u4")[:, 0]
            good = _sums(rows[:, :length]) == stored
            if not good.all():
                for i in np.flatnonzero(~good).tolist():
                    builder.trouble(int(starts[i]), "the record does not agree with its checksum, and is left out")
                kept = np.flatnonzero(good)
                return kept[builder.rows(rows[kept][:, :length], starts[kept])]
        return builder.rows(rows[:, :length], starts)

    def _one_by_one(self, data: Array, frames: Frames, which: Array, builder: ColumnBuilder) -> None:
        chosen = Frames(frames.starts[which], frames.lengths[which], 0, "")
        good = intact(data, chosen) if self.check else np.ones(len(which), bool)
        for start, length, fine in zip(chosen.starts.tolist(), chosen.lengths.tolist(), good.tolist(), strict=True):
            if not fine:
                builder.trouble(start, "the record does not agree with its checksum, and is left out")
                continue
            try:
                builder.event(data[start : start + length].tobytes(), start)
            except (ValueError, LookupError, ArithmeticError, RecursionError) as error:  # Malformed is a ValueError
                builder.trouble(start, f"the record is no event: {error}; it is left out")


def _rows(data: Array, starts: Array, width: int) -> Array:
    """``width`` bytes from each start (N, width); evenly spaced records are a view without a copy."""
    pitch = np.diff(starts)
    if len(starts) > 1 and (pitch == pitch[0]).all():
        base: Any = np.asarray(data[int(starts[0]) : int(starts[-1]) + width])
        return np.lib.stride_tricks.as_strided(base, (len(starts), width), (int(pitch[0]), 1), writeable=False)
    return np.asarray(data[starts[:, None] + np.arange(width)])


def _sums(rows: Array) -> Array:
    step = 1 << 14  # as many rows as fit a processor's cache
    parts = [crc32c_rows(np.asfortranarray(rows[i : i + step])) for i in range(0, len(rows), step)]
    return masked(np.concatenate(parts))
