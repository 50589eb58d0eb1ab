"""Reading an ONNX file: parsed, checked and with shapes inferred; no weights are copied and nothing is run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fluoroscope.errors import ModelError
from fluoroscope.model.graph.files.message import is_message
from fluoroscope.model.loading.importing import import_library
from fluoroscope.model.loading.saved_file import existing_file
from fluoroscope.results.model_graph import GraphTensor

__all__ = ["OnnxFile", "Types", "arrays_of", "read_onnx"]

FEW = 16  # numbers that are a shape or an axis, not a weight
LARGEST = 2**31 - 1  # of a protobuf message; larger networks keep their weights in files beside
DTYPES = {
    1: ("float32", 4), 2: ("uint8", 1), 3: ("int8", 1), 4: ("uint16", 2), 5: ("int16", 2), 6: ("int32", 4),
    7: ("int64", 8), 8: ("string", 0), 9: ("bool", 1), 10: ("float16", 2), 11: ("float64", 8), 12: ("uint32", 4),
    13: ("uint64", 8), 14: ("complex64", 8), 15: ("complex128", 16), 16: ("bfloat16", 2), 17: ("float8_e4m3fn", 1),
    18: ("float8_e4m3fnuz", 1), 19: ("float8_e5m2", 1), 20: ("float8_e5m2fnuz", 1), 21: ("uint4", 0.5),
    22: ("int4", 0.5), 23: ("float4e2m1", 0.5),
}  # fmt: skip
"""Name and bytes of an element by ONNX's number of the type."""


@dataclass
class Types:
    """Shapes and types of tensors by name, and which sizes had to be assumed."""

    known: dict[str, GraphTensor] = field(default_factory=dict)
    assumed: dict[str, int] = field(default_factory=dict)

    def __call__(self, name: str) -> GraphTensor:
        """The tensor of that name; one without axes where nothing is known."""
        return self.known.get(name) or GraphTensor(shape=())

    def add(self, info: Any) -> None:
        """Note a ValueInfoProto."""
        kind = info.type.tensor_type
        if not info.type.HasField("tensor_type") or not kind.HasField("shape"):
            return
        shape = tuple(
            int(d.dim_value) if d.HasField("dim_value") else self._symbol(d.dim_param) for d in kind.shape.dim
        )
        self.known.setdefault(info.name, tensor(shape, kind.elem_type))

    def _symbol(self, name: str) -> int:
        return self.assumed.setdefault(name, 1) if name else 1


@dataclass(frozen=True)
class OnnxFile:
    """A network in ONNX: the graph, its functions by (domain, name), types of tensors, weights, notes."""

    name: str
    graph: Any
    functions: dict[tuple[str, str], Any]
    types: Types
    notes: tuple[str, ...]
    producer: str


def tensor(shape: Sequence[int], kind: int) -> GraphTensor:
    """A tensor of a shape and an ONNX type."""
    dtype, size = DTYPES.get(kind, ("unknown", 0))
    return GraphTensor(shape=tuple(shape), dtype=dtype, bytes=math.ceil(math.prod(shape) * size))


def read_onnx(path: str | Path, sizes: dict[str, int] | None = None) -> OnnxFile:
    """The network in an ONNX file. Symbolic sizes (a free batch) are taken as ``sizes`` says, else as 1.

    Weights stay where they are: only their shapes and types are read, and files of weights beside are not opened.

    Raises:
        MissingExtra: the onnx package is not installed.
        InputError: there is no such file.
        ModelError: not an ONNX file, truncated, or with tensors whose sizes can't be right.
    """
    onnx, file, model = _loaded(path)
    types = Types(assumed=dict(sizes or {}))
    notes = _fix_sizes(model.graph, types.assumed)
    model, trouble = _with_shapes(onnx, model)
    for info in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        types.add(info)
    _nested_types(model.graph, types)
    functions = {(f.domain, f.name): f for f in model.functions}
    producer = " ".join(filter(None, (model.producer_name, model.producer_version)))
    return OnnxFile(file.stem, model.graph, functions, types, (*notes, *trouble), producer)


