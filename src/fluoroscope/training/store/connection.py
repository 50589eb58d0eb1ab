"""The writer's connection: transactions, a second try after a full disk made room, losses counted and told once."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from fluoroscope.errors import ResultFileError

__all__ = ["LOST_RECORDS", "WriterConnection"]

CHECKPOINT = 2000
"""Pages of the log after which they are moved into the file."""
LOST_RECORDS = "records of this training could not be written and are lost; the training goes on"

Work = Callable[[sqlite3.Connection], None]


class WriterConnection:
    """The only connection that writes ``file``. ``lost`` counts the calls whose records could not be written. Whoever
    remembers what was written takes ``lock`` from before it is written until it is remembered.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lost = 0
        self.on_failure: Callable[[bool], None] = lambda within: None
        self._lock, self._process, self._told = threading.RLock(), os.getpid(), False
        self._depth = self._calls = 0
        connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=30)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
        self.sql: sqlite3.Connection | None = connection

    @property
    def mine(self) -> bool:
        """Whether this process opened it, and it is still open."""
        return self.sql is not None and self._process == os.getpid()

    def do(self, work: Work, *, whole: bool = False, counts: bool = True) -> bool:
        """Run ``work``, as one transaction where it is more than one statement (``whole``); whether it was written.

        What fails is tried a second time after the log was emptied into the file, which makes room on a full disk.
        ``counts``: whether a failure loses anything.

        Raises:
            ResultFileError: the run is closed, or belongs to another process.
        """
        sql = self._checked()
        with self._lock:
            failure = self._attempt(sql, work, whole)
            if failure is not None and not self._depth:
                with contextlib.suppress(sqlite3.Error):
                    sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                failure = self._attempt(sql, work, whole)
            if failure is not None and counts:
                self._lose(failure, 1)
            elif self._depth:
                self._calls += 1
            return failure is None

    @property
    def lock(self) -> threading.RLock:
        """What one thread at a time holds. Raises ResultFileError: the run is closed, or another process's, where the
        lock may be held for ever by a thread that does not exist there.
        """
        self._checked()
        return self._lock

    @property
    def within(self) -> bool:
        """Whether a larger transaction is under way."""
        return self._depth > 0

    def alone(self, work: Callable[[], None]) -> bool:
        """Do something beside SQLite, unless it belongs to a larger transaction; whether it was done.

        Raises:
            ResultFileError: the run is closed, or belongs to another process.
        """
        self._checked()
        with self._lock:
            if self._depth:
                return False
            try:
                work()
            except OSError:
                return False
            return True

    def _checked(self) -> sqlite3.Connection:
        if self.sql is None:
            raise ResultFileError("the run is closed", got=self.file.name, remedy="log inside the block of fs.record")
        if self._process != os.getpid():
            raise ResultFileError(
                "a run is written only by the process that began it",
                got=self.file.name,
                remedy="open a run of its own in each process: RunWriter(folder, name, rank=rank, resume=True)",
            )
        return self.sql

    def _attempt(self, sql: sqlite3.Connection, work: Work, whole: bool) -> sqlite3.Error | None:
        own = whole and not self._depth
        try:
            if own:
                sql.execute("BEGIN IMMEDIATE")
            work(sql)
            if own:
                sql.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo(sql)
            return error
        except BaseException:
            self._undo(sql)
            raise
        return None

    def _undo(self, sql: sqlite3.Connection) -> None:
        if sql.in_transaction and not self._depth:
            sql.execute("ROLLBACK")
        self.on_failure(self._depth > 0)

    def _lose(self, error: Exception, calls: int) -> None:
        self.lost += calls
        if not self._told:
            self._told = True
            warnings.warn(f"{self.file}: {LOST_RECORDS} ({error})", RuntimeWarning, stacklevel=5)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is done in this block is one transaction."""
        with self._lock:
            outermost = not self._depth and self.do(lambda sql: _run(sql, "BEGIN IMMEDIATE"), counts=False)
            self._depth += outermost
            try:
                yield
            finally:
                if outermost:
                    self._depth, calls, self._calls = 0, self._calls, 0
                    self._end(calls)

    def _end(self, calls: int) -> None:
        sql = self._checked()
        if not sql.in_transaction:  # SQLite took all of it back
            self.on_failure(True)
            self._lose(sqlite3.OperationalError("a transaction was taken back"), calls)
            return
        try:
            sql.execute("COMMIT")
        except sqlite3.Error as error:
            if sql.in_transaction:
                sql.execute("ROLLBACK")
            self.on_failure(True)
            self._lose(error, calls)

    def close(self) -> None:
        """Empty the log into the file and leave one plain file, which can be read from a read-only folder too."""
        with self._lock:
            sql, self.sql = self.sql, None
            if sql is not None:
                for statement in (
                    "PRAGMA incremental_vacuum",
                    "PRAGMA wal_checkpoint(TRUNCATE)",
                    "PRAGMA journal_mode = DELETE",
                ):
                    with contextlib.suppress(sqlite3.Error):
                        sql.executescript(statement)  # to its end: execute() gives back a single page
                sql.close()


def _run(sql: sqlite3.Connection, statement: str) -> None:
    sql.execute(statement)
