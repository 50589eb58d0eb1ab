"""The autograd reading: what the backward will run, and which tensors are kept for it.

The same forward as for the flow, in training mode and with the tape on, still on shapes alone. Instead of what was
called, the functions are written down that autograd has noted for it: each in the module where it came to be, with the
leaves that it leads to and the tensors that it has saved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from fluoroscope.model.graph.builder import Source
from fluoroscope.model.graph.code import call_site, definition
from fluoroscope.model.graph.nested import tensors_in
from fluoroscope.model.graph.owning import count_parameters
from fluoroscope.model.graph.steps import Origin, Step, Value
from fluoroscope.model.graph.tracer import Tracer
from fluoroscope.model.walk import every_module
from fluoroscope.results.model_graph import GraphTensor

__all__ = ["GradientTracer"]


@dataclass(eq=False)
class _Function:
    """A function as it was when autograd noted it; what it keeps may be written to later, and is then lost."""

    function: Any
    code: str
    assumed: list[str]
    saved: list[tuple[str, torch.Tensor]]


@dataclass(eq=False)
class _Leave:
    """The end of a module call, and the functions behind what it gave back."""

    step: Step
    module: nn.Module
    returned: list[tuple[Any, int, GraphTensor]]


class GradientTracer(Tracer):
    """Writes down autograd's functions in place of operations, in the end only those that the outputs lead to."""

    def __init__(self, module: nn.Module, *, device: torch.device) -> None:
        super().__init__(module, real=False, share=False, device=device)
        self.events: list[Step | _Function | _Leave] = []
        self.values: dict[int, Value] = {}
        self._noticed: dict[int, Any] = {}
        self._saved: dict[int, Any] = {}
        tensors = [t for part in every_module(module) for t in (*part._parameters.values(), *part._buffers.values())]
        own = [t for t in tensors if t is not None and t.layout is torch.strided and not is_lazy(t)]
        self._own = {t.untyped_storage()._cdata for t in own}
        self._weights, self._known = self._own, 0

    # ------------------------------------------------------------------ while the network runs

    def mark(self, tensor: torch.Tensor, source: Source) -> None:
        """Only origins are marked: autograd itself knows the rest."""
        if isinstance(source, Origin):
            super().mark(tensor, source)

    def take(self, name: str, tensor: torch.Tensor) -> None:
        """Inputs are no part of it, unless a gradient is asked for them."""
        self.mark(tensor, Origin("leaf" if tensor.requires_grad else "constant", name, self.described(tensor)))

    def _noted(self, func: Any, args: Any, kwargs: Any, given: Any, result: Any, log: Any) -> tuple[Value, ...]:
        made = tensors_in(result) + ([self._current(t) for t in given] if log.written else [])
        code = call_site(3)
        for tensor in made:
            if tensor.grad_fn is not None:
                for function in _new(tensor.grad_fn, self._noticed):
                    self._noticed[id(function)] = function
                    self.events.append(_Function(function, code, log.assumed, list(_saved(function))))
        return ()

    def _current(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.twins[id(tensor)][1] if id(tensor) in self.twins else tensor

    def opened(self, module: nn.Module) -> Step:
        """A module is entered."""
        if module is self.module and not self.called:
            self.called.add(id(module))
            return self.builder.root
        kind: Any = type(module)
        name = self.names.get(id(module), kind.__name__)
        step = Step("module", name, kind.__name__, definition(kind) or call_site(3), owner=module)
        step.shallow = self.signatures.own(module)
        self.events.append(step)
        return step

    def closed(self, step: Step, module: nn.Module, result: Any) -> None:
        """A module is left."""
        if step is self.builder.root:
            return
        returned = [(t.grad_fn, t.output_nr, self.described(t)) for t in tensors_in(result) if t.grad_fn is not None]
        self.events.append(_Leave(step, module, returned))

    # ------------------------------------------------------------------ afterwards

    def finish(self, outputs: list[tuple[str, torch.Tensor]]) -> None:
        """Write down what the outputs lead to; all of it where the forward did not get to them."""
        wanted = {id(t.grad_fn) for _, t in outputs if t.grad_fn is not None}
        stack = [t.grad_fn for _, t in outputs if t.grad_fn is not None]
        while stack:
            for before, _ in stack.pop().next_functions:
                if before is not None and id(before) not in wanted:
                    wanted.add(id(before))
                    stack.append(before)
        for event in self.events:
            if isinstance(event, Step):
                self._enter(event)
            elif isinstance(event, _Leave):
                self._leave(event)
            elif id(event.function) in wanted or not outputs:
                self._function(event)
        for name, tensor in outputs:
            value = self.values.get(id(tensor.grad_fn))
            source: Source = self._leaf(tensor) if value is None else Value(value.step, tensor.output_nr)
            self.builder.output(name or "output", source, self.described(tensor))

    def _enter(self, step: Step) -> None:
        step.scope, step.place = self.builder.scope, len(self.builder.scope.children)
        self.builder.scope.children.append(step)
        self.builder.stack.append(step)

    def _leave(self, event: _Leave) -> None:
        """A module in which nothing was noted is left out."""
        step = event.step
        count_parameters(self, step, event.module)
        known = [(self.values[id(f)], n, t) for f, n, t in event.returned if id(f) in self.values]
        self.builder.leave([Value(v.step, n) for v, n, _ in known], [t for *_, t in known])
        if not step.children and step.scope is not None and not step.error:
            step.scope.children.pop()

    def _function(self, event: _Function) -> None:
        inputs: list[tuple[str, Source]] = []
        for place, (before, output) in enumerate(event.function.next_functions):
            if before is None:
                continue
            variable = getattr(before, "variable", None)
            if variable is not None:
                inputs.append((str(place), self._leaf(variable)))
            elif id(before) in self.values:
                inputs.append((str(place), Value(self.values[id(before)].step, output)))
        kept = 0
        for name, tensor in event.saved:
            if not self._is_weight(tensor):
                inputs.append((name, Origin("saved", name, self.described(tensor))))
                kept += self._first_kept(tensor)
        outputs = [self._metadata(m) for m in getattr(event.function, "_input_metadata", ())]
        (value, *_) = self.builder.operation(
            event.function.name(),
            inputs,
            outputs or [GraphTensor(shape=())],
            role="function",
            code=event.code,
            activation_bytes=kept,
            assumed=list(event.assumed),
        )
        self.values[id(event.function)] = value

    def _leaf(self, variable: torch.Tensor) -> Origin:
        found = self.source(variable)
        name = found.name if isinstance(found, Origin) else "leaf"
        return Origin("leaf", name, self.described(variable), True)

    def _is_weight(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is a parameter, or a view of one: it is kept anyway."""
        if tensor.layout is not torch.strided:
            return False
        if len(self.twins) != self._known:
            self._known = len(self.twins)
            weights = [twin for real, twin in self.twins.values() if id(real) in self.weights]
            self._weights = self._own | {t.untyped_storage()._cdata for t in weights}
        return tensor.untyped_storage()._cdata in self._weights

    def _metadata(self, metadata: Any) -> GraphTensor:
        return self.builder.tensor(tuple(metadata.shape), str(metadata.dtype)[6:], metadata.dtype.itemsize)

    def _first_kept(self, tensor: torch.Tensor) -> int:
        """Bytes that a saved tensor adds: memory that several functions keep counts once."""
        if tensor.layout is not torch.strided:
            return tensor.numel() * tensor.dtype.itemsize
        storage = tensor.untyped_storage()
        if storage._cdata in self._saved:
            return 0
        self._saved[storage._cdata] = storage
        return storage.nbytes()


def _new(function: Any, known: dict[int, Any]) -> Iterator[Any]:
    """The functions behind one that are not written down yet, those that run first in the forward first."""
    stack: list[tuple[Any, bool]] = [(function, False)]
    seen: set[int] = set()
    while stack:
        at, ready = stack.pop()
        if ready:
            yield at
            continue
        if id(at) in known or id(at) in seen or hasattr(at, "variable"):
            continue
        seen.add(id(at))
        stack.append((at, True))
        stack += [(before, False) for before, _ in reversed(at.next_functions) if before is not None]


def _saved(function: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors that a function keeps, by name."""
    for name in dir(function):
        if not name.startswith("_saved_") and name != "saved_tensors":
            continue
        try:
            value = getattr(function, name)
        except RuntimeError:  # changed in place since: the backward would fail there
            continue
        for tensor in tensors_in(value):
            yield name.removeprefix("_saved_"), tensor