def arrays_of(path: str | Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The weights that an ONNX file holds, as arrays by name, and notes on those that it does not hold.

    Raises what :func:`read_onnx` raises.
    """
    onnx, _, model = _loaded(path)
    found, left = {}, []
    for weight in _weights(model.graph):
        kind = DTYPES.get(weight.data_type, ("unknown", 0))[0]
        if weight.data_location == onnx.TensorProto.EXTERNAL:
            left.append(f"{weight.name!r} lies in a file beside")
        elif kind.startswith("float") and not kind.startswith(("float8", "float4")):
            found[weight.name] = np.array(onnx.numpy_helper.to_array(weight))
        elif math.prod(weight.dims) > FEW:
            left.append(f"{weight.name!r} holds {kind}")
    shown = "; ".join(left[:3]) + (f"; and {len(left) - 3} more" if len(left) > 3 else "")
    return found, (f"left out: {shown}",) if left else ()


def _loaded(path: str | Path) -> tuple[Any, Path, Any]:
    """The onnx package, the file, and what it holds, every weight's size checked."""
    file = existing_file(str(path))
    if file.stat().st_size > LARGEST:
        raise ModelError(f"{file.name} is larger than an ONNX file can be", got=f"{file.stat().st_size:,} bytes")
    if not is_message(file):
        raise _broken(file, "bytes that are no ONNX message, or not all of one")
    onnx = import_library("onnx", "an ONNX file", "onnx")
    try:
        model = onnx.load(str(file), load_external_data=False)
    except Exception as error:  # protobuf raises its own
        raise _broken(file, f"{type(error).__name__}: {error}") from error
    if not model.graph.node:
        raise _broken(file, "no operations in it")
    for weight in _weights(model.graph):
        _check_weight(file, weight)
    return onnx, file, model


def _broken(file: Path, got: str) -> ModelError:
    return ModelError(
        f"{file.name} is not a complete ONNX file", got=got, expected="a file that an ONNX exporter wrote, in full"
    )


def subgraphs(node: Any) -> Iterator[tuple[str, Any]]:
    """The graphs inside a node: branches of an If, the body of a Loop."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.name, attribute.g
        for number, graph in enumerate(attribute.graphs):
            yield f"{attribute.name}.{number}", graph


def _weights(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for _, inner in subgraphs(node):
            yield from _weights(inner)


def _check_weight(file: Path, weight: Any) -> None:
    """A tensor's own bytes must be those of its shape."""
    size = DTYPES.get(weight.data_type, ("", 0))[1]
    if any(d < 0 for d in weight.dims):
        raise _broken(file, f"the weight {weight.name!r} has a negative size: {list(weight.dims)}")
    expected = math.ceil(math.prod(weight.dims) * size)
    if weight.HasField("raw_data") and size and len(weight.raw_data) != expected:
        raise _broken(
            file,
            f"the weight {weight.name!r} of shape {list(weight.dims)} needs {expected:,} bytes and has "
            f"{len(weight.raw_data):,}",
        )


def _fix_sizes(graph: Any, sizes: dict[str, int]) -> list[str]:
    """Symbolic sizes of the inputs become numbers, so that shapes can be inferred."""
    weights = {w.name for w in graph.initializer}
    assumed = []
    for info in graph.input:
        if info.name in weights or not info.type.HasField("tensor_type"):
            continue
        for place, size in enumerate(info.type.tensor_type.shape.dim):
            if size.HasField("dim_value") and size.dim_value > 0:
                continue
            name = size.dim_param
            size.dim_value = sizes.setdefault(name, 1) if name else 1
            assumed.append(f"{info.name}[{place}]{f' ({name})' if name else ''} as {size.dim_value}")
    return [f"sizes that the file leaves open were taken: {', '.join(assumed)}"] if assumed else []


def _with_shapes(onnx: Any, model: Any) -> tuple[Any, list[str]]:
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True), []
    except Exception as error:  # noqa: BLE001 (whatever it is, the structure is still there to be shown)
        return model, [f"shapes could not be inferred ({' '.join(str(error).split())[:160]}); some are missing"]


def _nested_types(graph: Any, types: Types) -> None:
    for weight in graph.initializer:
        types.known[weight.name] = tensor(tuple(weight.dims), weight.data_type)
    for node in graph.node:
        for _, inner in subgraphs(node):
            for info in (*inner.input, *inner.value_info, *inner.output):
                types.add(info)
            _nested_types(inner, types)
