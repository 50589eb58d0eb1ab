"""A graph without the saved tensors of its autograd reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fluoroscope.results import ModelGraph

__all__ = ["without_saved"]


def without_saved(graph: ModelGraph) -> ModelGraph:
    """``graph`` with neither saved tensors nor their edges; the other nodes are numbered anew, in the same order."""
    kept = [n for n in graph.nodes if n.role != "saved"]
    number = {n.id: i for i, n in enumerate(kept)}
    nodes = tuple(
        n.replace(id=number[n.id], parent=number.get(n.parent, -1), alike=number.get(n.alike, number[n.id]))
        for n in kept
    )
    edges = tuple(
        e.replace(source=number[e.source], target=number[e.target])
        for e in graph.edges
        if e.source in number and e.target in number
    )
    return graph.replace(nodes=nodes, edges=edges)
