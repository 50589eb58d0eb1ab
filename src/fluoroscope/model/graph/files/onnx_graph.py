"""The graph of an ONNX file: operations in the modules that their names tell of, branches and functions as modules."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fluoroscope.model.graph.builder import Source
from fluoroscope.model.graph.files.onnx_file import OnnxFile, Types, read_onnx, subgraphs
from fluoroscope.model.graph.files.onnx_flops import flops_of
from fluoroscope.model.graph.files.walking import ModuleWalk, Scope
from fluoroscope.model.graph.steps import Origin
from fluoroscope.results.model_graph import GraphTensor, ModelGraph

__all__ = ["onnx_graph"]


FLOATS = ("float", "bfloat", "double", "complex")
SCOPES, CLASSES = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"
LONGEST = 200
DEEPEST = 200
FEW = 16
BRANCHES = "which branch runs depends on data; all are drawn"
BODY = "how often the body runs depends on data; it is drawn and counted once"
WHOLE = (2, 3, 4, 5, 6, 7, 9, 12, 13)


def onnx_graph(path: str | Path, *, fold: bool = True, sizes: dict[str, int] | None = None) -> ModelGraph:
    """What an ONNX file says of a network: operations, shapes, parameters, FLOPs; nothing is run.

    Modules come from the names that exporters give (``/layer1/layer1.0/conv1/Conv``) or from their notes on scopes; an
    operation with weights of its own is a module. Raises what :func:`read_onnx` raises.
    """
    file = read_onnx(path, sizes)
    walk = _Walk(file)
    walk.graph(file.graph, [])
    return walk.finished(
        fold=fold,
        caption=f"ONNX file{f' by {file.producer}' if file.producer else ''}",
        notes=file.notes,
    )


class _Walk(ModuleWalk):
    """One reading of a file."""

    def __init__(self, file: OnnxFile) -> None:
        super().__init__(file.name)
        self.file, self.types = file, file.types
        self.values: dict[str, Source] = {}
        self.small: dict[str, Any] = {}
        self.depth = 0

    def graph(self, graph: Any, given: Sequence[Source]) -> list[Source]:
        """The operations of a graph; its outputs. ``given`` are the inputs of an inner one."""
        inner = self.depth > 0
        weights = {w.name: w for w in graph.initializer}
        for weight in graph.initializer:
            self.values[weight.name] = _origin(weight.name, self.types(weight.name))
            if math.prod(weight.dims) <= FEW and weight.data_type in WHOLE:
                self.small[weight.name] = _numbers(weight)
        for number, info in enumerate(i for i in graph.input if i.name not in weights):
            source = given[number] if number < len(given) else None
            self.values[info.name] = source or self.builder.input(info.name, self.types(info.name))
        self._nodes(graph.node)
        outputs = [self.values[o.name] for o in graph.output if o.name in self.values]
        if not inner:
            for info in graph.output:
                if info.name in self.values:
                    self.builder.output(info.name, self.values[info.name], self.types(info.name))
        return outputs

    def _nodes(self, nodes: Sequence[Any]) -> None:
        kept, self.scopes = self.scopes, []
        for node, wanted in zip(nodes, self._all_scopes(nodes), strict=True):
            if node.op_type == "Constant" and not node.input:
                self._constant(node)
                continue
            self.move_to(wanted)
            self._node(node)
        self.move_to([])
        self.scopes = kept

    def _all_scopes(self, nodes: Sequence[Any]) -> list[list[Scope]]:
        """The modules around each node: as its name tells, else as its weights tell. Where neither does, a node
        with one input (an activation) belongs to what it follows, another to what comes before and after it.
        """
        told = [_scopes(node) or self._scopes_of_weights(node) for node in nodes]
        found: list[list[Scope]] = []
        after: list[Scope] = []
        following = []
        for scopes in reversed(told):
            after = after if scopes is None else scopes
            following.append(after)
        for node, scopes, later in zip(nodes, told, reversed(following), strict=True):
            before = found[-1] if found else []
            if len([n for n in node.input if n not in self.small]) > 1:
                before = [a for a, b in zip(before, later, strict=False) if a == b]
            found.append(before if scopes is None else scopes)
        return found

    def _scopes_of_weights(self, node: Any) -> list[Scope] | None:
        prefix = self._weight_prefix(node)
        if prefix is None:
            return None if not node.name.startswith("/") else []
        parts = prefix.split(".")[:-1]
        return [(".".join(parts[: i + 1]), _class_of(".".join(parts[: i + 1]))) for i in range(len(parts))]

    def _weight_prefix(self, node: Any) -> str | None:
        """``layer1.0.conv1`` where a node's first weight is ``layer1.0.conv1.weight``."""
        for name in node.input:
            source = self.values.get(name)
            if isinstance(source, Origin) and source.role == "parameter":
                prefix, dot, _ = name[:LONGEST].rpartition(".")
                return prefix if dot and prefix and "/" not in prefix and ":" not in prefix else None
        return None

    def _constant(self, node: Any) -> None:
        name = node.output[0]
        self.values[name] = _origin(name, self.types(name), "constant")
        for attribute in node.attribute:
            if attribute.name == "value" and math.prod(attribute.t.dims) <= FEW and attribute.t.data_type not in (0, 8):
                self.small[name] = _numbers(attribute.t)
            elif attribute.name.startswith("value_"):
                self.small[name] = _plain(attribute)

    def _node(self, node: Any) -> None:
        inner = list(subgraphs(node))
        function = self.file.functions.get((node.domain, node.op_type))
        if self.depth > DEEPEST:
            inner, function = [], None
        if inner:
            self._branches(node, inner)
        elif function is not None:
            self._function(node, function)
        else:
            self._operation(node)

    def _sources(self, names: Sequence[str]) -> list[tuple[str, Source]]:
        """Where inputs come from; a few constant numbers are told with the operation instead."""
        return [
            (str(k), self.values[name])
            for k, name in enumerate(names)
            if name and name in self.values and name not in self.small
        ]

    def _operation(self, node: Any) -> None:
        attributes = {a.name: _plain(a) for a in node.attribute}
        attributes |= {f"input {k}": self.small[n] for k, n in enumerate(node.input) if n in self.small}
        outputs = [self.types(name) for name in node.output if name]
        inputs = [self.types(name).shape for name in node.input]
        flops = flops_of(node.op_type, inputs, [o.shape for o in outputs], attributes)
        sources = self._sources(node.input)
        weights = [s.name for _, s in sources if isinstance(s, Origin) and s.role == "parameter"]
        name = self._weight_prefix(node) if weights and not node.name.startswith("/") else None
        name = name or _own_name(node)
        if weights:
            self.enter(name, node.op_type, owner=self.owner(tuple(weights)))
        made = self.builder.operation(
            node.op_type, sources, outputs, flops=flops, activation_bytes=sum(o.bytes for o in outputs),
            attributes={**attributes, "name": node.name},
            shallow=tuple(sorted((k, repr(v)) for k, v in attributes.items())),
        )  # fmt: skip
        if weights:
            self.weigh(self.builder.scope, [(w, self.types(w), True) for w in weights], name)
            self.builder.scope.attributes.update(attributes)
            self.leave(made, outputs)
        self.values.update(zip([name for name in node.output if name], made, strict=True))

    def _branches(self, node: Any, inner: Sequence[tuple[str, Any]]) -> None:
        """An If, Loop or Scan: a module with a module for each graph inside; what it gives joins what they give."""
        name, outputs = _own_name(node), [self.types(o) for o in node.output if o]
        sources = self._sources(node.input)
        self.enter(name, node.op_type)
        ends: list[tuple[str, Source]] = []
        for part, graph in inner:
            ends += [(part, source) for source in self._inside(f"{name}.{part}", part, graph, [s for _, s in sources])]
        made = self.builder.operation(f"{node.op_type} result", [*sources[:1], *ends], outputs)
        self.builder.scope.assumed.append(BRANCHES if node.op_type == "If" else BODY)
        self.leave(made, outputs)
        self.values.update(zip([o for o in node.output if o], made, strict=True))

    def _inside(self, name: str, kind: str, graph: Any, given: Sequence[Source]) -> list[Source]:
        kept = dict(self.values)
        self.enter(name, kind)
        self.depth += 1
        try:
            outputs = self.graph(graph, given)
        finally:
            self.depth -= 1
            self.values = kept
        self.leave(outputs, [])
        return outputs

    def _function(self, node: Any, function: Any) -> None:
        """A function of the file itself, written out as a module."""
        kept, types = self.values, self.types
        given = [self.values.get(name) for name in node.input]
        self.enter(_own_name(node), node.op_type)
        self.values = {n: s for n, s in zip(function.input, given, strict=False) if s is not None}
        self.types = Types({**types.known, **{n: types(o) for n, o in zip(function.output, node.output, strict=False)}})
        self.depth += 1
        try:
            self._nodes(function.node)
            made = [self.values.get(name) for name in function.output]
        finally:
            self.depth -= 1
            self.values, self.types = kept, types
        found = [(o, s) for o, s in zip(node.output, made, strict=False) if s is not None and o]
        self.leave([s for _, s in found], [types(o) for o, _ in found])
        self.values.update(found)


