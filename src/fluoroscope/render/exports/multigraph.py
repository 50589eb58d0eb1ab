"""NetworkX: a directed multigraph with all attributes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from fluoroscope.errors import MissingExtra

if TYPE_CHECKING:
    from fluoroscope.results import ModelGraph

__all__ = ["networkx_graph"]


def networkx_graph(graph: ModelGraph) -> Any:
    """A ``networkx.MultiDiGraph``: nodes by id, their fields as attributes; an edge for each tensor that flows.

    Shapes stay tuples, an edge's tensor is its ``shape``, ``dtype`` and ``bytes``. Containers are nodes, too: the
    attribute ``parent`` says who is inside of what.

    Raises:
        MissingExtra: networkx is not installed.
    """
    try:
        import networkx as nx
    except ImportError as error:
        raise MissingExtra.of("networkx", "graph", "a NetworkX graph") from error
    made = nx.MultiDiGraph(title=graph.title, reading=graph.reading, parameters=graph.parameters, flops=graph.flops)
    for node in graph.nodes:
        made.add_node(node.id, **{f.name: getattr(node, f.name) for f in dataclasses.fields(node) if f.name != "id"})
    for edge in graph.edges:
        tensor = edge.tensor
        shape = {"shape": tensor.shape, "dtype": tensor.dtype, "bytes": tensor.bytes} if tensor else {}
        rest = {"output": edge.output, "argument": edge.argument, "fold": edge.fold, "hub": edge.hub}
        made.add_edge(edge.source, edge.target, **shape, **rest)
    return made
