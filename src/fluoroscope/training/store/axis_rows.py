"""Rows of ``axes``: the steps and times that the columns of the same rows share."""

from __future__ import annotations

import sqlite3

import numpy as np

from fluoroscope.results import Array
from fluoroscope.training.store.coding import FLOAT, pack_steps, unpack_steps

__all__ = ["highest_step", "put_axis"]

HIGHEST = "_highest_step"
"""The entry of ``meta`` with the largest step of all columns: steps may fall, so that the newest need not be it."""


def put_axis(sql: sqlite3.Connection, steps: Array, times: Array) -> int:
    """Put steps (S,) int64 and times (S,) into the file; returns their number."""
    data = (len(steps), pack_steps(steps), np.ascontiguousarray(times, FLOAT).tobytes())
    if len(steps):
        sql.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value "
            "WHERE CAST(excluded.value AS INTEGER) > CAST(meta.value AS INTEGER)",
            (HIGHEST, str(int(steps.max()))),
        )
    return int(sql.execute("INSERT INTO axes VALUES (NULL, ?, ?, ?)", data).lastrowid or 0)


def highest_step(sql: sqlite3.Connection) -> int | None:
    """The largest step of all columns, None where there are none."""
    found = sql.execute("SELECT value FROM meta WHERE key = ?", (HIGHEST,)).fetchone()
    if found is not None:
        return int(found[0])
    rows = sql.execute("SELECT steps, count FROM axes")  # a file that an earlier version wrote
    return max((int(unpack_steps(steps, count).max()) for steps, count in rows if count), default=None)
