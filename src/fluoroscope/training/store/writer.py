"""RunWriter: one process's file in a run's folder. What is written is seen by readers at once and survives a crash."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import time as clock
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from fluoroscope.errors import InputError
from fluoroscope.results import Array
from fluoroscope.results.picture_file import LARGEST, MOST_PIXELS, PictureFile, picture_file
from fluoroscope.training.store import schema
from fluoroscope.training.store.coding import FLOAT, INTEGER
from fluoroscope.training.store.connection import WriterConnection
from fluoroscope.training.store.folder import cannot_write, is_run, new_folder, safe_name
from fluoroscope.training.store.media_rows import IMAGE, TEXT, TEXT_LIMIT, Item, MediaRows
from fluoroscope.training.store.plain_values import plain_values, utf8
from fluoroscope.training.store.process import this_process
from fluoroscope.training.store.scalar_rows import BASE, ScalarRows
from fluoroscope.training.store.tail_file import TailFile, read_tail
from fluoroscope.training.store.tensor_rows import TensorRows

__all__ = ["RunWriter", "ending"]

NO_FACTS: dict[str, Any] = {}


class RunWriter:
    """Writes one run: a new one in the folder ``folder``, or with ``resume`` one more part of a run that is there.

    Every call is one transaction: committed when it returns, seen by readers at once, kept by a crash of the process. A
    power cut may take the last calls, never the file. Several threads may write at once. Where writing fails later (a
    full disk), the call returns normally, one warning tells of it, and ``lost`` counts the calls. ``facts`` are kept
    with the run.

    Raises:
        ResultFileError: the folder can't be written to.
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        *,
        config: Any = None,
        rank: int = 0,
        resume: bool = False,
        **facts: Any,
    ) -> None:
        name = utf8(name)
        found = Path(folder) / safe_name(name)
        if resume and is_run(found):
            self.path, self.name = found, name
        else:
            self.path, self.name = new_folder(Path(folder), name)
        self.file = self.path / f"rank{rank}-{clock.time_ns():019d}-{secrets.token_hex(3)}{schema.SUFFIX}"
        entries = {"name": self.name, "rank": rank, "state": "running", "started": clock.time(), "config": config}
        self._connection, self._tail = self._create({**entries, "process": this_process(), **facts, BASE: 0})
        self._columns_until: int | None = None
        self._scalars, self._tensors, self._pictures = ScalarRows(), TensorRows(), MediaRows()
        self._connection.on_failure = self._recover

    def _create(self, entries: Mapping[str, Any]) -> tuple[WriterConnection, TailFile]:
        fresh = self.file.with_suffix(".new")
        try:
            with contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as made:
                schema.create(made)
                _put_meta(made, entries)
            tail = TailFile(self.file, 0)
            os.replace(fresh, self.file)  # readers never meet a file that is not complete
            return WriterConnection(self.file), tail
        except (sqlite3.Error, OSError) as error:
            raise cannot_write(self.path, error) from error

    @property
    def lost(self) -> int:
        """Calls whose records could not be written."""
        return self._connection.lost

    # ------------------------------------------------------------------ writing

    def scalars(self, step: int, values: Mapping[str, float], time: float | None = None) -> None:
        """One value for each of some series at ``step``; NaN and infinity are values like any other."""
        moment = clock.time() if time is None else time
        with self._connection.lock:
            row = self._scalars.row(step, values, moment)
            if row is None or not self._connection.alone(lambda: self._scalars.append(self._tail, row)):
                self._connection.do(lambda sql: self._insert(sql, step, values, moment), whole=row is None)
            if self._scalars.full:
                self._compact_scalars()

    def _insert(self, sql: sqlite3.Connection, step: int, values: Mapping[str, float], time: float) -> None:
        self._scalars.learn(sql, values)
        row = self._scalars.row(step, values, time)
        assert row is not None
        self._scalars.insert(sql, row)

    def columns(self, name: str, steps: Array, values: Array, times: Array | None = None) -> None:
        """Many points of one series at once (S,): steps, values, and seconds since 1970. Raises InputError."""
        steps, values = np.ascontiguousarray(steps, INTEGER), np.ascontiguousarray(values, FLOAT)
        times = np.full(len(steps), clock.time()) if times is None else np.ascontiguousarray(times, FLOAT)
        if not steps.shape == values.shape == times.shape or steps.ndim != 1:
            got = f"{steps.shape}, {values.shape}, {times.shape}"
            raise InputError("the columns of a series differ in length", got=got, expected="(S,) each")
        with self._connection.lock:
            self._compact_scalars()
            self._connection.do(lambda sql: self._scalars.columns(sql, name, steps, values, times), whole=True)

    def tensors(
        self,
        step: int,
        names: Sequence[str],
        statistics: Mapping[str, Array],
        histograms: Mapping[str, Array] | None = None,
        *,
        time: float | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Statistics (L,) of L tensors at ``step`` by quantity (``"gradient/norm"``), and counts (L, B) of histograms.

        ``facts`` say how they were taken; equal facts are written once. ``facts["edges"]`` are edges (B + 1,) of each
        histogram, ``facts["sampled"]`` the share of entries looked at, ``facts["exact"]`` whether it was all. Raises
        InputError.
        """
        moment = clock.time() if time is None else time
        with self._connection.lock:
            row = self._tensors.row(names, statistics, histograms or {}, facts or NO_FACTS)
            self._connection.do(lambda sql: self._tensors.write(sql, row, step, moment))
            if self._tensors.full:
                self._compact_tensors()

    def images(self, step: int, name: str, pictures: Sequence[bytes], time: float | None = None) -> None:
        """Encoded pictures at ``step`` under one name: PNG, JPEG, GIF or WebP files.

        Of a series some hundred moments are kept, and of a file some hundred megabytes: beyond, every second moment is
        given up, never the newest. Raises InputError.
        """
        found = [picture_file(data) for data in pictures]
        if None in found:
            at = found.index(None)
            raise InputError(
                f"a picture of {name!r} can't be kept",
                got=f"{len(pictures[at]):,} bytes that begin with {bytes(pictures[at][:8])!r}",
                expected=f"a PNG, JPEG, GIF or WebP file of at most {LARGEST >> 20} MiB and {MOST_PIXELS:,} pixels",
            )
        items = [Item(about, bytes(data)) for about, data in zip(found, pictures, strict=True) if about is not None]
        self._media(IMAGE, step, name, items, time)

    def texts(self, step: int, name: str, texts: Sequence[str], time: float | None = None) -> None:
        """Texts at ``step`` under one name, kept within the same bounds; very long ones are cut."""
        cut = [t if len(t) <= TEXT_LIMIT else t[: TEXT_LIMIT - 1] + "…" for t in texts]
        items = [Item(PictureFile("text/plain", 0, 0), t.encode("utf-8", "backslashreplace")) for t in cut]
        self._media(TEXT, step, name, items, time)

    def _media(self, kind: str, step: int, name: str, items: Sequence[Item], time: float | None) -> None:
        moment = clock.time() if time is None else time
        self._connection.do(lambda sql: self._pictures.write(sql, kind, name, step, moment, items), whole=True)

    def info(self, **entries: Any) -> None:
        """Facts about the run: replaced where they are there already."""
        self._connection.do(lambda sql: _put_meta(sql, entries), whole=True)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is written in this block is one transaction: seen, and kept, together. For imports and for speed."""
        with self._connection.lock:
            with self._connection.together():
                yield
            self._begin_tail()

    def close(self, state: str = "finished", error: str | None = None, finished: float | None = None) -> None:
        """End the run: columns are tidied, the state is written, and one plain file is left.

        ``finished`` is when it ended, in seconds since 1970, where that is not now (imports).
        """
        if not self._connection.mine:
            return
        with self._connection.lock:
            done = self._compact_scalars()
            self._compact_tensors()
            ended = clock.time() if finished is None else finished
            self.info(state=state, finished=ended, lost=self.lost, **({"error": error} if error else {}))
            if done:
                self._connection.do(lambda sql: _remove_meta(sql, BASE), counts=False)
                self._tail.remove()
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(*ending(error))

    # ------------------------------------------------------------------ parts

    def _compact_scalars(self) -> bool:
        done = self._connection.do(self._scalars.compact, whole=True, counts=False)
        self._scalars.compacted(done)
        if done:
            self._columns_until = self._scalars.last
            self._begin_tail()
        return done

    def _begin_tail(self) -> None:
        """A new file of newest rows, once the columns that the old one became are committed.

        Where the disk takes none, the old one goes on: rows that are columns already are not read from it.
        """
        if self._columns_until is not None and not self._connection.within:
            until, self._columns_until = self._columns_until, None
            with contextlib.suppress(OSError):
                self._tail.begin(until)

    def _compact_tensors(self) -> None:
        self._tensors.compacted(self._connection.do(self._tensors.compact, whole=True, counts=False))

    def _recover(self, within: bool) -> None:
        if self._connection.sql is not None:
            found = read_tail(self.file) if within else None
            self._scalars.recover(self._connection.sql, within, found[1] if found else [])
            self._columns_until = None if within else self._columns_until
            self._tensors.recover(within)


def ending(error: BaseException | None) -> tuple[str, str | None]:
    """State and text of a run that ended with ``error``."""
    if error is None:
        return "finished", None
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        return "interrupted", type(error).__name__
    return "failed", f"{type(error).__name__}: {error}"


def _put_meta(sql: sqlite3.Connection, entries: Mapping[str, Any]) -> None:
    rows = [(k, json.dumps(plain_values(v), ensure_ascii=True)) for k, v in entries.items()]
    sql.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)


def _remove_meta(sql: sqlite3.Connection, key: str) -> None:
    sql.execute("DELETE FROM meta WHERE key = ?", (key,))
