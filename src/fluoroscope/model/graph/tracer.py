"""The tracer: one forward, seen at three levels: calls of modules, functions of torch, ATen operations.

Operations are what the network's own code calls (``F.linear``, ``x.view``, ``a + b``); the ATen operations below give
shapes, costs and what was written to. On shapes alone (the default) every tensor is on the meta device, except what is
small and known without any weight or input of floats: positions, masks made of sizes, integer inputs. So most of what
networks ask of numbers has an answer, and the rest is assumed and noted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from fluoroscope.model.flops import operation_flops
from fluoroscope.model.graph.assumptions import QUESTIONS, answered_list, carry_mean, mean_of
from fluoroscope.model.graph.builder import Builder, Source
from fluoroscope.model.graph.code import call_site, definition
from fluoroscope.model.graph.memory import Memory
from fluoroscope.model.graph.nested import mapped, tensors_in
from fluoroscope.model.graph.owning import count_parameters
from fluoroscope.model.graph.reading_calls import (
    KNOWN_FACTORIES,
    SMALL,
    came_later,
    error_line,
    fresh_bytes,
    name_of,
    named_sources,
    on_meta,
    outer_bound,
    place_of,
    scalars_of,
    without_device,
    written_storages,
)
from fluoroscope.model.graph.signature import Hidden, Signatures
from fluoroscope.model.graph.steps import ENTRY, AtenCall, Origin, Step, Value
from fluoroscope.results.model_graph import GraphTensor

__all__ = ["Tracer"]

aten = torch.ops.aten
TAG = "_fluoroscope_source"
OUTER = 1 << 24
SCALARS_MATTER = ("conv", "max_pool", "avg_pool", "fold", "unfold", "pad", "roll", "gelu", "interpolate")
QUIET = frozenset(
    getattr(torch.Tensor, name).__get__
    for name in ("shape", "dtype", "ndim", "layout", "requires_grad", "is_leaf", "grad", "grad_fn", "itemsize")
) | {torch.Tensor.size, torch.Tensor.dim, torch.Tensor.numel, torch.Tensor.stride, torch.Tensor.is_floating_point}
"""What asks for no number, so that no operation can be behind it."""

_TENSOR: Any = torch.Tensor
_GET_DEVICE = _TENSOR.device.__get__
_GET_META = _TENSOR.is_meta.__get__


class _Log:
    """What happened below one function."""

    def __init__(self) -> None:
        self.calls: list[AtenCall] = []
        self.flops = 0
        self.fresh = 0
        self.written: list[torch.UntypedStorage] = []
        self.assumed: list[str] = []


class Tracer:
    """One trace. ``real`` runs the network on numbers as it is; otherwise on shapes. ``share`` takes calls that are
    known to be alike from an earlier one.
    """

    small = SMALL

    def __init__(self, module: nn.Module, *, real: bool, share: bool, device: torch.device) -> None:
        self.module, self.real, self.device = module, real, device
        self.builder = Builder(type(module).__name__)
        self.muted = 0
        self.hint: float | None = None
        self.hidden = Hidden()
        self.signatures = Signatures(self.hidden)
        self.memory = Memory(self) if share and not real else None
        self.names: dict[int, str] = {}
        self.origins: dict[int, Source] = {}
        self.twins: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.dirty: set[int] = set()
        self.writers: dict[int, tuple[torch.UntypedStorage, Value]] = {}
        self.alive: list[Any] = []
        self.counted: dict[int, str] = {}
        self.called: set[int] = set()
        self.weights: set[int] = set()
        self.assumptions = 0
        self.failure: tuple[Step, BaseException] | None = None
        self._log: _Log | None = None

    # ------------------------------------------------------------------ sources

    def source(self, tensor: torch.Tensor) -> Source:
        """Where a tensor comes from; unknown ones are constants."""
        found = self.origins.get(id(tensor))
        if found is not None:
            return found
        tag = getattr(tensor, TAG, None)
        if tag is not None and tag[0] is self:
            return tag[1]  # type: ignore[no-any-return]
        self.alive.append(tensor)
        made = self.origins[id(tensor)] = Origin("constant", "constant", self.described(tensor))
        return made

    def mark(self, tensor: torch.Tensor, source: Source) -> None:
        """Say where a tensor comes from, from now on."""
        if id(tensor) in self.origins:
            self.origins[id(tensor)] = source
        else:
            setattr(tensor, TAG, (self, source))

    def described(self, tensor: torch.Tensor) -> GraphTensor:
        """Shape, dtype and size."""
        shape, dtype = tuple(tensor.shape), tensor.dtype
        return self.builder.tensor(shape, str(dtype)[6:], dtype.itemsize)

    def sources(self, tensors: Sequence[torch.Tensor]) -> list[Source]:
        """Where tensors come from, and what has written to their memory since."""
        found: list[Source] = []
        for tensor in tensors:
            source = self.source(tensor)
            found.append(source)
            if self.writers and tensor.layout is torch.strided:
                writer = self.writers.get(tensor.untyped_storage()._cdata)
                if writer is not None and came_later(writer[1], source):
                    found.append(writer[1])
        return found

    def take(self, name: str, tensor: torch.Tensor) -> None:
        """An input of the network."""
        self.mark(tensor, self.builder.input(name, self.described(tensor)))

    def finish(self, outputs: list[tuple[str, torch.Tensor]]) -> None:
        """The outputs of the network; none where its forward failed."""
        for name, tensor in outputs:
            self.builder.output(name or "output", self.source(tensor), self.described(tensor))

    # ------------------------------------------------------------------ functions

    def function(self, func: Any, args: Any, kwargs: Any) -> Any:
        """One call of a torch function by the network's code."""
        if self.muted or self._log is not None or func in QUIET:
            return func(*args, **kwargs)
        if not self.real:
            if func == _GET_DEVICE:
                return self.device
            if func == _GET_META:
                return False
            name = getattr(func, "__name__", "")
            if name == "tolist" and self._unknown(args[0]):
                return self._answered(name, args, lambda: answered_list(self, args[0]))
            if name in ("numpy", "__array__") and self._unknown(args[0]):
                return self._answered(name, args, lambda: self._zeros(args[0]))
            if name in ("to", "cpu", "cuda"):
                stays = without_device(name, args, kwargs)
                if stays is None:
                    return args[0]
                args, kwargs = stays
        if func is torch.Tensor.__iter__:
            return iter(self._traced(torch.Tensor.unbind, args, kwargs))
        return self._traced(func, args, kwargs)

    def _traced(self, func: Any, args: Any, kwargs: Any) -> Any:
        given = tensors_in((args, kwargs))
        log = self._log = _Log()
        try:
            if self.real:
                result = func(*args, **kwargs)
            else:
                result = self._on_shapes(func, args, kwargs, given)
        finally:
            self._log = None
        if log.calls:
            self._noted(func, args, kwargs, given, result, log)
        elif given and not self.real and isinstance(result, torch.Tensor):
            self._passed_on(given, result)
        return result

    def _on_shapes(self, func: Any, args: Any, kwargs: Any, given: list[torch.Tensor]) -> Any:
        if any(t.device.type == "meta" or id(t) in self.weights or id(t) in self.dirty for t in given):
            self._note_dirty(func, args)
            args, kwargs = mapped((tuple(args), kwargs), self.twin)
        elif given and outer_bound(given) > OUTER:
            args, kwargs = mapped((tuple(args), kwargs), self.twin)
        self.hint = next((m for m in map(mean_of, given) if m is not None), None)
        result = func(*args, **kwargs)
        carry_mean(getattr(func, "__name__", ""), args, kwargs, result)
        return result

    def _note_dirty(self, func: Any, args: Any) -> None:
        """A known tensor that something unknown is written to is not known any more."""
        name = getattr(func, "__name__", "")
        known = bool(args) and isinstance(args[0], torch.Tensor) and args[0].device.type != "meta"
        if known and (name == "__setitem__" or name.endswith("_")):
            self.dirty.add(id(args[0]))
            self.alive.append(args[0])

    def twin(self, tensor: torch.Tensor) -> torch.Tensor:
        """The same tensor on the meta device."""
        if tensor.device.type == "meta":
            return tensor
        found = self.twins.get(id(tensor))
        if found is None:
            self.muted += 1
            found = self.twins[id(tensor)] = (tensor, on_meta(tensor))
            self.muted -= 1
            source = self.origins.get(id(tensor)) or self.source(tensor)
            setattr(found[1], TAG, (self, source))
        return found[1]

    def _passed_on(self, given: list[torch.Tensor], result: torch.Tensor) -> None:
        """A function that did nothing may still give a new object for the same tensor."""
        tag = getattr(result, TAG, None)
        if (tag is None or tag[0] is not self) and id(result) not in self.origins and len(given) == 1:
            setattr(result, TAG, (self, self.source(given[0])))

    def _noted(
        self, func: Any, args: Any, kwargs: Any, given: list[torch.Tensor], result: Any, log: _Log
    ) -> tuple[Value, ...]:
        name = name_of(func)
        made = tensors_in(result) if not isinstance(result, torch.Tensor) else [result]
        written = {s._cdata: s for s in log.written}
        inputs = list(named_sources(args, kwargs, self))
        fields: dict[str, Any] = {"calls": tuple(log.calls), "flops": log.flops, "activation_bytes": log.fresh}
        if name.startswith(SCALARS_MATTER):
            fields["shallow"] = scalars_of(args, kwargs)
        values = self.builder.operation(
            name, inputs, [self.described(t) for t in made], code=call_site(3), assumed=list(log.assumed), **fields
        )
        for tensor, value in zip(made, values, strict=True):
            self.mark(tensor, value)
        if written:
            self._written(written, given, made, values)
        return values

    def _written(
        self,
        written: dict[int, torch.UntypedStorage],
        given: list[torch.Tensor],
        made: list[torch.Tensor],
        values: tuple[Value, ...],
    ) -> None:
        step = self.builder.scope.children[-1]
        value = values[0] if values else Value(step, 0)
        for key, storage in written.items():
            self.writers[key] = (storage, value)
        for tensor in given:
            tensor = self.twins[id(tensor)][1] if id(tensor) in self.twins else tensor
            if tensor.layout is torch.strided and tensor.untyped_storage()._cdata in written:
                if not step.outputs:
                    step.outputs = (self.described(tensor),)
                if self.memory is not None:
                    self.memory.wrote(self.source(tensor))
                self.mark(tensor, value)
        for real, twin in self.twins.values():
            if twin.layout is torch.strided and twin.untyped_storage()._cdata in written:
                self.mark(real, value)

    def _answered(self, name: str, args: Any, answer: Callable[[], Any]) -> Any:
        log = self._log = _Log()
        try:
            result = answer()
        finally:
            self._log = None
        log.calls.append((f"{name}", ()))
        self.builder.operation(
            name,
            list(named_sources(args, {}, self)),
            [],
            code=call_site(3),
            assumed=log.assumed,
            calls=tuple(log.calls),
        )
        return result

    def _zeros(self, tensor: torch.Tensor) -> Any:
        self.assume("an array of values that are not known: zeros")
        return torch.zeros(tuple(tensor.shape), dtype=tensor.dtype).numpy()

    def _unknown(self, tensor: Any) -> bool:
        return isinstance(tensor, torch.Tensor) and (tensor.device.type == "meta" or id(tensor) in self.weights)

    # ------------------------------------------------------------------ ATen operations

    def kernel(self, func: Any, args: Any, kwargs: Any) -> Any:
        """One ATen operation."""
        if self.muted:
            return func(*args, **kwargs)
        outside = self._log is None
        log = self._log if self._log is not None else _Log()
        if outside:
            self._log = log
        try:
            result = func(*args, **kwargs) if self.real else self._shapes_of(func, args, kwargs)
        finally:
            if outside:
                self._log = None
        made = [result] if isinstance(result, torch.Tensor) else tensors_in(result)
        log.calls.append((str(func), tuple([tuple(t.shape) for t in made])))
        log.flops += operation_flops(func, args, kwargs, result)
        log.fresh += fresh_bytes(func, made)
        if func._schema.is_mutable:
            log.written += written_storages(func, args, kwargs)
        if outside:
            self._noted(func, args, kwargs, tensors_in((args, kwargs)), result, log)
        return result

    def _shapes_of(self, func: Any, args: Any, kwargs: Any) -> Any:
        given = tensors_in(args) if args else []
        unknown = any(t.is_meta for t in given)
        if unknown and not all(t.is_meta for t in given):
            args, kwargs = mapped((tuple(args), kwargs), self.twin)
        if "device" in kwargs or (not given and func in KNOWN_FACTORIES):
            kwargs = {**kwargs, "device": place_of(func, args, kwargs, given)}
        question = QUESTIONS.get(func) if unknown else None
        return question(self, func, args, kwargs) if question is not None else func(*args, **kwargs)

    def assume(self, text: str) -> None:
        """Note an assumption on the operation that is under way."""
        self.assumptions += 1
        if self._log is not None:
            self._log.assumed.append(text)

    # ------------------------------------------------------------------ modules

    def call(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        """One call of a module."""
        known = None
        with torch._C.DisableTorchFunction():  # what is asked here is not asked by the network
            if self.memory is not None:
                known = self.memory.recall(module, args, kwargs)
                if known is not None and known.entry is not None:
                    return known.entry.again(self, module, args, kwargs)
            step = self.opened(module)
        run: Any = module._call_impl
        try:
            result = run(*args, **kwargs)
        except BaseException as error:
            if self.failure is None or self.failure[1] is not error:
                self.failure = (step, error)
                step.error = error_line(error)
            self.closed(step, module, None)
            raise
        with torch._C.DisableTorchFunction():
            self.closed(step, module, result)
            if self.memory is not None:
                self.memory.learn(known, step, module, args, kwargs, result)
        return result

    def opened(self, module: nn.Module) -> Step:
        """Write down that a module is entered."""
        if self.memory is not None:
            self.memory.entered(module)
        kind: Any = type(module)
        name = self.names.get(id(module), kind.__name__)
        if module is self.module and len(self.builder.stack) == 1 and not self.called:
            self.called.add(id(module))
            return self.builder.root
        step = self.builder.enter(name, kind.__name__, code=definition(kind) or call_site(3), owner=module)
        step.shallow = self.signatures.own(module)
        return step

    def closed(self, step: Step, module: nn.Module, result: Any) -> None:
        """Write down that a module is left."""
        if step is self.builder.root:
            return
        made = tensors_in(result)
        if made and not step.children:
            self._as_leaf(step, made)
            return
        count_parameters(self, step, module)
        sources = [self.source(t) for t in made]
        self.builder.leave(sources, [self.described(t) for t in made])
        values = [t for t, s in zip(made, sources, strict=True) if isinstance(s, Value)]
        for tensor, number in zip(values, step.returned, strict=True):
            if step.results[number][0] != ENTRY:
                self.mark(tensor, Value(step, number))

    def _as_leaf(self, step: Step, made: list[torch.Tensor]) -> None:
        """A module that does nothing to what it gets (dropout in eval mode) is a stop on its way all the same."""
        count_parameters(self, step, step.owner)
        for tensor in made:
            source = self.source(tensor)
            if isinstance(source, Value):
                self.builder.ref(source)
        self.builder.leave((), [self.described(t) for t in made])
        step.returned = tuple(range(len(made)))
        for i, tensor in enumerate(made):
            self.mark(tensor, Value(step, i))
