"""Weights to look at, one after the other and piece by piece: of a network, or of files without any network."""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fluoroscope.errors import InputError, ModelError, nearest
from fluoroscope.model.loading.saved_file import existing_file
from fluoroscope.model.safetensors_file import SafetensorsFile, StoredTensor
from fluoroscope.model.weights_file import SUFFIXES, read_weights

__all__ = ["BLOCK", "Checkpoint", "ModuleWeight", "PartWeight", "StoredWeight", "Weight", "is_checkpoint", "weights_of"]

BLOCK = 1 << 20
"""Entries that are read at a time."""
INDEX_LIMIT = 100_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Weight(ABC):
    """One tensor, seen as ``rows`` x ``columns``: the first axis down, all others across; a vector is one row."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: str = ""
    shared_with: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def rows(self) -> int:
        """Length of the first axis; 1 for vectors and scalars."""
        return self.shape[0] if len(self.shape) > 1 else 1

    @property
    def columns(self) -> int:
        """Entries of one row."""
        return math.prod(self.shape[1:]) if len(self.shape) > 1 else self.size

    @abstractmethod
    def flat(self, start: int, stop: int) -> Any:
        """Entries ``start`` to ``stop`` in C order as a NumPy vector of float32 or float64."""

    def blocks(self, most: int = BLOCK, step: int = 1) -> Iterator[tuple[int, int, Any]]:
        """(first row, first column, values (r, c)) over the whole tensor: whole rows, a multiple of ``step`` of them
        where they fit into ``most`` entries, else parts of single rows.
        """
        if not self.size:
            return
        if self.columns <= most:
            count = max(1, most // self.columns)
            count = max(step, count - count % step) if step * self.columns <= 4 * most else count
            for row in range(0, self.rows, count):
                end = min(row + count, self.rows)
                yield row, 0, self.flat(row * self.columns, end * self.columns).reshape(end - row, -1)
            return
        for row in range(self.rows):
            for column in range(0, self.columns, most):
                start = row * self.columns + column
                stop = min(start + most, (row + 1) * self.columns)
                yield row, column, self.flat(start, stop).reshape(1, -1)


@dataclass(frozen=True, kw_only=True, eq=False)
class ModuleWeight(Weight):
    """A parameter of a network in memory; pieces are views where the number format allows."""

    tensor: torch.Tensor = field(repr=False)

    @classmethod
    def of(cls, tensor: torch.Tensor, names: Sequence[str], role: str = "") -> ModuleWeight:
        """The weight of ``tensor``, whose first name is its own and whose others it is shared with."""
        return cls(
            name=names[0],
            shape=tuple(tensor.shape),
            dtype=str(tensor.dtype).removeprefix("torch."),
            role=role,
            shared_with=tuple(names[1:]),
            tensor=tensor.detach(),
        )

    def flat(self, start: int, stop: int) -> Any:
        """Entries as floats: complex ones by magnitude, quantized and sparse ones by the values they stand for."""
        piece = self._piece(start, stop)
        if piece.is_quantized:
            piece = piece.dequantize()
        if piece.is_complex():
            piece = piece.abs()
        wide = piece.dtype in (torch.float64, torch.int64, torch.int32, torch.uint32, torch.uint64)
        return piece.to("cpu", torch.float64 if wide else torch.float32).numpy()

    def _piece(self, start: int, stop: int) -> torch.Tensor:
        tensor = self.tensor.to_dense() if self.tensor.layout != torch.strided else self.tensor
        if tensor.is_contiguous():
            return tensor.view(-1)[start:stop]
        first, last = start // self.columns, -(-stop // self.columns)
        rows = tensor[first:last] if tensor.ndim > 1 else tensor[None]
        return rows.reshape(-1)[start - first * self.columns : stop - first * self.columns]


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredWeight(Weight):
    """A tensor in a safetensors file, read from it piece by piece."""

    file: SafetensorsFile = field(repr=False)
    stored: StoredTensor = field(repr=False)

    def flat(self, start: int, stop: int) -> Any:
        """Entries as floats, read from the file."""
        return self.file.read(self.stored, start, stop)


@dataclass(frozen=True, kw_only=True, eq=False)
class PartWeight(Weight):
    """One slice of another weight along its first axis, such as one expert of a layer."""

    whole: Weight = field(repr=False)
    first: int = 0

    @classmethod
    def of(cls, whole: Weight, index: int) -> PartWeight:
        """The slice at ``index``, named ``whole[index]``."""
        shared = tuple(f"{name}[{index}]" for name in whole.shared_with)
        name, shape = f"{whole.name}[{index}]", whole.shape[1:]
        first = index * whole.columns
        return cls(
            name=name, shape=shape, dtype=whole.dtype, role=whole.role, shared_with=shared, whole=whole, first=first
        )

    def flat(self, start: int, stop: int) -> Any:
        """Entries of the slice."""
        return self.whole.flat(self.first + start, self.first + stop)


def weights_of(root: nn.Module, buffers: bool = False) -> list[ModuleWeight]:
    """Every parameter of a network once, with all its names (and the buffers that its files hold, where asked for);
    those on the meta device have no values and are there too.
    """
    groups: dict[torch.Tensor, list[str]] = {}
    for name, parameter in root.named_parameters(remove_duplicate=False):
        groups.setdefault(parameter, []).append(name)
    if buffers:
        kept = root.state_dict(keep_vars=True)
        for name, buffer in root.named_buffers(remove_duplicate=False):
            if name in kept:
                groups.setdefault(buffer, []).append(name)
    return [ModuleWeight.of(p, names, _role(root, names[0])) for p, names in groups.items()]


def _role(root: nn.Module, name: str) -> str:
    """What the tensor is for, in the field's words: its module's class and its own last name."""
    owner, _, last = name.rpartition(".")
    return f"{type(root.get_submodule(owner)).__name__} {last}"


def is_checkpoint(path: str | Path) -> bool:
    """Whether ``path`` names a file or folder of weights, by its ending."""
    file = Path(path)
    known = file.suffix.lower() in (*SUFFIXES, ".onnx") or file.name.endswith(".safetensors.index.json")
    return known or _is_folder(file)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and next(path.glob("*.safetensors"), None) is not None


@dataclass(frozen=True)
class Checkpoint:
    """Weights in one file or many, without a network; ``notes`` say what was left out."""

    path: Path
    weights: tuple[Weight, ...]
    notes: tuple[str, ...] = ()
    bytes: int = 0

    @property
    def title(self) -> str:
        """The file's own name."""
        return self.path.name

    @classmethod
    def open(cls, path: str | Path) -> Checkpoint:
        """The table of contents of ``.safetensors``, its ``.index.json``, a folder of them, ``.pt`` or ``.onnx``.

        Headers are read and checked; values only when asked for (those of ``.pt`` and ``.onnx`` files all at once).

        Raises:
            InputError: there is no such file, or a file that the index names is missing.
            ModelError: a file is truncated, corrupt, or its header promises what it does not hold.
        """
        file = Path(path).expanduser()
        if file.is_dir():
            return cls._of_folder(file)
        file = existing_file(str(path))
        if file.name.endswith(".index.json"):
            return cls._of_index(file)
        if file.suffix.lower() == ".safetensors":
            return cls._of_files(file, [file])
        if file.suffix.lower() == ".onnx":
            return cls._of_onnx(file)
        if file.suffix.lower() not in SUFFIXES:
            raise ModelError(f"{file.name} is not a file of weights", expected=", ".join(sorted({*SUFFIXES, ".onnx"})))
        tensors, notes = read_weights(file)
        found = tuple(ModuleWeight.of(t, [n]) for n, t in tensors.items() if isinstance(t, torch.Tensor))
        return cls(file, found, notes, file.stat().st_size)

    @classmethod
    def _of_onnx(cls, file: Path) -> Checkpoint:
        """The weights inside an ONNX file; those in files beside it are not opened."""
        from fluoroscope.model.graph.files.onnx_file import arrays_of

        arrays, notes = arrays_of(file)
        found = tuple(ModuleWeight.of(torch.from_numpy(array), [name]) for name, array in arrays.items())
        return cls(file, found, notes, file.stat().st_size)

    @classmethod
    def _of_folder(cls, folder: Path) -> Checkpoint:
        index = sorted(folder.glob("*.safetensors.index.json"))
        if len(index) == 1:
            return cls._of_index(index[0])
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise InputError(f"{folder} holds no weights", expected="files that end in .safetensors")
        return cls._of_files(folder, files)

    @classmethod
    def _of_index(cls, index: Path) -> Checkpoint:
        names = _shards(index)
        files = []
        for name in dict.fromkeys(names.values()):
            if not (index.parent / name).is_file():
                beside = [p.name for p in index.parent.glob("*.safetensors")]
                raise InputError(
                    f"{index.name} names a file that is not there", got=name, nearest=nearest(name, beside)
                )
            files.append(index.parent / name)
        made = cls._of_files(index, files)
        lost = sorted(set(names) - {w.name for w in made.weights} - {n.split("'")[1] for n in made.notes if "'" in n})
        if lost:
            raise ModelError(
                f"{index.name} promises tensors that its files do not hold",
                got=", ".join(lost[:3]) + (f" and {len(lost) - 3} more" if len(lost) > 3 else ""),
                remedy="fetch or copy the files again",
            )
        return made

    @classmethod
    def _of_files(cls, path: Path, files: Sequence[Path]) -> Checkpoint:
        found: dict[str, Weight] = {}
        notes: list[str] = []
        for file in files:
            opened = SafetensorsFile.open(file)
            for tensor in opened.tensors:
                if tensor.name in found:
                    raise ModelError("two files hold a tensor of the same name", got=f"{tensor.name!r} in {file.name}")
                found[tensor.name] = _stored(opened, tensor)
            notes += [
                f"tensor '{t.name}' was left out: its number format {t.dtype} is not known here"
                for t in opened.unreadable
            ]
        ordered = tuple(found[name] for name in sorted(found, key=_natural))
        return cls(path, ordered, tuple(notes), sum(f.stat().st_size for f in files))


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts layer 2 before layer 10."""
    parts = re.split(r"(\d+)", name)
    return [(False, int(p), "") if p.isdecimal() and len(p) < 20 else (True, 0, p) for p in parts]


def _stored(file: SafetensorsFile, tensor: StoredTensor) -> StoredWeight:
    from fluoroscope.model.number_formats import FORMATS

    dtype = FORMATS[tensor.dtype].torch_name
    last = tensor.name.rpartition(".")[2]
    return StoredWeight(name=tensor.name, shape=tensor.shape, dtype=dtype, role=last, file=file, stored=tensor)


def _shards(index: Path) -> dict[str, str]:
    """Names of tensors and of the files they are in; a file outside the index's own folder is refused."""
    if index.stat().st_size > INDEX_LIMIT:
        raise ModelError(f"{index.name} is too large to be an index", got=f"{index.stat().st_size:,} bytes")
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards = {str(k): str(v) for k, v in names.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{index.name} is not an index of safetensors files",
            got=f"{type(error).__name__}: {error}",
            expected='{"weight_map": {"tensor": "file"}}',
        ) from error
    for name in shards.values():
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ModelError(
                f"{index.name} names a file that is not beside it", got=name, expected="a .safetensors file, no folder"
            )
    return shards
