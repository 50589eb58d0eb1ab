"""Edges lifted to the containers they pass: what flows between the children of each, and over its border."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fluoroscope.errors import FluoroscopeError
from fluoroscope.render.graph.tree import ROOT, Tree

if TYPE_CHECKING:
    from fluoroscope.results import GraphEdge, ModelGraph

__all__ = ["BORDER", "Wires", "wires_of"]

BORDER = -1
"""Stands for the container's own border in a wire: its upper one as a source, its lower one as a target."""

Wire = tuple[int, int]


@dataclass
class Wires:
    """For each container the wires (place of the source, place of the target), with one edge that each of them carries.

    ``carried`` are the containers with an edge from one of their instances to the next.
    """

    inside: dict[int, dict[Wire, int]] = field(default_factory=dict)
    carried: set[int] = field(default_factory=set)

    def of(self, container: int) -> dict[Wire, int]:
        """The wires of ``container``, each with the place in ``graph.edges`` of an edge on it."""
        return self.inside.get(container, {})


def wires_of(graph: ModelGraph, tree: Tree, hubs: bool = False) -> Wires:
    """The wires of every container. Hub edges are set aside unless ``hubs``; so are those carried between instances.

    An edge from s to t leaves every container of s below the lowest common one, crosses that one from child to child,
    and enters every container of t: so each wire lies between two children or a child and the border. Edges are taken
    from the outside in, so that each step is made once, however deep the nesting.

    Raises:
        FluoroscopeError: an edge of a node that does not exist.
    """
    wires, crossing = Wires(), []
    for number, edge in enumerate(graph.edges):
        source, target = _ends(edge, len(graph.nodes))
        one, other = tree.siblings(source, target)
        if edge.fold == "carried":
            wires.carried.add(_folded(graph, tree, one))
        elif one != other and (hubs or not edge.hub):
            crossing.append((tree.depth[one], number, source, target, one, other))
    left: dict[int, int] = {}
    entered: dict[int, int] = {}
    for depth, number, source, target, one, other in sorted(crossing):
        wires.inside.setdefault(tree.parent[one], {}).setdefault((tree.place[one], tree.place[other]), number)
        for node in _climb(tree, source, one, depth, left):
            wires.inside.setdefault(tree.parent[node], {}).setdefault((tree.place[node], BORDER), number)
        for node in _climb(tree, target, other, depth, entered):
            wires.inside.setdefault(tree.parent[node], {}).setdefault((BORDER, tree.place[node]), number)
    return wires


def _ends(edge: GraphEdge, count: int) -> tuple[int, int]:
    if not (0 <= edge.source < count and 0 <= edge.target < count):
        raise FluoroscopeError(
            "an edge of the graph joins nodes that are not there",
            got=f"{edge.source} to {edge.target}",
            expected=f"numbers from 0 to {count - 1}",
        )
    return edge.source, edge.target


def _climb(tree: Tree, node: int, stop: int, depth: int, reached: dict[int, int]) -> list[int]:
    """The nodes from ``node`` up to below ``stop``, without those from where an earlier climb went as high."""
    steps = []
    while node != stop and reached.get(node, depth + 1) > depth:
        reached[node] = depth
        steps.append(node)
        node = tree.parent[node]
    return steps


def _folded(graph: ModelGraph, tree: Tree, node: int) -> int:
    """The folded node that holds ``node``, or is it."""
    start = node
    while node != ROOT and graph.nodes[node].times < 2:
        node = tree.parent[node]
    return start if node == ROOT else node