def _origin(name: str, tensor: GraphTensor, role: Any = None) -> Origin:
    role = role or ("parameter" if tensor.dtype.startswith(FLOATS) else "constant")
    return Origin(role, name, tensor, trainable=role == "parameter")


def _scopes(node: Any) -> list[Scope]:
    """The modules around a node as it tells of them itself, outermost first."""
    notes = {p.key: p.value for p in node.metadata_props}
    if SCOPES in notes:
        found = _listed(notes[SCOPES]), _listed(notes.get(CLASSES, "[]"))
        names = found[0][:-1]
        classes = [c.rpartition(".")[2] for c in found[1]]
        return [(n, classes[i] if i < len(classes) else "Scope") for i, n in enumerate(names) if n]
    parts = [p for p in node.name[:LONGEST].split("/")[:-1] if p]
    return [(".".join(_distinct(parts[: i + 1])), _class_of(part)) for i, part in enumerate(parts)]


def _distinct(parts: Sequence[str]) -> list[str]:
    """Exporters repeat the way: /layer1/layer1.0/conv1; the last full name and what follows it is enough."""
    kept: list[str] = []
    for part in parts:
        while kept and part.startswith(kept[-1] + "."):
            kept.pop()
        kept.append(part)
    return kept


def _class_of(part: str) -> str:
    """A scope's class is not told; its name without numbers stands for it."""
    word = part.rpartition(".")[2] or part
    word = part.split(".", maxsplit=1)[0] if word.isdecimal() else word
    return word.rstrip("0123456789_") or word


