"""Columns beside the rows of a container, for wires that pass too many rows to go between the boxes."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

__all__ = ["columns"]


def columns(spans: Sequence[tuple[int, int]]) -> list[int]:
    """A column, 1 beside the rows and then outwards, for each span (first row, last row); in one column they are apart.

    Spans by their start take the first column that is free (the left-edge algorithm, which needs the fewest); then
    columns are turned round within each group of spans that overlap, so that what starts earlier runs further out and
    nested skips do not cross.
    """
    given = [0] * len(spans)
    free: list[int] = []
    busy: list[tuple[int, int]] = []  # last row, column
    group: list[int] = []
    used = 0
    for i in sorted(range(len(spans)), key=lambda i: (spans[i][0], -spans[i][1])):
        first, last = spans[i]
        while busy and busy[0][0] < first:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if not busy:
            _turn_round(given, group, used)
            group, free, used = [], [], 0
        if free:
            given[i] = heapq.heappop(free)
        else:
            used += 1
            given[i] = used
        heapq.heappush(busy, (last, given[i]))
        group.append(i)
    _turn_round(given, group, used)
    return given


def _turn_round(given: list[int], group: list[int], used: int) -> None:
    for i in group:
        given[i] = used + 1 - given[i]
