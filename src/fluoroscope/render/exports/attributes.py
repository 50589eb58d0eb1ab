"""Nodes and edges as flat, typed attributes, for formats that hold graphs of anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fluoroscope.render.graph.wording import shape_of
from fluoroscope.render.plain import plain

if TYPE_CHECKING:
    from fluoroscope.results import GraphEdge, GraphNode, GraphTensor

__all__ = ["edge_attributes", "node_attributes"]

Value = str | int | bool


def node_attributes(node: GraphNode) -> dict[str, Value]:
    """All that a node says; lists as one text, shapes as ``1×64×56×56``."""
    return {
        "name": node.name,
        "role": node.role,
        "type": node.type,
        "parent": node.parent,
        "times": node.times,
        "repeat": node.repeat,
        "members": ", ".join(node.members),
        "alike": node.alike,
        "outputs": ", ".join(map(_tensor, node.outputs)),
        "parameters": node.parameters,
        "trainable": node.trainable,
        "parameter_bytes": node.parameter_bytes,
        "flops": node.flops,
        "activation_bytes": node.activation_bytes,
        "operations": node.operations,
        "shares": ", ".join(node.shares),
        "assumed": "; ".join(node.assumed),
        "error": node.error,
        "code": node.code,
        "attributes": json.dumps(plain(node.attributes)) if node.attributes else "",
    }


def edge_attributes(edge: GraphEdge) -> dict[str, Value]:
    """All that an edge says."""
    return {
        "output": edge.output,
        "argument": edge.argument,
        "shape": shape_of(edge.tensor),
        "dtype": edge.tensor.dtype if edge.tensor else "",
        "bytes": edge.tensor.bytes if edge.tensor else 0,
        "fold": edge.fold,
        "hub": edge.hub,
    }


def _tensor(tensor: GraphTensor) -> str:
    return f"{shape_of(tensor)} {tensor.dtype}".strip()
