"""Reading a ``.pt2`` file without running anything: the program lies in it as JSON, beside weights that are left alone.

``torch.export.load`` would also unpickle what the file holds; a graph needs none of that.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluoroscope.errors import ModelError
from fluoroscope.model.loading.saved_file import existing_file
from fluoroscope.results.model_graph import GraphTensor

__all__ = ["ExportedFile", "read_exported"]

LARGEST = 1 << 30  # bytes of JSON; the program of a large network has some tens of millions
PROGRAMS = ("models/model.json", "serialized_exported_program.json")
DTYPES = {
    1: ("uint8", 1), 2: ("int8", 1), 3: ("int16", 2), 4: ("int32", 4), 5: ("int64", 8), 6: ("float16", 2),
    7: ("float32", 4), 8: ("float64", 8), 9: ("complex32", 4), 10: ("complex64", 8), 11: ("complex128", 16),
    12: ("bool", 1), 13: ("bfloat16", 2), 28: ("uint16", 2), 29: ("float8_e4m3fn", 1), 30: ("float8_e5m2", 1),
    31: ("float8_e4m3fnuz", 1), 32: ("float8_e5m2fnuz", 1),
}  # fmt: skip
"""Name and bytes of an element by the file format's number of the type."""


@dataclass(frozen=True)
class ExportedFile:
    """A program: its graph, the role and own name of each of its inputs, and the sizes that were taken for symbols."""

    name: str
    graph: Mapping[str, Any]
    roles: Mapping[str, tuple[str, str]]
    outputs: tuple[str, ...]
    sizes: Mapping[str, int]
    torch_version: str

    def tensor(self, name: str) -> GraphTensor:
        """The tensor of that name; one without axes where nothing is known."""
        known = self.graph["tensor_values"].get(name)
        return described(known, self.sizes) if known else GraphTensor(shape=())


def read_exported(path: str | Path) -> ExportedFile:
    """The program in a file that ``torch.export.save`` wrote. No weight is read and no code is run.

    Raises:
        InputError: there is no such file.
        ModelError: not such a file, truncated, or of a form that is not known.
    """
    file = existing_file(str(path))
    try:
        program = json.loads(_program(file))
        module = program["graph_module"]
        graph, signature = module["graph"], module["signature"]
        roles = dict(_role(spec) for spec in signature["input_specs"])
        outputs = tuple(name for spec in signature["output_specs"] for name in _output(spec))
        sizes: dict[str, int] = {}
        for known in graph["tensor_values"].values():
            described(known, sizes)
        return ExportedFile(file.stem, graph, roles, outputs, sizes, str(program.get("torch_version", "")))
    except ModelError:
        raise
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _broken(file, f"{type(error).__name__}: {error}") from error


def _broken(file: Path, got: str) -> ModelError:
    return ModelError(
        f"{file.name} is not a program of torch.export that can be read", got=got,
        expected="a complete file written by torch.export.save",
    )  # fmt: skip


def _program(file: Path) -> bytes:
    with zipfile.ZipFile(file) as archive:
        found = [i for i in archive.infolist() if i.filename.endswith(PROGRAMS)]
        if not found:
            raise _broken(file, "an archive without a program")
        if found[0].file_size > LARGEST or found[0].file_size > 1000 * max(1, file.stat().st_size):
            raise _broken(file, f"a program of {found[0].file_size:,} bytes")
        with archive.open(found[0]) as stream:
            return stream.read(LARGEST)


def _role(spec: Mapping[str, Any]) -> tuple[str, tuple[str, str]]:
    """Name in the graph, and (role, own name) of an input of the program."""
    (kind, entry), *_ = spec.items()
    arg = entry["arg"]
    if kind == "user_input":
        (_, inner), *_ = arg.items()
        name = inner["name"] if isinstance(inner, Mapping) and "name" in inner else str(inner)
        return name, ("input", name)
    own = entry.get("parameter_name") or entry.get("buffer_name") or entry.get("tensor_constant_name") or arg["name"]
    return arg["name"], ({"parameter": "parameter", "buffer": "buffer"}.get(kind, "constant"), str(own))


def _output(spec: Mapping[str, Any]) -> list[str]:
    """Names of what the user gets; changed buffers are not among it."""
    entry = spec.get("user_output") or spec.get("loss_output")
    arg = entry["arg"] if entry else {}
    return [a["name"] for a in arg.values() if isinstance(a, Mapping) and "name" in a]


def described(known: Mapping[str, Any], sizes: dict[str, int] | Mapping[str, int]) -> GraphTensor:
    """A tensor's shape and type; symbolic sizes by their hints, which are noted in ``sizes``."""
    shape = tuple(_size(s, sizes) for s in known["sizes"])
    if any(s < 0 for s in shape):
        raise ValueError(f"a negative size in {shape}")
    dtype, size = DTYPES.get(known["dtype"], ("unknown", 0))
    return GraphTensor(shape=shape, dtype=dtype, bytes=math.prod(shape) * size)


def _size(size: Mapping[str, Any], sizes: Any) -> int:
    if "as_int" in size:
        return int(size["as_int"])
    expression = size["as_expr"]
    hint = expression.get("hint")
    value = int(hint["as_int"]) if hint and "as_int" in hint else 1
    if isinstance(sizes, dict):
        sizes.setdefault(str(expression["expr_str"]), value)
    return value
