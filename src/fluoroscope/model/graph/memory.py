"""What was traced before: calls of modules that are built alike and given alike are not run again.

That is right only where a forward depends on nothing else and does nothing else. So a call is remembered when it read
no counting attribute, set no attribute, filled no list, wrote to no tensor from outside, took tensors from its
arguments alone and gave back plain nestings of new tensors. And it is believed only after two instances gave the same
trace; the last one of a list is traced as well, and where it differs all is traced anew without memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fluoroscope.model.graph.assumptions import MEAN, RANGE
from fluoroscope.model.graph.nested import mapped, tensors_in
from fluoroscope.model.graph.owning import count_parameters
from fluoroscope.model.graph.signature import own_containers
from fluoroscope.model.graph.steps import Step, Value

if TYPE_CHECKING:
    from fluoroscope.model.graph.tracer import Tracer

__all__ = ["Entry", "Memory", "Mistaken", "Recalled"]

PLAIN = (int, float, str, bool, type(None), complex, bytes, torch.dtype, torch.device, torch.Size)
ENOUGH = 2


class Mistaken(Exception):
    """A remembered call turned out to differ from the last of its kind."""


@dataclass(eq=False)
class _Frame:
    """A module call that is under way, and what it did besides computing."""

    module: nn.Module
    held: list[tuple[Any, int, Any]]
    reads: bool = False
    tainted: bool = False


@dataclass(eq=False)
class Entry:
    """A call that can stand for others. ``slots`` says which argument each entry of the template is."""

    template: Step
    result: Any
    slots: tuple[int, ...]
    traces: int = 1
    hits: int = 0
    sound: bool = True

    def again(self, tracer: Tracer, module: nn.Module, args: Any, kwargs: Any) -> Any:
        """The call's result for other arguments of the same shapes, and a step for it."""
        self.hits += 1
        given = tensors_in((args, kwargs))
        builder = tracer.builder
        refs = []
        for slot in self.slots:
            source = tracer.source(given[slot])
            if not isinstance(source, Value):
                raise Mistaken
            refs.append(builder.ref(source))
        name = tracer.names.get(id(module), type(module).__name__)
        step = builder.again(self.template, name, refs, owner=module)
        count_parameters(tracer, step, module, whole=True)
        numbers = iter(step.returned)
        tracer.muted += 1
        try:
            return mapped(self.result, lambda t: self._output(tracer, t, given, step, numbers), _Output)
        finally:
            tracer.muted -= 1

    def _output(
        self, tracer: Tracer, kept: _Output, given: list[torch.Tensor], step: Step, numbers: Any
    ) -> torch.Tensor:
        number = next(numbers)
        if kept.passed >= 0:
            return given[kept.passed]
        made = torch.empty_strided(kept.shape, kept.strides, dtype=kept.dtype, device="meta")
        for name, value in kept.notes.items():
            setattr(made, name, value)
        tracer.mark(made, Value(step, number))
        return made


@dataclass(eq=False)
class Recalled:
    """What is known of a call before it is made: its key, and the entry to use, if any."""

    key: Any
    entry: Entry | None


