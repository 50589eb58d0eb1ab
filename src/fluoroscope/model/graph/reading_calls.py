"""Reading a call: its name, its numbers, where its tensors come from, and what it writes to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from fluoroscope.model.graph.builder import Source
from fluoroscope.model.graph.nested import tensors_in
from fluoroscope.model.graph.steps import Value

if TYPE_CHECKING:
    from fluoroscope.model.graph.tracer import Tracer

__all__ = [
    "KNOWN_FACTORIES",
    "SMALL",
    "came_later",
    "error_line",
    "fresh_bytes",
    "name_of",
    "named_sources",
    "on_meta",
    "outer_bound",
    "place_of",
    "scalars_of",
    "without_device",
    "written_storages",
]

aten = torch.ops.aten
SMALL = 1 << 16
"""Numbers of a tensor that is made for real where all its values are known."""

KNOWN_FACTORIES = frozenset(
    {
        aten.arange.default,
        aten.arange.start,
        aten.arange.start_step,
        aten.zeros.default,
        aten.ones.default,
        aten.full.default,
        aten.scalar_tensor.default,
        aten.linspace.default,
        aten.eye.default,
        aten.eye.m,
        aten.tril_indices.default,
        aten.triu_indices.default,
    }
)
"""What makes tensors out of numbers alone."""


def error_line(error: BaseException) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def came_later(writer: Value, source: Source) -> bool:
    """Whether a write came after what the tensor itself says of its source."""
    return not (isinstance(source, Value) and source.time >= writer.time)


def _is_index(item: Any) -> bool:
    return isinstance(item, int) and not isinstance(item, bool)


def outer_bound(given: Sequence[torch.Tensor]) -> int:
    """An upper bound of what broadcasting can make of these tensors."""
    bound = 1
    for tensor in given:
        bound *= max(1, tensor.numel())
    return bound


def on_meta(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the same shape, strides and dtype on the meta device."""
    if tensor.layout is not torch.strided:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    return made.requires_grad_(tensor.requires_grad)  # matrix products fold their axes by it


def name_of(func: Any) -> str:
    """The name of a function; that of the attribute for getters."""
    name = getattr(func, "__name__", None) or str(func)
    if name == "__get__":
        return getattr(getattr(func, "__self__", None), "__name__", name)
    return name.strip("_") if name.startswith("__") else name


def scalars_of(args: Any, kwargs: Any) -> Any:
    """Options of a function that are numbers, as a key."""
    plain = [a for a in (*args, *sorted(kwargs.items(), key=str)) if not tensors_in(a)]
    return repr(plain)


def named_sources(args: Any, kwargs: Any, tracer: Tracer) -> Iterator[tuple[str, Source]]:
    """Where the tensors of a call come from, by argument."""
    for i, argument in enumerate(args):
        for source in tracer.sources(tensors_in(argument)):
            yield str(i), source
    for name, argument in kwargs.items():
        for source in tracer.sources(tensors_in(argument)):
            yield name, source


def written_storages(func: Any, args: Any, kwargs: Any) -> list[torch.UntypedStorage]:
    """The memory that an operation writes to, as its schema says."""
    found: list[torch.UntypedStorage] = []
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[position] if position < len(args) else kwargs.get(argument.name)
            found += [t.untyped_storage() for t in tensors_in(value) if t.layout is torch.strided]
    return found


def without_device(name: str, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
    """Arguments of ``to`` without a device: all tensors are where the network is. None where nothing is left."""
    if not isinstance(args[0], torch.Tensor):
        return args, kwargs
    if name in ("cpu", "cuda"):
        return None
    rest = tuple(a for a in args[1:] if not isinstance(a, (torch.device, str)) and not _is_index(a))
    kwargs = {k: v for k, v in kwargs.items() if k != "device"}
    if rest and isinstance(rest[0], torch.Tensor):
        rest = (rest[0].dtype, *rest[1:])
    rest = tuple(a for a in rest if a is not None)
    useful = any(isinstance(a, torch.dtype) for a in rest) or kwargs.keys() & {"dtype", "memory_format", "other"}
    return ((args[0], *rest), kwargs) if useful else None


def place_of(func: Any, args: Any, kwargs: Any, given: list[torch.Tensor]) -> torch.device:
    """Where a new tensor is made: beside its argument, or for real where it is small and its values are known."""
    if given:
        return given[0].device
    if func in KNOWN_FACTORIES:
        size = func(*args, **{**kwargs, "device": "meta", "pin_memory": None}).numel()
        if size <= SMALL:
            return torch.device("cpu")
    return torch.device("meta")


def fresh_bytes(func: Any, made: list[torch.Tensor]) -> int:
    """Bytes of results that are new memory, neither views nor written in place."""
    schema = func._schema
    if schema.is_mutable or any(r.alias_info is not None for r in schema.returns):
        return 0
    return sum(t.numel() * t.dtype.itemsize for t in made)
