"""Pictures and texts in a writer's file: tables that are there from the first one on, and that do not grow for ever."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from fluoroscope.results.picture_file import PictureFile
from fluoroscope.training.store.plain_values import utf8

__all__ = ["IMAGE", "MediaRows", "TEXT", "TEXT_LIMIT", "Item", "has_media"]

IMAGE, TEXT = "image", "text"
MOMENTS = 500
"""Moments of a series that are kept; beyond, every second one is given up, and the newest stays."""
BYTES = 512 << 20
"""Bytes of all pictures and texts of a file; beyond, the series that takes most of them is thinned."""
TEXT_LIMIT = 100_000
"""Characters of a text that are kept."""
_TABLES = """
CREATE TABLE IF NOT EXISTS media_series (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL,
    stride INTEGER NOT NULL, moments INTEGER NOT NULL, UNIQUE (kind, name));
CREATE TABLE IF NOT EXISTS media (id INTEGER PRIMARY KEY, series INTEGER NOT NULL, moment INTEGER NOT NULL,
    step INTEGER NOT NULL, time REAL NOT NULL, part INTEGER NOT NULL, mime TEXT NOT NULL, width INTEGER NOT NULL,
    height INTEGER NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS media_of_series ON media (series, moment, size);
"""
_SERIES = "SELECT id, stride, moments FROM media_series WHERE kind = ? AND name = ?"


class Item(NamedTuple):
    """One picture or text as it is stored."""

    about: PictureFile
    data: bytes


def has_media(sql: sqlite3.Connection) -> bool:
    """Whether the file has the tables: files of runs without pictures and texts do not."""
    return sql.execute("SELECT 1 FROM sqlite_master WHERE name = 'media'").fetchone() is not None


class MediaRows:
    """Writes pictures and texts within bounds. Moment ``k`` of a series stays where ``k`` is a multiple of its stride,
    which doubles whenever there is no room; the newest always stays.
    """

    def __init__(self) -> None:
        self._unchecked = 0

    def write(
        self, sql: sqlite3.Connection, kind: str, name: str, step: int, time: float, items: Sequence[Item]
    ) -> None:
        """Put one moment of a series into the file."""
        for statement in filter(str.strip, _TABLES.split(";")):
            sql.execute(statement)
        shown = utf8(name)
        sql.execute("INSERT OR IGNORE INTO media_series VALUES (NULL, ?, ?, 1, 0)", (kind, shown))
        series, stride, moment = sql.execute(_SERIES, (kind, shown)).fetchone()
        rows = [(series, moment, step, time, part, *i.about, len(i.data), i.data) for part, i in enumerate(items)]
        sql.executemany("INSERT INTO media VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        sql.execute("UPDATE media_series SET moments = ? WHERE id = ?", (moment + 1, series))
        if moment and (moment - 1) % stride:
            sql.execute("DELETE FROM media WHERE series = ? AND moment = ?", (series, moment - 1))
        if moment // stride >= MOMENTS:
            _thin(sql, series)
        self._unchecked += sum(len(i.data) for i in items)
        if self._unchecked > BYTES // 16:
            _make_room(sql)
            self._unchecked = 0


def _thin(sql: sqlite3.Connection, series: int) -> None:
    """Give up every second moment of a series but the newest."""
    sql.execute("UPDATE media_series SET stride = stride * 2 WHERE id = ?", (series,))
    stride, moments = sql.execute("SELECT stride, moments FROM media_series WHERE id = ?", (series,)).fetchone()
    gone = "DELETE FROM media WHERE series = ? AND moment % ? <> 0 AND moment < ?"
    sql.execute(gone, (series, stride, moments - 1))


def _make_room(sql: sqlite3.Connection) -> None:
    while True:
        (total,) = sql.execute("SELECT coalesce(sum(size), 0) FROM media INDEXED BY media_of_series").fetchone()
        if total <= BYTES:
            return
        largest = (
            "SELECT series FROM media INDEXED BY media_of_series GROUP BY series HAVING count(DISTINCT moment) > 2 "
            "ORDER BY sum(size) DESC LIMIT 1"
        )
        found = sql.execute(largest).fetchone()
        if found is not None:
            _thin(sql, found[0])
        else:  # nothing to thin: the newest moments that were written are given up
            sql.execute("DELETE FROM media WHERE id >= (SELECT max(id) FROM media WHERE part = 0)")
