"""The graph of a ``.pt2`` file: ATen operations in the modules they were exported from, with their lines of code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fluoroscope.model.graph.builder import Source
from fluoroscope.model.graph.files.exported_file import ExportedFile, read_exported
from fluoroscope.model.graph.files.exported_flops import flops_of
from fluoroscope.model.graph.files.walking import ModuleWalk, Scope
from fluoroscope.model.graph.steps import Origin
from fluoroscope.results.model_graph import ModelGraph

__all__ = ["exported_graph"]

LINE = re.compile(r'File "([^"]+)", line (\d+)')
LONGEST = 200


def exported_graph(path: str | Path, *, fold: bool = True) -> ModelGraph:
    """What a ``.pt2`` file says of a network: modules, operations, shapes, parameters, FLOPs, lines of code.

    Nothing in the file is run and no weight is read, so that no trust is needed. Raises what :func:`read_exported`
    raises.
    """
    file = read_exported(path)
    walk = _Walk(file)
    walk.all()
    taken = ", ".join(f"{symbol} as {size}" for symbol, size in sorted(file.sizes.items()))
    return walk.finished(
        fold=fold,
        caption=f"program of torch.export{f', torch {file.torch_version}' if file.torch_version else ''}",
        notes=[f"sizes that the program leaves open were taken as exported: {taken}"] if taken else [],
    )


class _Walk(ModuleWalk):
    """One reading of a program."""

    def __init__(self, file: ExportedFile) -> None:
        super().__init__(file.name)
        self.file = file
        self.values: dict[str, Source] = {}

    def all(self) -> None:
        """Inputs, operations in their order, outputs."""
        for name, (role, own) in self.file.roles.items():
            tensor = self.file.tensor(name)
            if role == "input":
                self.values[name] = self.builder.input(own, tensor)
            else:
                known = self.file.graph["tensor_values"].get(name, {})
                trainable = role == "parameter" and bool(known.get("requires_grad"))
                self.values[name] = Origin(role, own, tensor, trainable)  # type: ignore[arg-type]
        for node in self.file.graph["nodes"]:
            self._node(node)
        self.move_to([])
        for name in self.file.outputs:
            if name in self.values:
                self.builder.output(name, self.values[name], self.file.tensor(name))

    def _node(self, node: Mapping[str, Any]) -> None:
        notes = node.get("metadata") or {}
        self.move_to(_scopes(notes.get("nn_module_stack", "")))
        kind = _short(str(node["target"]))
        tensors = [(a.get("name", ""), n) for a in node["inputs"] for n in _tensors(a["arg"]) if n in self.values]
        names = [n for o in node["outputs"] for n in _tensors(o)]
        outputs = [self.file.tensor(n) for n in names]
        shapes = [self.file.tensor(n).shape for _, n in tensors]
        options = {
            str(a.get("name", k)): v for k, a in enumerate(node["inputs"]) if (v := _plain(a["arg"])) is not None
        }
        made = self.builder.operation(
            kind,
            [(argument, self.values[n]) for argument, n in tensors],
            outputs,
            code=_code(notes.get("stack_trace", "")),
            flops=flops_of(kind, shapes, [o.shape for o in outputs]),
            activation_bytes=sum(o.bytes for o in outputs),
            attributes=options,
            shallow=tuple(sorted((k, repr(v)) for k, v in options.items())),
        )
        self.values.update(zip(names, made, strict=True))
        self._weigh([n for _, n in tensors])

    def _weigh(self, names: list[str]) -> None:
        """Parameters count with the innermost module that uses them first."""
        found = []
        for name in names:
            source = self.values[name]
            if isinstance(source, Origin) and source.role == "parameter":
                found.append((source.name, source.tensor, source.trainable))
        if found:
            scope = self.builder.scope
            self.weigh(scope, found, scope.name)

    def enter(self, name: str, kind: str, **fields: Any) -> Any:
        """Open a module; one that is called again is the same one."""
        return super().enter(name, kind, owner=self.owner(name), **fields)


def _scopes(stack: str) -> list[Scope]:
    """(path, class) of the modules around a node, from ``key,path,class;...``; the network itself left out."""
    found = []
    for entry in stack[: 100 * LONGEST].split(";"):
        _, comma, rest = entry.partition(",")
        path, also, kind = rest.rpartition(",")
        if comma and also and path:
            found.append((path[:LONGEST], kind.rpartition(".")[2][:LONGEST]))
    return found


def _short(target: str) -> str:
    """``torch.ops.aten.linear.default`` as ``linear``; other targets by their last name."""
    match = re.fullmatch(r"torch\.ops\.(\w+)\.(\w+)(\.\w+)?", target)
    if match:
        return match[2] if match[1] == "aten" else f"{match[1]}::{match[2]}"
    return target.rpartition(".")[2][:LONGEST]


def _tensors(arg: Mapping[str, Any]) -> Iterator[str]:
    """Names of the tensors of an argument or a result."""
    for kind, value in arg.items():
        if kind == "as_tensor":
            yield value["name"]
        elif kind in ("as_tensors", "as_nested_tensors"):
            for item in value:
                yield from (i["name"] for i in (item if isinstance(item, list) else [item]))
        elif kind == "as_optional_tensors":
            for item in value:
                yield from _tensors(item) if isinstance(item, Mapping) else ()
        elif kind == "as_optional_tensor" and isinstance(value, Mapping):
            yield from _tensors(value)


def _plain(arg: Mapping[str, Any]) -> Any:
    """The value of an argument that is no tensor; None for tensors and for nothing."""
    for kind, value in arg.items():
        if kind in ("as_int", "as_float", "as_bool", "as_string"):
            return value if not isinstance(value, str) else value[:LONGEST]
        if kind in ("as_ints", "as_floats", "as_bools", "as_strings"):
            return tuple(value)[:64]
    return None


def _code(trace: str) -> str:
    """``file.py:12``, the innermost line that is not torch's own."""
    places = LINE.findall(trace[: 100 * LONGEST])
    own = [(f, n) for f, n in places if "/torch/" not in f and "\\torch\\" not in f]
    if not (own or places):
        return ""
    file, line = (own or places)[-1]
    return f"{Path(file).name}:{line}"
