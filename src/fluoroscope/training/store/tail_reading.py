"""The newest rows of scalars for a reader: those within SQLite and those in the file beside, at one moment."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from fluoroscope.training.store.scalar_rows import BASE
from fluoroscope.training.store.tail_file import Numbered, read_tail

__all__ = ["take_tail"]

RETRIES = 12
"""Looks at a file whose writer goes on in between; each time there is a later moment to be had."""


def take_tail(connection: sqlite3.Connection, path: Path) -> None:
    """Put the rows of the file beside into a table of this connection alone, which hides the one of the same name."""
    for attempt in range(RETRIES):
        found = connection.execute("SELECT value FROM meta WHERE key = ?", (BASE,)).fetchone()
        if found is None:
            return
        base, beside = int(found[0]), read_tail(path)
        if beside is not None and beside[0] <= base:
            _fill_tail(connection, [row for row in beside[1] if row[0] > base], base)
            return
        if beside is None and attempt == 2:  # nobody is closing the run: the file is not there
            return
        connection.execute("ROLLBACK")  # the writer went on in between
        time.sleep(0.001 * attempt)
        connection.execute("BEGIN")


def _fill_tail(connection: sqlite3.Connection, rows: list[Numbered], base: int) -> None:
    if not rows:
        return
    connection.execute("CREATE TEMP TABLE tail AS SELECT * FROM main.tail")
    connection.executemany("INSERT INTO temp.tail VALUES (?, ?, ?, ?, ?)", rows)
    numbers = [row[0] for row in connection.execute("SELECT seq FROM temp.tail WHERE seq > ? ORDER BY seq", (base,))]
    expected = range(base + 1, base + 1 + len(numbers))
    whole = next((wanted for number, wanted in zip(numbers, expected, strict=True) if number != wanted), None)
    if whole is not None:  # one moment: nothing whose forerunner was written after SQLite was looked at
        connection.execute("DELETE FROM temp.tail WHERE seq > ?", (whole,))
    connection.execute("DELETE FROM temp.tail WHERE layout NOT IN (SELECT id FROM layouts)")  # lost in a power cut
