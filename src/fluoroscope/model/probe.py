"""Probe: which modules ran, in which order, how often, with what output. One forward of one example, remembered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from fluoroscope.model.outputs import first_tensor
from fluoroscope.model.positions import Layout, layout_of

__all__ = ["Call", "Probe", "cached_probe", "remember"]


@dataclass(frozen=True)
class Call:
    """One call of a module: its name, the how manieth call of that module, and its output."""

    name: str
    index: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    layout: Layout | None
    passes: bool = False  # gave its input back as it was: dropout in eval mode, identity
    in_place: bool = False  # gave its input back with other numbers in it: a rectifier that works in place


@dataclass
class Probe:
    """Calls in the order in which they ended, so that an outer module comes after the ones inside it."""

    input_shape: tuple[int, ...]
    calls: list[Call] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    output_shape: tuple[int, ...] = ()
    begun: list[list[tuple[torch.Tensor, int]]] = field(default_factory=list)  # the calls that run, innermost last

    def begins(self, args: Any) -> None:
        """Record that a module is called with ``args``; :meth:`seen` follows."""
        self.begun.append([(a, _changes(a)) for a in args if isinstance(a, torch.Tensor)])

    def seen(self, name: str, output: Any) -> None:
        """Record that module ``name``, which was the last to begin, gave ``output``."""
        given = [changes for tensor, changes in self.begun.pop() if tensor is output]
        index = self.counts.get(name, 0)
        self.counts[name] = index + 1
        tensor = first_tensor(output)
        if tensor is not None:
            shape = tuple(tensor.shape)
            same = [changes == _changes(tensor) for changes in given]
            layout, passes = layout_of(shape, self.input_shape), any(same)
            self.calls.append(Call(name, index, shape, tensor.dtype, layout, passes, bool(same) and not passes))

    def last(self, name: str) -> Call | None:
        """The last call of a module."""
        return next((c for c in reversed(self.calls) if c.name == name), None)

    def with_positions(self, *, every_call: bool = False) -> list[Call]:
        """Calls of the modules inside the network whose outputs have positions and are not just their input: the last
        call of each module, or every one.
        """
        calls = [c for c in self.calls if every_call or (c.name and c.index == self.counts[c.name] - 1)]
        return [c for c in calls if c.name and not c.passes and c.layout is not None and c.layout.maps]


def _changes(tensor: torch.Tensor) -> int:
    """How often the tensor's numbers were changed in place; not counted in inference mode."""
    return 0 if tensor.is_inference() else tensor._version


_PROBES: WeakKeyDictionary[nn.Module, dict[Any, Probe]] = WeakKeyDictionary()


def _key(module: nn.Module, tensors: list[torch.Tensor]) -> Any:
    structure = hash(tuple(id(m) for m in module.modules()))
    return structure, tuple((tuple(t.shape[1:]), t.dtype) for t in tensors)


def cached_probe(module: nn.Module, tensors: list[torch.Tensor]) -> Probe | None:
    """The probe of an earlier run with inputs of the same shapes (the batch axis aside), or None."""
    return _PROBES.get(module, {}).get(_key(module, tensors))


def remember(module: nn.Module, tensors: list[torch.Tensor], probe: Probe) -> None:
    """Keep a probe as long as the network lives."""
    _PROBES.setdefault(module, {})[_key(module, tensors)] = probe
