"""Orders: who stands left of whom on each level, so that few wires cross."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence

__all__ = ["Links", "crossings", "ordered"]

Links = list[list[tuple[int, int]]]
"""For each pair of neighbouring rows the links between an item of the upper and one of the lower."""

SWEEPS = 12
PATIENCE = 3  # sweeps without gain after which it is left as it is


def ordered(rows: list[list[int]], links: Links) -> list[list[int]]:
    """``rows`` with the items of each in a better order: barycentre sweeps down and up (Sugiyama et al. 1981).

    The best order met is kept, the one given included: there are never more crossings than before. Ties keep the order
    that was, so the same rows always come out the same.
    """
    best, fewest = rows, crossings(rows, links)
    now, idle = [list(row) for row in rows], 0
    for sweep in range(SWEEPS):
        if not fewest or idle == PATIENCE:
            break
        _sweep(now, links, down=sweep % 2 == 0)
        found = crossings(now, links)
        idle = 0 if found < fewest else idle + 1
        if found < fewest:
            best, fewest = [list(row) for row in now], found
    return best


def crossings(rows: Sequence[Sequence[int]], links: Links) -> int:
    """How many pairs of links cross."""
    total = 0
    for upper, lower, between in zip(rows, rows[1:], links, strict=False):
        above, below = _places(upper), _places(lower)
        passed: list[int] = []
        for _, end in sorted((above[a], below[b]) for a, b in between):
            total += len(passed) - bisect_right(passed, end)
            insort(passed, end)
    return total


def _sweep(rows: list[list[int]], links: Links, down: bool) -> None:
    numbers = range(1, len(rows)) if down else range(len(rows) - 2, -1, -1)
    for i in numbers:
        fixed = _places(rows[i - 1] if down else rows[i + 1])
        near: dict[int, list[int]] = {}
        for a, b in links[i - 1] if down else links[i]:
            near.setdefault(b if down else a, []).append(fixed[a if down else b])
        rows[i] = _by_mean(rows[i], near)


def _by_mean(row: list[int], near: dict[int, list[int]]) -> list[int]:
    """Sorted by the mean place of neighbours; an item without any stays where it is among the others."""
    wishes = iter(sorted((item for item in row if item in near), key=lambda item: sum(near[item]) / len(near[item])))
    return [next(wishes) if item in near else item for item in row]


def _places(row: Sequence[int]) -> dict[int, int]:
    return {item: i for i, item in enumerate(row)}
