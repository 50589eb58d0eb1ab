"""Rows of the tail turned into columns: one blob for each series, steps and times shared where rows are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fluoroscope.results import Array
from fluoroscope.training.store.coding import FLOAT

__all__ = ["Block", "TailRow", "blocks"]

TailRow = tuple[int, int, float, bytes]
"""Layout, step, time, values."""


@dataclass(frozen=True)
class Block:
    """Series that were written by the same rows: ``values`` (series, rows)."""

    series: tuple[int, ...]
    steps: Array
    times: Array
    values: Array


def blocks(rows: Sequence[TailRow], layouts: dict[int, Array]) -> Iterator[Block]:
    """The columns of ``rows``, every series in the order in which it was written.

    ``layouts[layout]`` are the numbers of the series that a row of that layout has values of.
    """
    places: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row[0], []).append(place)
    tables = {
        layout: np.frombuffer(b"".join([rows[i][3] for i in found]), FLOAT).reshape(len(found), -1).T
        for layout, found in places.items()
    }
    steps = np.array([row[1] for row in rows], np.int64)
    times = np.array([row[2] for row in rows], FLOAT)
    for owners, members in _groups({layout: layouts[layout] for layout in places}):
        where = np.concatenate([places[layout] for layout in owners])
        order = np.argsort(where, kind="stable")
        columns = np.concatenate([tables[layout][m] for layout, m in zip(owners, members[1], strict=True)], axis=1)
        yield Block(members[0], steps[where[order]], times[where[order]], np.ascontiguousarray(columns[:, order]))


Members = tuple[tuple[int, ...], list[list[int]]]


def _groups(layouts: dict[int, Array]) -> Iterator[tuple[tuple[int, ...], Members]]:
    """(layouts, (series, their places in each of these layouts)) for all series that are in the same layouts."""
    owners: dict[int, list[tuple[int, int]]] = {}
    for layout, series in layouts.items():
        for place, number in enumerate(series.tolist()):
            owners.setdefault(number, []).append((layout, place))
    groups: dict[tuple[int, ...], list[tuple[int, list[int]]]] = {}
    for number, found in owners.items():
        groups.setdefault(tuple(layout for layout, _ in found), []).append((number, [place for _, place in found]))
    for key, entries in groups.items():
        yield key, (tuple(n for n, _ in entries), [list(p) for p in zip(*(p for _, p in entries), strict=True)])
