"""Operations: one forward of one example written down as a list of ATen operations that can be run again.

Unlike hooks, this sees functional calls, in-place work, shared modules and additions between modules alike. Only what
depends on the input is written down; everything else (weights, buffers, what other inputs gave) is a constant. Where
the record could be wrong it says so in :attr:`Operations.reason` and is not used: the input's numbers are read by
Python, a tensor with views is changed in place, a constant changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

__all__ = ["Operation", "Operations", "Ref", "recorded"]

aten = torch.ops.aten
READERS = {
    torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__, torch.Tensor.data_ptr, torch.Tensor.storage,
    torch.Tensor.untyped_storage, torch.Tensor.__dlpack__,
}  # fmt: skip
SHAPES = {
    torch.empty_like, torch.zeros_like, torch.ones_like, torch.full_like, torch.Tensor.new_zeros, torch.Tensor.new_ones,
    torch.Tensor.new_empty, torch.Tensor.new_full, torch.Tensor.new_tensor,
}  # fmt: skip
"""Functions that read no numbers of the tensor they are given, so that what they give is a constant."""


@dataclass(frozen=True)
class Ref:
    """A value on the record, by its number; number 0 is the input."""

    index: int


@dataclass(frozen=True)
class Operation:
    """``values[out] = function(*args, **kwargs)``, never in place; values of the record stand as :class:`Ref`."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: int

    @property
    def inputs(self) -> list[int]:
        """Numbers of the values that go in."""
        return [leaf.index for leaf in tree_flatten((self.args, self.kwargs))[0] if isinstance(leaf, Ref)]


@dataclass
class Operations:
    """The record: operations in order, the values of this one forward, and why it is of no use (None where it is)."""

    steps: list[Operation] = field(default_factory=list)
    values: list[torch.Tensor] = field(default_factory=list)
    reason: str | None = None
    numbers: dict[int, int] = field(default_factory=dict)

    def number(self, tensor: Any) -> int | None:
        """The number of a tensor of this forward; None where it does not depend on the input."""
        return self.numbers.get(id(tensor))


def recorded(run: Callable[[], Any], tracked: torch.Tensor, record: Operations | None = None) -> tuple[Any, Operations]:
    """(what ``run`` gives, the record of it). ``run`` computes something from ``tracked``, one example (1, ...).

    Who wants to look at the record while it grows gives an empty one.
    """
    with _Recorder(tracked, record or Operations()) as recorder, _Leaks(recorder.record):
        result = run()
    return result, recorder.record


class _Leaks(TorchFunctionMode):
    """Sees what leaves torch's sight: numbers taken out as NumPy arrays or lists, memory that is written elsewhere."""

    def __init__(self, record: Operations) -> None:
        super().__init__()
        self.record = record

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self.record.reason is None and any(map(self._known, tree_flatten((args, kwargs))[0])):
            name = getattr(func, "__name__", str(func))
            lost = any(isinstance(t, torch.Tensor) and not self._known(t) for t in tree_flatten(result)[0])
            if func in READERS or isinstance(result, np.ndarray) or (lost and func not in SHAPES):
                self.record.reason = f"what {name} gives can't be followed"
        return result

    def _known(self, value: Any) -> bool:
        return isinstance(value, torch.Tensor) and id(value) in self.record.numbers


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call] # the class is untyped in torch
    def __init__(self, tracked: torch.Tensor, record: Operations) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.record = record
        record.values.append(tracked)
        record.numbers[id(tracked)] = 0
        self._alive: list[torch.Tensor] = [tracked]  # so that no id() is given twice
        self._constants: set[int] = set()
        self._side: list[torch.Tensor] = []  # further results, such as the places of a maximum: they are no values

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; without this torch loads its compiler, which takes a second."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.record.reason is not None:
            return func(*args, **kwargs)
        leaves = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
        known = [t for t in leaves if id(t) in self.record.numbers]
        written = _written(func, args, kwargs)
        self.record.reason = self._refusal(func, leaves, known, written)
        if self.record.reason is not None or not known:
            return func(*args, **kwargs)
        return self._note(func, args, kwargs, leaves, known, written)

    def _refusal(self, func: Any, leaves: Any, known: list[torch.Tensor], written: list[torch.Tensor]) -> str | None:
        """Why an operation can't be written down."""
        if any(_storage(t) in self._constants for t in written):
            return f"{func} changes a constant"
        if any(t is side for t in leaves for side in self._side):
            return f"{func} reads a further result of an operation"
        if not known:
            return None
        if func is aten._local_scalar_dense.default:
            return "numbers that depend on the input are read by Python"
        if torch.Tag.nondeterministic_seeded in func.tags:
            return f"{func} is random"
        if written and (len(written) > 1 or id(written[0]) not in self.record.numbers or functional(func) is None):
            return f"{func} writes into a tensor"
        if written and sum(_storage(t) == _storage(written[0]) for t in self._alive) > 1:
            return f"{func} changes a tensor that has views"
        return None

    def _note(self, func: Any, args: Any, kwargs: Any, leaves: Any, known: Any, written: list[torch.Tensor]) -> Any:
        numbers, values = self.record.numbers, self.record.values
        told = set(map(id, known))
        self._constants.update(_storage(t) for t in leaves if id(t) not in told)

        def ref(leaf: Any) -> Any:
            return Ref(numbers[id(leaf)]) if isinstance(leaf, torch.Tensor) and id(leaf) in told else leaf

        noted = tree_map(ref, (tuple(args), dict(kwargs)))
        for tensor in written:
            values[numbers[id(tensor)]] = tensor.clone()
        result = func(*args, **kwargs)
        first = result[0] if isinstance(result, (tuple, list)) else result
        if not isinstance(first, torch.Tensor) or (isinstance(result, list) and len(result) > 1):
            self.record.reason = f"{func} gives no single tensor"
            return result
        self._side.extend(t for t in tree_flatten(result)[0] if isinstance(t, torch.Tensor) and t is not first)
        self.record.steps.append(Operation(functional(func) if written else func, noted[0], noted[1], len(values)))
        numbers[id(first)] = len(values)
        values.append(first)
        if not any(first is t for t in self._alive):
            self._alive.append(first)
        return result


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else id(tensor)


def _written(func: Any, args: Any, kwargs: Any) -> list[torch.Tensor]:
    """The tensors that an operation changes."""
    found = []
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[position] if position < len(args) else kwargs.get(argument.name)
            found += [t for t in tree_flatten(value)[0] if isinstance(t, torch.Tensor)]
    return found


def functional(func: Any) -> Any:
    """``aten.relu`` for ``aten.relu_``; None where there is none."""
    name = func._schema.name.removeprefix("aten::")
    if not name.endswith("_") or name.endswith("__"):
        return None
    packet = getattr(aten, name[:-1], None)
    return getattr(packet, func._overloadname, None) if packet is not None else None
