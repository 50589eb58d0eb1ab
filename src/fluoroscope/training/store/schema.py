"""The schema of a writer's file: SQLite in WAL mode, its version, and how older files become newer ones.

A step is one row of ``tail``, committed at once. Some hundred rows at a time move into ``chunks``: one row per series
with the values as one blob, and beside it, in ``axes``, the steps and times that all series of the same rows share.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

from fluoroscope.errors import ResultFileError

__all__ = ["OURS", "SUFFIX", "VERSION", "ForeignFile", "create", "migrate", "version_of"]

SUFFIX = ".sqlite"
OURS = re.compile(r"rank\d+-\d{19}-[0-9a-f]{6}\.sqlite")
"""Names that writers give to their files."""
APPLICATION = 0x466C756F  # "Fluo"
VERSION = 2

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE series (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE layouts (id INTEGER PRIMARY KEY, series BLOB NOT NULL);
CREATE TABLE tail (seq INTEGER PRIMARY KEY, layout INTEGER NOT NULL, step INTEGER NOT NULL, time REAL NOT NULL,
                   data BLOB NOT NULL);
CREATE TABLE axes (id INTEGER PRIMARY KEY, count INTEGER NOT NULL, steps BLOB NOT NULL, times BLOB NOT NULL);
CREATE TABLE chunks (id INTEGER PRIMARY KEY, series INTEGER NOT NULL, axis INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX chunks_of_series ON chunks (series, axis);
"""
_TENSORS = """
CREATE TABLE tensor_layouts (id INTEGER PRIMARY KEY, description TEXT NOT NULL UNIQUE);
CREATE TABLE tensor_tail (seq INTEGER PRIMARY KEY, layout INTEGER NOT NULL, step INTEGER NOT NULL, time REAL NOT NULL,
                          statistics BLOB NOT NULL, counts BLOB NOT NULL);
CREATE TABLE tensor_chunks (id INTEGER PRIMARY KEY, layout INTEGER NOT NULL, quantity TEXT NOT NULL,
                            axis INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX tensor_chunks_of_quantity ON tensor_chunks (quantity, axis);
"""


class ForeignFile(ResultFileError):
    """A file that another program made, and that only lies where runs are looked for."""


def create(connection: sqlite3.Connection) -> None:
    """An empty file of the newest version."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # pages of the tail are given back at the end
    connection.executescript(f"BEGIN; {_TABLES} {_TENSORS} {_stamp(VERSION)} COMMIT;")


def _stamp(version: int) -> str:
    return f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {version};"


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """The schema's version. Raises ForeignFile where the file is not ours, ResultFileError where it can't be read or is
    newer than this program.
    """
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB and not OURS.fullmatch(path.name):
            raise _foreign(path, "no SQLite file") from error
        raise ResultFileError(f"{path} could not be read as a record of a training", got=str(error)) from error
    if (
        application != APPLICATION
        and OURS.fullmatch(path.name)
        and not connection.execute("PRAGMA page_count").fetchone()[0]
    ):
        raise ResultFileError(f"{path} could not be read as a record of a training", got="an empty file")
    if application != APPLICATION:
        raise _foreign(path, "an SQLite file of another program")
    if version > VERSION:
        raise ResultFileError(
            f"{path} was written by a newer version",
            got=f"schema {version}",
            expected=f"schema {VERSION} or older",
            remedy="pip install --upgrade fluoroscope",
        )
    return version


def _foreign(path: Path, got: str) -> ForeignFile:
    return ForeignFile(f"{path} is not a record of a training", got=got, expected="a file that fs.record wrote")


def migrate(connection: sqlite3.Connection, path: Path) -> int:
    """Bring a writable file to the newest version, all steps in one transaction; returns the version it had."""
    found = version_of(connection, path)
    if found < VERSION:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for version in range(found, VERSION):
                _STEPS[version](connection)
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return found


def _to_2(connection: sqlite3.Connection) -> None:
    """Version 1 kept a column of times beside every chunk; version 2 keeps one for all series of the same rows, and
    knows tensors.
    """
    rows = connection.execute("SELECT series, steps, data, times FROM chunks ORDER BY id").fetchall()
    connection.execute("DROP INDEX IF EXISTS chunks_of_series")
    connection.execute("DROP TABLE chunks")
    for statement in [s for s in _TABLES.split(";") if " axes " in s or " chunks " in s]:
        connection.execute(statement)
    for statement in filter(str.strip, _TENSORS.split(";")):
        connection.execute(statement)
    known: dict[tuple[bytes, bytes], int] = {}
    for series, steps, data, times in rows:
        axis = known.get((steps, times))
        if axis is None:
            found = connection.execute("INSERT INTO axes VALUES (NULL, ?, ?, ?)", (len(data) // 8, steps, times))
            axis = known[steps, times] = int(found.lastrowid or 0)
        connection.execute("INSERT INTO chunks VALUES (NULL, ?, ?, ?)", (series, axis, data))


_STEPS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _to_2}
