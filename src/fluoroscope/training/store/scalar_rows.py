"""Rows of scalars on their way into a file: numbers of series and layouts, the tail, the columns it becomes."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Mapping, Sequence

import numpy as np

from fluoroscope.results import Array
from fluoroscope.training.store.axis_rows import put_axis
from fluoroscope.training.store.compaction import TailRow, blocks
from fluoroscope.training.store.plain_values import utf8
from fluoroscope.training.store.tail_file import Numbered, TailFile

__all__ = ["BASE", "ScalarRows"]

BASE = "_tail"
"""The entry of ``meta`` with the number of the last row that is a column, while newer ones are in a file beside."""

ROWS = 500
"""Rows of the tail that become chunks together."""
BYTES = 32 << 20
BULK = 1 << 16
"""Points of a chunk where many are written at once."""


class ScalarRows:
    """What a writer knows of the scalars in its file."""

    def __init__(self) -> None:
        self._series: dict[str, int] = {}
        self._layouts: dict[tuple[str, ...], int] = {}
        self._members: dict[int, Array] = {}
        self._rows: list[TailRow] = []
        self._seq = self._first = self._bytes = self._newest = 0
        self._limit = ROWS

    @property
    def full(self) -> bool:
        """Whether there are enough rows to turn into columns."""
        return len(self._rows) >= self._limit or self._bytes > BYTES

    @property
    def last(self) -> int:
        """The number of the last row."""
        return self._seq

    def row(self, step: int, values: Mapping[str, float], time: float) -> TailRow | None:
        """A row of series whose layout is known; None where it is not."""
        layout = self._layouts.get(tuple(values))
        return None if layout is None else (layout, step, time, array("d", values.values()).tobytes())

    def learn(self, sql: sqlite3.Connection, values: Mapping[str, float]) -> None:
        """Make a layout of these series known."""
        if tuple(values) not in self._layouts:
            self._new_layout(sql, tuple(values))

    def append(self, tail: TailFile, row: TailRow) -> None:
        """Put one row into the file beside. Raises OSError."""
        tail.append(self._seq + 1, row)
        self._taken(row)

    def insert(self, sql: sqlite3.Connection, row: TailRow) -> None:
        """Put one row into the tail within SQLite: part of a transaction, or where the file beside takes no more."""
        sql.execute("INSERT INTO tail VALUES (?, ?, ?, ?, ?)", (self._seq + 1, *row))
        self._taken(row)

    def _taken(self, row: TailRow) -> None:
        self._seq += 1
        self._rows.append(row)
        self._bytes += len(row[3])

    def _new_layout(self, sql: sqlite3.Connection, names: tuple[str, ...]) -> int:
        members = np.array([self.number(sql, n) for n in names], "<i4")
        layout = self._newest + 1
        sql.execute("INSERT INTO layouts VALUES (?, ?)", (layout, members.tobytes()))
        self._layouts[names] = layout
        self._members[layout] = members
        self._newest = layout
        return layout

    def number(self, sql: sqlite3.Connection, name: str) -> int:
        """The number of a series, new where it has none."""
        found = self._series.get(name)
        if found is None:
            found = len(self._series) + 1
            sql.execute("INSERT INTO series VALUES (?, ?)", (found, utf8(name)))
            self._series[name] = found
        return found

    def columns(self, sql: sqlite3.Connection, name: str, steps: Array, values: Array, times: Array) -> None:
        """Write many points of one series as chunks."""
        series = self.number(sql, name)
        for start in range(0, len(steps), BULK):
            part = slice(start, start + BULK)
            axis = put_axis(sql, steps[part], times[part])
            sql.execute("INSERT INTO chunks VALUES (NULL, ?, ?, ?)", (series, axis, values[part].tobytes()))

    def compact(self, sql: sqlite3.Connection) -> None:
        """Move the rows of the tail into chunks."""
        if self._rows:
            for block in blocks(self._rows, self._members):
                axis = put_axis(sql, block.steps, block.times)
                entries = [(s, axis, v.tobytes()) for s, v in zip(block.series, block.values, strict=True)]
                sql.executemany("INSERT INTO chunks VALUES (NULL, ?, ?, ?)", entries)
            sql.execute("DELETE FROM tail WHERE seq > ? AND seq <= ?", (self._first, self._seq))
            sql.execute("UPDATE meta SET value = ? WHERE key = ?", (str(self._seq), BASE))

    def compacted(self, done: bool) -> None:
        """Nothing is left in the tail; or, where that failed, it is tried again some rows later."""
        if done:
            self._rows, self._bytes, self._first, self._limit = [], 0, self._seq, ROWS
        else:
            self._limit = len(self._rows) + ROWS

    def recover(self, sql: sqlite3.Connection, within: bool, beside: Sequence[Numbered]) -> None:
        """Know again what the file holds after a transaction was taken back, ``within`` a larger one.

        ``beside`` are the rows of the file beside.
        """
        try:
            self._series = dict(sql.execute("SELECT name, id FROM series"))
            layouts = {row[0] for row in sql.execute("SELECT id FROM layouts")}
            base = sql.execute("SELECT value FROM meta WHERE key = ?", (BASE,)).fetchone()
            tail = sql.execute("SELECT * FROM tail").fetchall()
        except sqlite3.Error:
            return
        self._layouts = {k: v for k, v in self._layouts.items() if v in layouts}
        if within:
            columns = int(base[0]) if base else 0
            rows = sorted([*tail, *(row for row in beside if row[0] > columns)])
            self._rows = [row[1:] for row in rows]
            self._bytes = sum(len(row[3]) for row in self._rows)
            self._seq, self._first = max(columns, *(row[0] for row in rows)) if rows else columns, 0