def _own_name(node: Any) -> str:
    scopes = _scopes(node)
    last = node.name.rpartition("/")[2] or (node.output[0] if node.output else "") or node.op_type
    return f"{scopes[-1][0]}.{last}" if scopes else last


def _numbers(tensor: Any) -> Any:
    """The values of a small tensor."""
    from onnx import numpy_helper

    try:
        found = numpy_helper.to_array(tensor)
    except (TypeError, ValueError):
        return ()
    return found.tolist() if found.ndim == 0 else tuple(found.flatten().tolist())


def _listed(text: str) -> list[str]:
    try:
        found = ast.literal_eval(text) if len(text) < 20_000 else []
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return [str(item) for item in found] if isinstance(found, list) else []


def _plain(attribute: Any) -> Any:
    """The value of an attribute as a plain one; tensors by their shape."""
    kind = attribute.type
    if kind == 1:
        return attribute.f
    if kind == 2:
        return attribute.i
    if kind == 3:
        return attribute.s.decode("utf-8", "replace")[:LONGEST]
    if kind == 4:
        return f"tensor {list(attribute.t.dims)}"
    if kind == 6:
        return tuple(attribute.floats)[:64]
    if kind == 7:
        return tuple(attribute.ints)[:64]
    if kind == 8:
        return tuple(s.decode("utf-8", "replace")[:LONGEST] for s in attribute.strings)[:64]
    return ""