class Memory:
    """Calls by signature of the module and of its arguments."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer
        self.entries: dict[Any, Entry | None] = {}
        self.frames: list[_Frame] = []
        self.last: set[int] = set()
        self.stateful: set[int] = set()

    # ------------------------------------------------------------------ watching

    def entered(self, module: nn.Module) -> None:
        """A module call begins."""
        self.frames.append(_Frame(module, _containers(module)))

    def read(self, module: nn.Module) -> None:
        """A counting attribute was read."""
        if self.frames:
            self.frames[-1].reads = True

    def changed(self) -> None:
        """An attribute was set."""
        if self.frames:
            self.frames[-1].tainted = True

    def wrote(self, source: Any) -> None:
        """A tensor was written to: whoever did not make it has changed something outside."""
        inside: set[int] = set()
        scope = source.step.scope if isinstance(source, Value) else None
        while scope is not None:
            inside.add(id(scope))
            scope = scope.scope
        stack = self.tracer.builder.stack
        for step, frame in zip(reversed(stack), reversed(self.frames), strict=False):
            if id(step) in inside:
                break
            frame.tainted = True

    # ------------------------------------------------------------------ recalling

    def recall(self, module: nn.Module, args: Any, kwargs: Any) -> Recalled | None:
        """What is known of such a call; None where it can't be remembered at all."""
        given = self._given((args, kwargs), [])
        if given is None:
            return None
        key = (self.tracer.signatures.of(module), given)
        entry = self.entries.get((key, None))
        if entry is None:
            entry = self.entries.get((key, id(module)))
        if entry is None or not entry.sound or entry.traces < ENOUGH:
            return Recalled(key, None)
        if id(module) in self.last:
            self.last.discard(id(module))
            return Recalled(key, None)
        return Recalled(key, entry)

    def _given(self, item: Any, seen: list[torch.Tensor]) -> Any:
        """Arguments as a key; None where something in them can't be compared."""
        if isinstance(item, torch.Tensor):
            return self._tensor(item, seen)
        if isinstance(item, PLAIN):
            return type(item), item
        if type(item) in (tuple, list):
            parts = [self._given(v, seen) for v in item]
            return None if None in parts else (type(item), tuple(parts))
        if type(item) is dict:
            pairs = [(k, self._given(v, seen)) for k, v in item.items()]
            return None if any(v is None for _, v in pairs) else (dict, tuple(pairs))
        return None

    def _tensor(self, tensor: torch.Tensor, seen: list[torch.Tensor]) -> Any:
        same = next((i for i, t in enumerate(seen) if t is tensor), -1)
        seen.append(tensor)
        source = self.tracer.source(tensor)
        if not isinstance(source, Value) or tensor.device.type != "meta":
            self.tracer.alive.append(tensor)
            return "known", id(tensor), tensor._version if not tensor.is_inference() else 0
        notes = getattr(tensor, MEAN, None), getattr(tensor, RANGE, None)
        return tensor.shape, tensor.stride(), tensor.dtype, tensor.requires_grad, same, notes

    # ------------------------------------------------------------------ learning

    def learn(self, known: Recalled | None, step: Step, module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        """A module call has ended; remember it where that is right."""
        frame = self.frames.pop()
        frame.tainted = frame.tainted or any(_differs(*held) for held in frame.held)
        if self.frames:
            self.frames[-1].reads |= frame.reads
            self.frames[-1].tainted |= frame.tainted
        if known is None:
            return
        key = (known.key, id(module) if frame.reads else None)
        entry = self.entries.get(key)
        if entry is not None:
            self._compare(entry, None if frame.tainted else self._entry(step, args, kwargs, result))
            return
        made = None if frame.tainted else self._entry(step, args, kwargs, result)
        if made is not None:
            self.entries[key] = made

    def _compare(self, entry: Entry, again: Entry | None) -> None:
        if (
            again is not None
            and again.template.structure == entry.template.structure
            and again.slots == entry.slots
            and again.template.returned == entry.template.returned
        ):
            entry.traces += 1
            return
        entry.sound = False
        if entry.hits:
            raise Mistaken

    def _entry(self, step: Step, args: Any, kwargs: Any, result: Any) -> Entry | None:
        given = tensors_in((args, kwargs))
        sources = [self.tracer.source(t) for t in given]
        at = {(id(s.step), s.output): i for i, s in reversed(list(enumerate(sources))) if isinstance(s, Value)}
        slots = [at.get(key, -1) for key in step.imports]
        if -1 in slots or not _is_plain(result):
            return None
        memories = {t.untyped_storage()._cdata for t in given if t.layout is torch.strided}
        for tensor in tensors_in(result):
            passed = any(t is tensor for t in given)
            if tensor.device.type != "meta" or (not passed and tensor.untyped_storage()._cdata in memories):
                return None
        return Entry(step, mapped(result, lambda t: _kept(t, given)), tuple(slots))


@dataclass(eq=False)
class _Output:
    """An output to be made again: which argument it is, or its shape."""

    passed: int
    shape: Any = ()
    strides: Any = ()
    dtype: Any = None
    notes: dict[str, Any] = field(default_factory=dict)


def _kept(tensor: torch.Tensor, given: list[torch.Tensor]) -> Any:
    passed = next((i for i, t in enumerate(given) if t is tensor), -1)
    notes = {n: getattr(tensor, n) for n in (MEAN, RANGE) if hasattr(tensor, n)}
    return _Output(passed, tensor.shape, tensor.stride(), tensor.dtype, notes)


def _is_plain(item: Any) -> bool:
    if isinstance(item, (tuple, list)):
        return all(_is_plain(v) for v in item)
    if isinstance(item, Mapping):
        return type(item) is dict and all(_is_plain(v) for v in item.values())
    return isinstance(item, (torch.Tensor, *PLAIN))


def _containers(module: nn.Module) -> list[tuple[Any, int, Any]]:
    """A module's own lists, dicts and sets with what they hold, to see whether a forward fills them."""
    return [
        (held, len(held), tuple(map(id, held.values() if type(held) is dict else held)))
        for held in own_containers(module)
    ]


def _differs(container: Any, count: int, members: Any) -> bool:
    return len(container) != count or members != tuple(
        map(id, container.values() if type(container) is dict else container)
    )
