"""Pictures of one matrix at several resolutions, coarse to fine, and how many of them fit into a budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fluoroscope.results.record import Array

__all__ = ["coarsest_step", "finer_steps", "larger", "levels_within", "pooled", "reduced"]


def coarsest_step(length: int, side: int) -> int:
    """Entries per cell along one axis, a power of two, so that at most ``side`` cells cover ``length`` entries."""
    step = 1
    while -(-length // step) > side:
        step *= 2
    return step


def finer_steps(rows: int, columns: int, side: int) -> list[tuple[int, int]]:
    """Entries per cell (down, across) of every level: the first has at most ``side`` x ``side`` cells, each following
    one halves both steps until a cell is an entry.
    """
    down, across = coarsest_step(rows, side), coarsest_step(columns, side)
    steps = [(down, across)]
    while down > 1 or across > 1:
        down, across = max(1, down // 2), max(1, across // 2)
        steps.append((down, across))
    return steps


def levels_within(costs: Sequence[Sequence[float]], budget: float) -> list[int]:
    """How many levels of each picture fit into ``budget``: all first levels, then all second ones, cheap ones first.

    ``costs[i][k]`` is what level k of picture i takes. First levels are always taken.
    """
    taken = [min(1, len(c)) for c in costs]
    left = budget - sum(c[0] for c in costs if c)
    for level in range(1, max(map(len, costs), default=0)):
        able = [i for i, c in enumerate(costs) if len(c) > level and taken[i] == level]
        for i in sorted(able, key=lambda i: costs[i][level]):
            if costs[i][level] > left:
                break
            left -= costs[i][level]
            taken[i] += 1
    return taken


def reduced(matrix: Array, down: int, across: int) -> Array:
    """A whole matrix in cells of (down x across) entries, each the entry of largest magnitude; steps are powers of
    two.
    """
    return larger(pooled(matrix, down, across, np.minimum), pooled(matrix, down, across, np.maximum))


def larger(low: Array, high: Array) -> Array:
    """Of two numbers the one of larger magnitude."""
    return np.where(np.abs(low) > np.abs(high), low, high)


def pooled(values: Array, down: int, across: int, rule: Any) -> Array:
    """``rule`` (``np.minimum`` or ``np.maximum``) over cells of (down x across) entries, powers of two."""
    while down > 1:
        values, down = _halved(values, rule), down // 2
    while across > 1:
        values, across = _halved(values.T, rule).T, across // 2
    return values


def _halved(values: Array, rule: Any) -> Any:
    """Neighbouring rows joined in pairs; a last one without a neighbour stays."""
    first, second = values[::2], values[1::2]
    if len(first) == len(second):
        return rule(first, second)
    made = first.copy()
    rule(first[: len(second)], second, out=made[: len(second)])
    return made
