"""Which modules of a graph are open at first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoroscope.render.graph.tree import ROOT, Tree

if TYPE_CHECKING:
    from fluoroscope.results import ModelGraph

__all__ = ["opened"]

READABLE = 40
"""Boxes that are taken in at a glance."""
HIDDEN_INSIDE = 1
"""A module with no more than this inside says nothing more when it is open."""


def opened(graph: ModelGraph, tree: Tree | None = None, depth: int | None = None, limit: int = READABLE) -> set[int]:
    """The containers that are open: the first ``depth`` levels, or as many levels as show about ``limit`` boxes.

    A level is opened as a whole or not at all, so that what looks alike is alike; but the lone container of a level is
    always opened, and without ``depth`` modules of a single operation stay closed, as the layers that people know.
    """
    tree = tree or Tree.of(graph)
    made: set[int] = set()
    level, shown = [ROOT], len(tree.children())
    for step in range(len(tree.parent)):
        inner = [c for outer in level for c in tree.children(outer) if _worth(tree, c, depth is not None)]
        more = sum(len(tree.children(c)) for c in inner) - len(inner)
        stop = step >= depth if depth is not None else shown + more > limit and len(inner) > 1
        if not inner or stop:
            break
        made.update(inner)
        level, shown = inner, shown + more
    return made


def _worth(tree: Tree, node: int, anyway: bool) -> bool:
    inside = tree.children(node)
    return bool(inside) and (anyway or len(inside) > HIDDEN_INSIDE or bool(tree.children(inside[0])))
