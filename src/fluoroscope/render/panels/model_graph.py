"""ModelGraph: nodes and edges in columns, the layout of each container, and what is open at first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from fluoroscope.render.blobs import Blobs
from fluoroscope.render.graph import Layout, Tree, layouts, opened, wires_of
from fluoroscope.render.panels.registry import Panel, builder, head
from fluoroscope.render.plain import plain
from fluoroscope.results import GraphTensor, ModelGraph

__all__ = ["model_graph_panel"]

NUMBERS = (
    "parent",
    "times",
    "alike",
    "parameters",
    "trainable",
    "parameter_bytes",
    "flops",
    "activation_bytes",
    "operations",
)
RARE = ("code", "repeat", "members", "shares", "assumed", "error", "attributes")
TOTALS = ("parameters", "trainable", "parameter_bytes", "flops", "activation_bytes", "operations", "modules")


class _Table:
    """Distinct entries in the order they came, each with its number."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def number(self, key: Any, entry: Any) -> int:
        if key not in self._numbers:
            self._numbers[key] = len(self.entries)
            self.entries.append(entry)
        return self._numbers[key]

    def text(self, text: str) -> int:
        return self.number(text, text)

    def tensor(self, tensor: GraphTensor | None) -> int:
        if tensor is None:
            return -1
        key = (tensor.shape, tensor.dtype, tensor.bytes)
        return self.number(key, {"shape": list(tensor.shape), "dtype": tensor.dtype, "bytes": tensor.bytes})


@builder("model-graph")
def model_graph_panel(results: list[ModelGraph], blobs: Blobs) -> Panel:
    """One panel for each graph; the graph itself is one block, because a large one would swell the document."""
    result = results[0]
    said = head(result)
    said["meta"] = {k: v for k, v in said["meta"].items() if k != "values"}
    text = json.dumps(plain(_graph(result)), allow_nan=False, separators=(",", ":"))
    return {
        **said,
        "reading": result.reading,
        "complete": result.complete,
        "totals": {name: getattr(result, name) for name in TOTALS},
        "size": [len(result.nodes), len(result.edges)],
        "graph": blobs.array(np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8)),
    }


def _graph(result: ModelGraph) -> dict[str, Any]:
    tree = Tree.of(result)
    wires = wires_of(result, tree)
    texts, tensors = _Table(), _Table()
    nodes = _nodes(result, texts, tensors)
    edges = _edges(result, texts, tensors)
    shared, which = _layouts(layouts(result, tree, wires))
    nodes["layout"] = [which.get(n.id, -1) for n in result.nodes]
    return {
        "nodes": nodes,
        "rare": {name: _rare(result, name) for name in RARE},
        "edges": edges,
        "texts": texts.entries,
        "tensors": tensors.entries,
        "layouts": shared,
        "root": which[-1],
        "carried": sorted(wires.carried),
        "open": sorted(opened(result, tree)),
        "values": _values(result),
    }


def _nodes(result: ModelGraph, texts: _Table, tensors: _Table) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [getattr(n, name) for n in result.nodes] for name in NUMBERS}
    columns["role"] = [texts.text(n.role) for n in result.nodes]
    columns["type"] = [texts.text(n.type) for n in result.nodes]
    columns["name"] = [n.name for n in result.nodes]
    columns["outputs"] = [[tensors.tensor(t) for t in n.outputs] for n in result.nodes]
    return columns


def _edges(result: ModelGraph, texts: _Table, tensors: _Table) -> dict[str, list[int]]:
    columns: dict[str, Callable[[Any], int]] = {
        "source": lambda e: e.source,
        "target": lambda e: e.target,
        "output": lambda e: e.output,
        "argument": lambda e: texts.text(e.argument),
        "tensor": lambda e: tensors.tensor(e.tensor),
        "fold": lambda e: texts.text(e.fold),
        "hub": lambda e: int(e.hub),
    }
    return {name: [column(e) for e in result.edges] for name, column in columns.items()}


def _rare(result: ModelGraph, name: str) -> dict[int, Any]:
    return {n.id: getattr(n, name) for n in result.nodes if getattr(n, name)}


def _layouts(found: dict[int, Layout]) -> tuple[list[dict[str, Any]], dict[int, int]]:
    table = _Table()
    which = {container: table.number(id(layout), _layout(layout)) for container, layout in found.items()}
    return table.entries, which


def _layout(layout: Layout) -> dict[str, Any]:
    return {
        "rows": layout.rows,
        "trunks": [[t.source, t.first, t.last, t.column] for t in layout.trunks],
        "back": layout.back,
        "wires": layout.wires,
    }


def _values(result: ModelGraph) -> dict[str, list[Any]]:
    """Per-node numbers of the user's own, as columns; None where a node has none."""
    given: dict[str, dict[str, Any]] = result.meta.get("values", {})
    return {title: list(_column(result, numbers)) for title, numbers in given.items()}


def _column(result: ModelGraph, numbers: dict[str, Any]) -> Iterable[Any]:
    return (numbers.get(n.name) for n in result.nodes)
