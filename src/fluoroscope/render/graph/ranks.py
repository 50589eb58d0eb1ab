"""Ranks: on which level of a layered drawing each child of a container stands."""

from __future__ import annotations

import math
from collections.abc import Iterable

from fluoroscope.render.graph.wires import BORDER

__all__ = ["ranks"]

BOX_ASPECT = 3.0  # a closed box is about three times as wide as high


def ranks(count: int, wires: Iterable[tuple[int, int]]) -> list[int]:
    """The rank of each of ``count`` children, from 0: the longest path to it, then as low as shortens its wires.

    Children stand in the order of execution; a wire against that order (state that goes round) has no say. Those that
    nothing feeds, such as constants, sink to just above where they are used; those without any wire stay beside the
    one that ran before. Where nothing is wired at all (weights without flow) the children fill a block, row by row.
    """
    pairs = [w for w in wires if w[0] != w[1]]
    if not pairs:
        across = max(1, round(math.sqrt(count / BOX_ASPECT)))
        return [i // across for i in range(count)]
    before: list[list[int]] = [[] for _ in range(count)]
    after: list[list[int]] = [[] for _ in range(count)]
    fed, wired = [0] * count, [False] * count
    for a, b in pairs:
        for end in (a, b):
            if end != BORDER:
                wired[end] = True
        if b != BORDER and a < b:
            fed[b] += 1
            if a != BORDER:
                before[b].append(a)
                after[a].append(b)
    rank = _longest(count, before, wired)
    for a in range(count - 1, -1, -1):
        if len(after[a]) > fed[a]:
            rank[a] = min(rank[b] for b in after[a]) - 1
    return rank


def _longest(count: int, before: list[list[int]], wired: list[bool]) -> list[int]:
    rank = [0] * count
    for b in range(count):
        if before[b]:
            rank[b] = max(rank[a] for a in before[b]) + 1
        elif not wired[b] and b:
            rank[b] = rank[b - 1]
    return rank
