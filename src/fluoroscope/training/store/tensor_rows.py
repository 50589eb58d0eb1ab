"""Rows of statistics of many tensors: a layout says once which tensors and quantities, a row holds float32."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fluoroscope.errors import InputError
from fluoroscope.results import Array
from fluoroscope.training.store.axis_rows import put_axis
from fluoroscope.training.store.coding import SMALL, pack_counts, pack_table
from fluoroscope.training.store.plain_values import plain_values

__all__ = ["TensorLayout", "TensorRows"]

ROWS = 128
BYTES = 32 << 20
KNOWN = 256
"""Layouts that are found again without being written out; whoever makes new ``facts`` for each row has as many."""


@dataclass(frozen=True)
class TensorLayout:
    """What a row holds: ``quantities`` of ``names`` as float32 (Q, L), counts (H, L, B) of ``histograms``."""

    names: tuple[str, ...]
    quantities: tuple[str, ...]
    histograms: tuple[str, ...]
    bins: int
    facts: dict[str, Any]

    def text(self) -> str:
        """As JSON."""
        return json.dumps(plain_values(self.__dict__))

    @classmethod
    def of(cls, text: str) -> TensorLayout:
        """The inverse of :meth:`text`."""
        made = json.loads(text)
        lists = {k: tuple(made[k]) for k in ("names", "quantities", "histograms")}
        return cls(**lists, bins=made["bins"], facts=made["facts"])


@dataclass(frozen=True)
class Row:
    """One row before it is written."""

    layout: TensorLayout
    statistics: Array
    counts: Array


class TensorRows:
    """Rows of statistics on their way into a file."""

    def __init__(self) -> None:
        self._layouts: dict[str, int] = {}
        self._known: dict[Any, TensorLayout] = {}
        self._kept: list[Any] = []
        self._rows: dict[int, list[tuple[int, float, Array, Array]]] = {}
        self._by_number: dict[int, TensorLayout] = {}
        self._texts: dict[int, str] = {}
        self._seq = self._first = self._count = self._bytes = 0
        self._limit = ROWS

    @property
    def full(self) -> bool:
        """Whether there are enough rows to turn into columns."""
        return self._count >= self._limit or self._bytes > BYTES

    def row(
        self,
        names: Sequence[str],
        statistics: Mapping[str, Array],
        histograms: Mapping[str, Array],
        facts: Mapping[str, Any],
    ) -> Row:
        """A row of these statistics. Raises InputError where lengths differ."""
        bins = next((np.shape(h)[-1] for h in histograms.values()), 0)
        shapes = {np.shape(v) for v in statistics.values()} | {np.shape(h)[:-1] for h in histograms.values()}
        if shapes - {(len(names),)} or any(np.shape(h)[-1] != bins for h in histograms.values()):
            raise InputError("statistics of tensors differ in length", got=sorted(shapes), expected=f"({len(names)},)")
        key = (tuple(names), tuple(statistics), tuple(histograms), bins, id(facts))
        layout = self._known.get(key)
        if layout is None:
            if len(self._known) >= KNOWN:
                self._known, self._texts, self._kept = {}, {}, []
            layout = self._known[key] = TensorLayout(*key[:4], plain_values(dict(facts)))
            self._kept.append(facts)  # an identity must not come to mean another object
        with np.errstate(over="ignore"):
            table = np.array(list(statistics.values()), SMALL) if statistics else np.zeros((0, len(names)), SMALL)
        counts = np.minimum(np.array(list(histograms.values())), 65535).astype("<u2") if histograms else np.zeros(0)
        return Row(layout, table, counts)

    def write(self, connection: sqlite3.Connection, row: Row, step: int, time: float) -> None:
        """Commit one row."""
        layout = self._number(connection, row.layout)
        packed = pack_counts(row.counts, fast=True)
        values = (self._seq + 1, layout, step, time, row.statistics.tobytes(), packed)
        connection.execute("INSERT INTO tensor_tail VALUES (?, ?, ?, ?, ?, ?)", values)
        self._seq += 1
        self._count += 1
        self._bytes += row.statistics.nbytes + row.counts.nbytes
        self._rows.setdefault(layout, []).append((step, time, row.statistics, row.counts))

    def _number(self, connection: sqlite3.Connection, layout: TensorLayout) -> int:
        text = self._texts.get(id(layout))
        if text is None:
            text = self._texts[id(layout)] = layout.text()
        number = self._layouts.get(text)
        if number is None:
            connection.execute("INSERT OR IGNORE INTO tensor_layouts VALUES (NULL, ?)", (text,))
            found = connection.execute("SELECT id FROM tensor_layouts WHERE description = ?", (text,)).fetchone()
            number = self._layouts[text] = int(found[0])
            self._by_number[number] = layout
        return number

    def compact(self, connection: sqlite3.Connection) -> None:
        """Move the rows into columns: one blob (S, L) for each quantity, one (S, L, B) for each histogram."""
        if not self._count:
            return
        for number, rows in self._rows.items():
            layout = self._by_number[number]
            steps, times = np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows])
            place = put_axis(connection, steps, times)
            entries = [
                (number, quantity, place, pack_table(np.stack([r[2][i] for r in rows])))
                for i, quantity in enumerate(layout.quantities)
            ] + [
                (number, f"{quantity}/counts", place, pack_counts(np.stack([r[3][i] for r in rows])))
                for i, quantity in enumerate(layout.histograms)
            ]
            connection.executemany("INSERT INTO tensor_chunks VALUES (NULL, ?, ?, ?, ?)", entries)
        connection.execute("DELETE FROM tensor_tail WHERE seq > ? AND seq <= ?", (self._first, self._seq))

    def compacted(self, done: bool) -> None:
        """Nothing is left in the tail; or, where that failed, it is tried again some rows later."""
        if done:
            self._rows, self._count, self._bytes, self._first, self._limit = {}, 0, 0, self._seq, ROWS
        else:
            self._limit = self._count + ROWS

    def recover(self, within: bool) -> None:
        """Numbers of layouts may have been taken back with a transaction, ``within`` a larger one rows too."""
        self._layouts = {}
        if within:
            self.compacted(True)
