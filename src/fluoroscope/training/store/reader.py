"""Reading one writer's file: never in its way, one consistent moment at a time."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import struct
import tempfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fluoroscope.errors import ResultFileError
from fluoroscope.results import Array
from fluoroscope.training.store import schema
from fluoroscope.training.store.axis_rows import highest_step
from fluoroscope.training.store.coding import FLOAT, SMALL, unpack_counts, unpack_floats, unpack_steps, unpack_table
from fluoroscope.training.store.media_rows import has_media
from fluoroscope.training.store.tail_reading import take_tail
from fluoroscope.training.store.tensor_rows import TensorLayout

__all__ = ["BROKEN", "Reader", "TensorTable", "opened"]

BROKEN = (sqlite3.Error, zlib.error, struct.error)
"""What reading a damaged file raises."""

Parts = tuple[list[Array], list[Array], list[Array]]


@dataclass(frozen=True)
class TensorTable:
    """Rows of one layout in the order of writing: steps and times (S,), statistics (S, L) float32 by quantity."""

    layout: TensorLayout
    steps: Array
    times: Array
    statistics: dict[str, Array]
    counts: dict[str, Array]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Reader]:
    """The file at one moment: a read transaction, which waits for no writer and lets none wait.

    Raises:
        ResultFileError: the file is missing, damaged, not ours, or of a newer version.
    """
    connection = None
    try:
        with _connected(path) as connection:
            version = schema.version_of(connection, path)
            if version < schema.VERSION:
                with _migrated_copy(connection, path) as copy:
                    yield Reader(copy)
                return
            connection.execute("BEGIN")
            take_tail(connection, path)
            yield Reader(connection)
    except BROKEN as error:
        raise ResultFileError(
            f"{path} could not be read as a record of a training",
            got=str(error),
            expected="a file that fs.record wrote",
            remedy="a damaged file can't be mended; the run's other files are read without it",
        ) from error


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads. A log beside a file in a folder that can't be written to needs a copy of both."""
    log = path.with_name(path.name + "-wal")
    with contextlib.ExitStack() as stack:
        source, mode = path, "mode=ro"
        if not os.access(path.parent, os.W_OK):
            if log.exists() and log.stat().st_size:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fluoroscope-"))
                source = Path(folder) / path.name
                shutil.copyfile(path, source)
                shutil.copyfile(log, source.with_name(log.name))
            else:
                mode = "mode=ro&immutable=1"
        uri = f"{source.absolute().as_uri()}?{mode}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10, check_same_thread=False)
        stack.callback(connection.close)
        connection.execute("PRAGMA mmap_size = 1073741824")
        yield connection


