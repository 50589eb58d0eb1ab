"""The layered layout of one container: rows of children, and the ways of wires that pass more than one row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from fluoroscope.render.graph.columns import columns
from fluoroscope.render.graph.order import Links, ordered
from fluoroscope.render.graph.ranks import ranks
from fluoroscope.render.graph.tree import Tree
from fluoroscope.render.graph.wires import BORDER, Wire, Wires, wires_of

if TYPE_CHECKING:
    from fluoroscope.results import ModelGraph

__all__ = ["BORDER", "Layout", "Trunk", "laid_out", "layouts"]

LONG = 16
"""Rows that a wire may pass between the boxes; longer ones run beside all of them."""
BUDGET = 4
"""Passings of rows between the boxes, for each child, that a container may have."""


@dataclass(frozen=True)
class Trunk:
    """The way of all wires of ``source`` that pass rows ``first`` to ``last``: between the boxes where ``column`` is 0
    (an item of those rows), else in the column that far to the right of all rows. A wire to a child in row r follows it
    through the rows before r.
    """

    source: int
    first: int
    last: int
    column: int = 0


@dataclass(frozen=True)
class Layout:
    """Rows from the top; an item >= 0 is the place of a child, an item -1 - k is trunk k passing by.

    ``wires`` are all pairs (source, target) of places, ``BORDER`` for the container's own. ``back`` are the wires
    against the order of execution, with the column to the left of all rows in which each goes up.
    """

    rows: tuple[tuple[int, ...], ...]
    trunks: tuple[Trunk, ...] = ()
    back: tuple[tuple[int, int, int], ...] = ()
    wires: tuple[Wire, ...] = field(default=())

    @cached_property
    def rank(self) -> dict[int, int]:
        """The row of each item."""
        return {item: r for r, row in enumerate(self.rows) for item in row if item >= 0}

    @cached_property
    def trunk_of(self) -> dict[int, int]:
        """The trunk of each source that has one."""
        return {t.source: k for k, t in enumerate(self.trunks)}


def layouts(graph: ModelGraph, tree: Tree | None = None, wires: Wires | None = None) -> dict[int, Layout]:
    """The layout of every container of ``graph``, by its id (ROOT for the whole); equal structures share one.

    Raises:
        FluoroscopeError: the nodes or edges contradict one another.
    """
    tree = tree or Tree.of(graph)
    wires = wires or wires_of(graph, tree)
    made: dict[tuple[int, tuple[Wire, ...]], Layout] = {}
    found: dict[int, Layout] = {}
    for container in tree.containers():
        key = (len(tree.children(container)), tuple(sorted(wires.of(container))))
        if key not in made:
            made[key] = laid_out(*key)
        found[container] = made[key]
    return found


def laid_out(count: int, wires: Iterable[Wire]) -> Layout:
    """The layout of ``count`` children, joined by ``wires`` of their places.

    Layers by the longest path, orders by barycentre sweeps over rows with a stand-in for each wire that passes
    (Sugiyama, Tagawa and Toda 1981). Wires of one source share their way. What would pass more than a few rows runs
    beside them instead, so that the work stays near linear and long skips are seen as such.
    """
    pairs = tuple(sorted({w for w in wires if w[0] != w[1]}))
    rank = ranks(count, pairs)
    height = max(rank, default=-1) + 1
    trunks = _trunks(rank, height, pairs, BUDGET * count + 2 * LONG)
    rows: list[list[int]] = [[] for _ in range(height)]
    for child in range(count):
        rows[rank[child]].append(child)
    for k, trunk in enumerate(trunks):
        for r in range(trunk.first, trunk.last + 1) if not trunk.column else ():
            rows[r].append(-1 - k)
    best = ordered(rows, _links(rank, height, pairs, trunks))
    against = [(a, b) for a, b in pairs if b != BORDER and a != BORDER and rank[a] >= rank[b]]
    ups = columns([(rank[b], rank[a]) for a, b in against])
    back = tuple((a, b, up) for (a, b), up in zip(against, ups, strict=True))
    return Layout(tuple(map(tuple, best)), tuple(trunks), back, pairs)


def _level(rank: list[int], height: int, end: int, is_source: bool) -> int:
    return rank[end] if end != BORDER else (-1 if is_source else height)


def _trunks(rank: list[int], height: int, pairs: tuple[Wire, ...], budget: int) -> list[Trunk]:
    """One for each source with a wire that passes a row; short ones first into the rows, while the budget lasts."""
    reach: dict[int, int] = {}
    for a, b in pairs:
        reach[a] = max(reach.get(a, -1), _level(rank, height, b, False))
    spans = {a: (_level(rank, height, a, True) + 1, far - 1) for a, far in reach.items()}
    passing = sorted((a for a, (first, last) in spans.items() if last >= first), key=lambda a: (_rows(spans[a]), a))
    within: list[int] = []
    for a in passing:
        budget -= _rows(spans[a])
        if _rows(spans[a]) > LONG or budget < 0:
            break
        within.append(a)
    beside = passing[len(within) :]
    sides = columns([spans[a] for a in beside])
    made = [Trunk(a, *spans[a]) for a in within] + [Trunk(a, *spans[a], c) for a, c in zip(beside, sides, strict=True)]
    return sorted(made, key=lambda t: t.source)


def _rows(span: tuple[int, int]) -> int:
    return span[1] - span[0] + 1


def _links(rank: list[int], height: int, pairs: tuple[Wire, ...], trunks: list[Trunk]) -> Links:
    """The links between items of neighbouring rows: wires of one row, and the pieces of trunks between the boxes."""
    links: list[set[tuple[int, int]]] = [set() for _ in range(max(0, height - 1))]
    way = {t.source: k for k, t in enumerate(trunks)}
    for k, trunk in enumerate(trunks):
        if not trunk.column:
            for r in range(max(trunk.first - 1, 0), trunk.last):
                links[r].add((trunk.source if r < trunk.first else -1 - k, -1 - k))
    for a, b in pairs:
        upper, lower = _level(rank, height, a, True), _level(rank, height, b, False)
        if b == BORDER or lower <= upper or lower == 0:
            continue
        if lower == upper + 1:
            links[upper].add((a, b))
        elif not trunks[way[a]].column:
            links[lower - 1].add((-1 - way[a], b))
    return [sorted(between) for between in links]
