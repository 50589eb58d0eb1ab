"""A graph with some modules closed: the nodes that are left, and the edges between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fluoroscope.render.graph.opening import opened
from fluoroscope.render.graph.tree import ROOT, Tree

if TYPE_CHECKING:
    from fluoroscope.results import GraphEdge, GraphNode, ModelGraph

__all__ = ["Lifted", "LiftedEdge", "lifted"]

ALL = -1
"""A depth: every level is open."""


@dataclass(frozen=True)
class LiftedEdge:
    """An edge between visible nodes; ``edge`` is the first of those that it stands for."""

    source: int
    target: int
    edge: GraphEdge


@dataclass(frozen=True)
class Lifted:
    """Visible nodes by their container, in order; containers among them are open where ``inside`` has them."""

    graph: ModelGraph
    inside: dict[int, list[GraphNode]]
    edges: tuple[LiftedEdge, ...]

    def walk(self) -> Iterator[tuple[GraphNode | None, int]]:
        """(node, depth) in order, containers first; (None, depth) where a container of that depth ends.

        Without recursion: networks may be nested deeper than Python's stack.
        """
        stack: list[Iterator[GraphNode]] = [iter(self.inside[ROOT])]
        while stack:
            node = next(stack[-1], None)
            if node is not None:
                yield node, len(stack)
                if node.id in self.inside:
                    stack.append(iter(self.inside[node.id]))
                continue
            stack.pop()
            if stack:
                yield None, len(stack)


def lifted(graph: ModelGraph, depth: int | None = ALL, hubs: bool = True) -> Lifted:
    """``graph`` with ``depth`` levels of modules open (None: as many as are readable; -1: all).

    Edges of closed modules start and end at the module; equal ones (same ends, same tensor of the same node) are one.
    """
    tree = Tree.of(graph)
    shut = set(tree.containers()) if depth == ALL else opened(graph, tree, depth)
    seen = tree.visible(shut)
    inside: dict[int, list[GraphNode]] = {ROOT: []}
    for node in graph.nodes:
        if seen[node.id] == node.id:
            inside.setdefault(node.parent, []).append(node)
    found: dict[tuple[int, int, int, int], LiftedEdge] = {}
    for edge in graph.edges:
        source, target = seen[edge.source], seen[edge.target]
        if (source != target or edge.source == edge.target or edge.fold == "carried") and (hubs or not edge.hub):
            found.setdefault((source, target, edge.source, edge.output), LiftedEdge(source, target, edge))
    return Lifted(graph, inside, tuple(found.values()))