@contextlib.contextmanager
def _migrated_copy(connection: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """An older file in memory, made newer there: reading never changes a file."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
        connection.backup(copy)
        schema.migrate(copy, path)
        yield copy


def _together(parts: list[tuple[Array, Array, Array]]) -> tuple[Array, Array, Array]:
    if len(parts) == 1:
        return parts[0]
    steps, values, times = (np.concatenate(column) for column in zip(*parts, strict=True))
    return steps, values, times


class Reader:
    """Queries of one file within a read transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection

    def meta(self) -> dict[str, Any]:
        """Everything that is known about the run and its writer."""
        return {k: json.loads(v) for k, v in self._sql.execute("SELECT key, value FROM meta") if k[0] != "_"}

    def names(self) -> list[str]:
        """Series in the order of first writing."""
        return [row[0] for row in self._sql.execute("SELECT name FROM series ORDER BY id")]

    def last_time(self) -> float | None:
        """When the last row was written, None before the first."""
        found = [
            self._sql.execute(f"SELECT time FROM {table} ORDER BY seq DESC LIMIT 1").fetchone()
            for table in ("tail", "tensor_tail")
        ]
        blob = self._sql.execute("SELECT times FROM axes ORDER BY id DESC LIMIT 1").fetchone()
        if has_media(self._sql):
            found.append(self._sql.execute("SELECT time FROM media ORDER BY id DESC LIMIT 1").fetchone())
        times = [row[0] for row in found if row] + ([float(np.frombuffer(blob[0][-8:], FLOAT)[0])] if blob else [])
        return max(times, default=None)

    def last_step(self) -> int | None:
        """Largest step of any row, None before the first."""
        tails = [self._sql.execute(f"SELECT max(step) FROM {t}").fetchone()[0] for t in ("tail", "tensor_tail")]
        if has_media(self._sql):
            tails.append(self._sql.execute("SELECT max(step) FROM media").fetchone()[0])
        return max((t for t in (*tails, highest_step(self._sql)) if t is not None), default=None)

    # ------------------------------------------------------------------ scalars

    def column(self, name: str, times: bool = True) -> Parts:
        """Steps, values and times of one series, in parts that follow one another."""
        found = self._sql.execute("SELECT id FROM series WHERE name = ?", (name,)).fetchone()
        if found is None:
            return [], [], []
        column = "axes.times" if times else "NULL"
        rows = self._sql.execute(
            f"SELECT count, steps, data, {column} FROM chunks JOIN axes ON axes.id = axis "
            "WHERE series = ? ORDER BY chunks.axis",
            found,
        ).fetchall()
        steps = [unpack_steps(row[1], row[0]) for row in rows]
        values = [unpack_floats([row[2] for row in rows])] if rows else []
        clock = [unpack_floats([row[3] for row in rows])] if rows and times else []
        for part, tail in zip((steps, values, clock), self._tail(found[0]), strict=True):
            part.append(tail)
        return steps, values, clock

    def columns(self, names: Collection[str] | None = None) -> dict[str, tuple[Array, Array, Array]]:
        """Steps, values and times of many series, all where None, with one look at every table."""
        numbers = {number: name for name, number in self._sql.execute("SELECT name, id FROM series")}
        wanted = {n: name for n, name in numbers.items() if names is None or name in names}
        query = "SELECT series, count, steps, data, times FROM chunks JOIN axes ON axes.id = axis"
        rows: Iterable[Any]
        if len(wanted) * 4 > len(numbers):
            rows = self._sql.execute(f"{query} ORDER BY series, axis")
        else:
            one = f"{query} WHERE series = ? ORDER BY chunks.axis"
            rows = (row for number in wanted for row in self._sql.execute(one, (number,)))
        found: dict[int, list[tuple[Array, Array, Array]]] = {number: [] for number in wanted}
        for number, count, steps, data, times in rows:
            if number in found:
                found[number].append(
                    (unpack_steps(steps, count), np.frombuffer(data, FLOAT), np.frombuffer(times, FLOAT))
                )
        for number, tail in self._tails(set(wanted)).items():
            found[number].append(tail)
        none = (np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
        return {name: _together(found[number]) if found[number] else none for number, name in sorted(wanted.items())}

    def _tails(self, wanted: set[int]) -> dict[int, tuple[Array, Array, Array]]:
        """What of each series is still in the tail, in the order of writing."""
        parts: dict[int, list[tuple[Array, Array, Array, Array]]] = {}
        for layout, members in self._sql.execute("SELECT id, series FROM layouts").fetchall():
            places = [(p, n) for p, n in enumerate(np.frombuffer(members, "<i4").tolist()) if n in wanted]
            query = "SELECT seq, step, time, data FROM tail WHERE layout = ? ORDER BY seq"
            rows = self._sql.execute(query, (layout,)).fetchall() if places else []
            if not rows:
                continue
            order, steps = np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows], np.int64)
            times = np.array([r[2] for r in rows], FLOAT)
            table = np.frombuffer(b"".join(r[3] for r in rows), FLOAT).reshape(len(rows), -1)
            for place, number in places:
                parts.setdefault(number, []).append((order, steps, table[:, place], times))
        found = {}
        for number, several in parts.items():
            seq, steps, values, times = (np.concatenate(c) for c in zip(*several, strict=True))
            by = np.argsort(seq, kind="stable")
            found[number] = steps[by], values[by], times[by]
        return found

    def _tail(self, series: int) -> tuple[Array, Array, Array]:
        rows = []
        for layout, members in self._sql.execute("SELECT id, series FROM layouts").fetchall():
            for place in np.flatnonzero(np.frombuffer(members, "<i4") == series).tolist():
                part = "SELECT seq, step, time, substr(data, ?, 8) FROM tail WHERE layout = ?"
                rows += self._sql.execute(part, (8 * place + 1, layout)).fetchall()
        rows.sort()
        values = unpack_floats([r[3] for r in rows]) if rows else np.zeros(0)
        return np.array([r[1] for r in rows], np.int64), values, np.array([r[2] for r in rows], FLOAT)

    def last_values(self) -> dict[str, tuple[int, float]]:
        """(step, value) of the last point of every series."""
        by_number = dict(self._sql.execute("SELECT id, name FROM series"))
        found: dict[int, tuple[int, float]] = {}
        newest = "SELECT series, max(axis) AS axis FROM chunks GROUP BY series"
        rows = self._sql.execute(
            f"SELECT c.series, a.count, a.steps, substr(c.data, -8) FROM ({newest}) AS n "
            "JOIN chunks AS c ON c.series = n.series AND c.axis = n.axis JOIN axes AS a ON a.id = c.axis"
        )
        for number, count, steps, last in rows:
            found[number] = int(unpack_steps(steps, count)[-1]), float(np.frombuffer(last, FLOAT)[0])
        layouts = {i: np.frombuffer(m, "<i4") for i, m in self._sql.execute("SELECT id, series FROM layouts")}
        last_rows = "SELECT max(seq), layout, step, data FROM tail GROUP BY layout ORDER BY 1"
        for _, layout, step, data in self._sql.execute(last_rows):
            for number, value in zip(layouts[layout].tolist(), np.frombuffer(data, FLOAT).tolist(), strict=True):
                found[number] = step, value
        return {by_number[n]: v for n, v in sorted(found.items())}

    # ------------------------------------------------------------------ pictures and texts

    def media(self, kind: str) -> list[tuple[Any, ...]]:
        """Number, name, step, time, part, type, width, height and bytes of every item of a kind, without its content,
        in the order of writing.
        """
        if not has_media(self._sql):
            return []
        columns = "media.id, name, step, time, part, mime, width, height, size"
        query = f"SELECT {columns} FROM media JOIN media_series AS s ON s.id = series WHERE kind = ? ORDER BY media.id"
        return self._sql.execute(query, (kind,)).fetchall()

    def thinned(self) -> int:
        """How many moments of pictures and texts were given up for room."""
        if not has_media(self._sql):
            return 0
        kept = "SELECT count(*) FROM (SELECT DISTINCT series, moment FROM media)"
        moments = self._sql.execute("SELECT coalesce(sum(moments), 0) FROM media_series").fetchone()[0]
        return int(moments - self._sql.execute(kept).fetchone()[0])

    def content(self, number: int) -> bytes | None:
        """The content of one item; None where it was given up."""
        found = self._sql.execute("SELECT data FROM media WHERE id = ?", (number,)).fetchone()
        return None if found is None else bytes(found[0])

    # ------------------------------------------------------------------ tensors

    def tensor_layouts(self) -> dict[int, TensorLayout]:
        """Layouts of rows of tensors by number."""
        rows = self._sql.execute("SELECT id, description FROM tensor_layouts ORDER BY id")
        return {number: TensorLayout.of(text) for number, text in rows}

    def tensors(self, quantities: set[str] | None, counts: bool) -> Iterator[TensorTable]:
        """One table for each layout; only the ``quantities`` named (all when None), and histograms where wanted."""
        for number, layout in self.tensor_layouts().items():
            wanted = [q for q in layout.quantities if quantities is None or q in quantities]
            binned = [q for q in layout.histograms if counts and (quantities is None or q in quantities)]
            yield self._table(number, layout, wanted, binned)

    def _table(self, number: int, layout: TensorLayout, wanted: list[str], binned: list[str]) -> TensorTable:
        size = len(layout.names)
        parts = "SELECT DISTINCT count, steps, times, axis FROM tensor_chunks JOIN axes ON axes.id = axis"
        axes = self._sql.execute(f"{parts} WHERE layout = ? ORDER BY axis", (number,)).fetchall()
        tail = self._sql.execute(
            "SELECT step, time, statistics, counts FROM tensor_tail WHERE layout = ? ORDER BY seq", (number,)
        ).fetchall()
        rows = np.frombuffer(b"".join([r[2] for r in tail]), SMALL).reshape(len(tail), len(layout.quantities), size)
        statistics = {
            q: np.concatenate(
                [*(unpack_table(b, size) for b in self._blobs(number, q)), rows[:, layout.quantities.index(q)]]
            )
            for q in wanted
        }
        counted = {q: self._counts(number, layout, q, [a[0] for a in axes], [r[3] for r in tail]) for q in binned}
        steps = [unpack_steps(a[1], a[0]) for a in axes] + [np.array([r[0] for r in tail], np.int64)]
        times = [np.frombuffer(a[2], FLOAT) for a in axes] + [np.array([r[1] for r in tail], FLOAT)]
        return TensorTable(layout, np.concatenate(steps), np.concatenate(times), statistics, counted)

    def _blobs(self, number: int, quantity: str) -> list[bytes]:
        query = "SELECT data FROM tensor_chunks WHERE quantity = ? AND layout = ? ORDER BY axis"
        return [row[0] for row in self._sql.execute(query, (quantity, number))]

    def _counts(self, number: int, layout: TensorLayout, quantity: str, sizes: list[int], tail: list[bytes]) -> Array:
        inner = (len(layout.names), layout.bins)
        blobs = self._blobs(number, f"{quantity}/counts")
        parts = [unpack_counts(b, (n, *inner)) for b, n in zip(blobs, sizes, strict=True)]
        place = layout.histograms.index(quantity)
        parts += [unpack_counts(b, (len(layout.histograms), *inner))[place][None] for b in tail]
        return np.concatenate([np.zeros((0, *inner), np.uint16), *parts])
