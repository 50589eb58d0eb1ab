"""Probe: which modules ran, in which order, how often, with what output. One forward of one example, remembered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn

from fluoroscope.model.outputs import first_tensor
from fluoroscope.model.positions import Layout, channels_of, layout_of
from fluoroscope.model.series import Reading

__all__ = ["Call", "Probe", "cached_probe", "remember", "structure_of"]


@dataclass(frozen=True)
class Call:
    """One call of a module: its name, the how manieth call of that module, and its output."""

    name: str
    index: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    layout: Layout | None
    passes: bool = False  # gave back as it was what a layer before it gave: dropout in eval mode, identity
    constant: bool = False  # was given numbers at most: a table of biases of positions
    channels: int | None = None  # axis of the channels of an output (N, ., .), where the kind of layer says it


@dataclass
class Probe:
    """Calls in the order in which they ended, so that an outer module comes after the ones inside it."""

    input_shape: tuple[int, ...]
    calls: list[Call] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    output_shape: tuple[int, ...] = ()
    readings: dict[int, Reading] = field(default_factory=dict)  # which axis of which input has the channels
    begun: list[tuple[bool, list[tuple[torch.Tensor, int]]]] = field(default_factory=list)  # running, innermost last
    known: dict[int, tuple[ref[torch.Tensor], int]] = field(default_factory=dict)  # what layers gave, and the input
    onward: tuple[Call, bool] | None = None  # the layer that is mapped where none is named, once it was found
    reads: bool = False  # whether Python reads numbers of tensors, so that other examples may take another way

    def begins(self, args: Any, kwargs: Any) -> None:
        """Record that a module is called with these arguments; :meth:`seen` follows."""
        every = [*args, *kwargs.values()]
        self.begun.append((all(map(_plain, every)), [(a, _changes(a)) for a in every if isinstance(a, torch.Tensor)]))

    def knows(self, tensor: torch.Tensor) -> None:
        """Record what a layer gave back, or an input."""
        self.known[id(tensor)] = ref(tensor), _changes(tensor)

    def seen(self, name: str, module: nn.Module, output: Any) -> None:
        """Record that ``module``, which was the last to begin, gave ``output``."""
        constant, arguments = self.begun.pop()
        given = [changes for argument, changes in arguments if argument is output]
        index = self.counts.get(name, 0)
        self.counts[name] = index + 1
        tensor = first_tensor(output)
        if tensor is not None:
            shape = tuple(tensor.shape)
            passes = any(changes == _changes(tensor) for changes in given) and self._given_before(tensor)
            self.calls.append(Call(name, index, shape, tensor.dtype, None, passes, constant, channels_of(module)))
            self.knows(tensor)

    def lay_out(self, axes: tuple[str, ...]) -> None:
        """Say of every call how its output is laid out, for an input with ``axes``. Where its own kind of layer does
        not tell where its channels are, the last one before it with an output of this shape does; tokens of pictures
        lie on a grid that a layer before them had, such as that of the patches.
        """
        known: dict[tuple[int, ...], int] = {}
        grids: set[tuple[int, ...]] = set()
        for i, call in enumerate(self.calls):
            channels = call.channels if call.channels is not None else known.get(call.shape)
            if channels is not None:
                known[call.shape] = channels
            layout = layout_of(call.shape, self.input_shape, axes, channels, grids)
            if layout is not None and layout.maps:
                grids.add(layout.grid)
            self.calls[i] = replace(call, layout=layout)

    def _given_before(self, tensor: torch.Tensor) -> bool:
        """Whether a layer gave back this tensor with these numbers; a sum that is written as a function is nobody's."""
        found = self.known.get(id(tensor))
        return found is not None and found[0]() is tensor and found[1] == _changes(tensor)

    def called(self, name: str, index: int | None = None) -> Call | None:
        """That call of a module, the last one where none is named; None where it did not run."""
        return next((c for c in reversed(self.calls) if c.name == name and index in (None, c.index)), None)

    def with_positions(self, *, every_call: bool = False) -> list[Call]:
        """Calls of the modules inside the network whose outputs have positions, are the example's (not those of its
        windows, stacked) and not just what they were given: the last call of each module, or every one.
        """
        calls = [c for c in self.calls if every_call or (c.name and c.index == self.counts[c.name] - 1)]
        own = [c for c in calls if c.name and not c.passes and not c.constant and c.shape[0] == self.input_shape[0]]
        return [c for c in own if c.layout is not None and c.layout.maps]


def _plain(argument: Any) -> bool:
    """Whether an argument holds numbers, words and nothing at most."""
    if isinstance(argument, (tuple, list)):
        return all(map(_plain, argument))
    return argument is None or isinstance(argument, (bool, int, float, str))


def _changes(tensor: torch.Tensor) -> int:
    """How often the tensor's numbers were changed in place; not counted in inference mode."""
    return 0 if tensor.is_inference() else tensor._version


_PROBES: WeakKeyDictionary[nn.Module, dict[Any, Probe]] = WeakKeyDictionary()


def structure_of(modules: Iterable[nn.Module]) -> int:
    """The modules and their plain attributes, which may say what runs and how often, as one number."""
    return hash(tuple([(id(m), type(m), _settings(m)) for m in modules]))


def _settings(module: nn.Module) -> tuple[Any, ...]:
    return tuple([v for v in module.__dict__.values() if type(v) in _SETTINGS])


_SETTINGS = frozenset({bool, int, float, str, type(None)})


def _key(structure: Any, tensors: list[torch.Tensor]) -> Any:
    return structure, tuple((tuple(t.shape[1:]), t.dtype) for t in tensors)


def cached_probe(module: nn.Module, structure: Any, tensors: list[torch.Tensor]) -> Probe | None:
    """The probe of an earlier run with the same structure and inputs of the same shapes, the batch axis aside."""
    return _PROBES.get(module, {}).get(_key(structure, tensors))


def remember(module: nn.Module, structure: Any, tensors: list[torch.Tensor], probe: Probe) -> None:
    """Keep a probe as long as the network lives."""
    _PROBES.setdefault(module, {})[_key(structure, tensors)] = probe
