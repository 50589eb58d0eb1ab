"""The graph of a file of weights alone: the tree of its names, with parameters and bytes; what flows is unknown."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from fluoroscope.model.graph.files.walking import ModuleWalk
from fluoroscope.model.weights import Checkpoint, Weight
from fluoroscope.results.model_graph import GraphTensor, ModelGraph

__all__ = ["weights_graph"]

NO_FLOW = "a file of weights does not say what flows where: modules stand in the order of their names, without edges"
DEEPEST = 100
BUFFERS = ("running_mean", "running_var")


@dataclass
class _Branch:
    """What begins with the same name: tensors of its own, and what lies below."""

    tensors: dict[str, Weight] = field(default_factory=dict)
    below: dict[str, _Branch] = field(default_factory=dict)


def weights_graph(path: str | Path, *, fold: bool = True) -> ModelGraph:
    """Modules by the names of their tensors; those that are built alike are folded. Only headers are read.

    Raises what :meth:`Checkpoint.open` raises.
    """
    file = Checkpoint.open(path)
    walk = ModuleWalk(file.title)
    _walk(walk, _tree(file), "", 0)
    graph = walk.finished(fold=fold, caption="weights without a network", notes=[NO_FLOW, *file.notes])
    # without edges nothing tells modules in a row from modules side by side, and rows are the rule
    nodes = tuple(n.replace(repeat="repetition") if n.repeat == "parallel" else n for n in graph.nodes)
    return graph.replace(nodes=nodes)


def _tree(file: Checkpoint) -> _Branch:
    root = _Branch()
    for weight in file.weights:
        *way, last = weight.name.split(".", DEEPEST)
        branch = root
        for part in way:
            branch = branch.below.setdefault(part, _Branch())
        branch.tensors[last] = weight
    return root


def _walk(walk: ModuleWalk, branch: _Branch, name: str, depth: int) -> None:
    """Everything below a branch, tensors of its own first."""
    tensors = {last: _tensor(weight) for last, weight in branch.tensors.items()}
    step = walk.builder.scope
    step.attributes.update(
        {last: f"{t.dtype} {' x '.join(map(str, t.shape)) or 'scalar'}" for last, t in tensors.items()}
    )
    step.shallow = tuple((last, t.shape, t.dtype) for last, t in tensors.items())
    walk.weigh(step, [(f"{name}.{last}", t, True) for last, t in tensors.items() if _is_parameter(last, t)], name)
    for part, below in branch.below.items():
        full = f"{name}.{part}" if name else part
        walk.enter(full, "", owner=walk.owner(full))
        _walk(walk, below, full, depth + 1)
        walk.leave([])


def _is_parameter(last: str, tensor: GraphTensor) -> bool:
    """Whole numbers and the running statistics of normalization are buffers, as far as names can tell."""
    return tensor.dtype.startswith(("float", "bfloat")) and last not in BUFFERS


def _tensor(weight: Weight) -> GraphTensor:
    size = getattr(torch, weight.dtype).itemsize if hasattr(torch, weight.dtype) else 0
    return GraphTensor(shape=weight.shape, dtype=weight.dtype, bytes=weight.size * size)
