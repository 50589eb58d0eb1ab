"""The autograd reading: what the backward will run, and which tensors are kept for it.

The same forward as for the flow, in training mode and with the tape on, still on shapes alone. Instead of what was
called, the functions are written down that autograd has noted for it: each in the module where it came to be, with the
leaves that it leads to and the tensors that it has saved.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from fluoroscope.model.graph.builder import Source
from fluoroscope.model.graph.code import call_site
from fluoroscope.model.graph.nested import tensors_in
from fluoroscope.model.graph.steps import Origin, Step, Value
from fluoroscope.model.graph.tracer import Tracer
from fluoroscope.model.walk import every_module
from fluoroscope.results.model_graph import GraphTensor

__all__ = ["GradientTracer"]


class GradientTracer(Tracer):
    """Writes down autograd's functions in place of operations."""

    def __init__(self, module: nn.Module, *, device: torch.device) -> None:
        super().__init__(module, real=False, share=False, device=device)
        self.functions: dict[int, tuple[Any, Value]] = {}
        self._saved: dict[int, Any] = {}
        tensors = [t for part in every_module(module) for t in (*part._parameters.values(), *part._buffers.values())]
        own = [t for t in tensors if t is not None and t.layout is torch.strided and not is_lazy(t)]
        self._own = {t.untyped_storage()._cdata for t in own}
        self._weights, self._known = self._own, 0

    def source(self, tensor: torch.Tensor) -> Source:
        """The function that made a tensor; leaves are origins."""
        function = tensor.grad_fn
        if function is not None and id(function) in self.functions:
            return Value(self.functions[id(function)][1].step, tensor.output_nr)
        return super().source(tensor)

    def mark(self, tensor: torch.Tensor, source: Source) -> None:
        """Only origins are marked: autograd itself knows the rest."""
        if isinstance(source, Origin):
            super().mark(tensor, source)

    def take(self, name: str, tensor: torch.Tensor) -> None:
        """Inputs are no part of it, unless a gradient is asked for them."""
        if tensor.requires_grad:
            self.mark(tensor, Origin("leaf", name, self.described(tensor), True))

    def _noted(self, func: Any, args: Any, kwargs: Any, given: Any, result: Any, log: Any) -> tuple[Value, ...]:
        made = tensors_in(result) + [t for t in map(self._current, given) if log.written]
        code = call_site(3)
        for tensor in made:
            if tensor.grad_fn is not None:
                for function in _new(tensor.grad_fn, self.functions):
                    self._function(function, code, log.assumed)
        return ()

    def _current(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.twins[id(tensor)][1] if id(tensor) in self.twins else tensor

    def _function(self, function: Any, code: str, assumed: list[str]) -> None:
        inputs: list[tuple[str, Source]] = []
        for place, (before, output) in enumerate(function.next_functions):
            if before is None:
                continue
            variable = getattr(before, "variable", None)
            if variable is not None:
                inputs.append((str(place), self._leaf(variable)))
            elif id(before) in self.functions:
                inputs.append((str(place), Value(self.functions[id(before)][1].step, output)))
        outputs = [self._metadata(m) for m in getattr(function, "_input_metadata", ())]
        kept = 0
        for name, tensor in _saved(function):
            if self._is_weight(tensor):
                continue
            inputs.append((name, Origin("saved", name, self.described(tensor))))
            kept += self._first_kept(tensor)
        (*_, value) = self.builder.operation(
            function.name(),
            inputs,
            outputs or [GraphTensor(shape=())],
            role="function",
            code=code,
            activation_bytes=kept,
            assumed=list(assumed),
        )
        self.functions[id(function)] = (function, Value(value.step, 0))

    def _leaf(self, variable: torch.Tensor) -> Origin:
        found = super().source(variable)
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

    def closed(self, step: Step, module: nn.Module, result: Any) -> None:
        """A module in which autograd has noted nothing is left out."""
        if step is self.builder.root:
            return
        self._owned(step, module)
        made = [t for t in tensors_in(result) if t.grad_fn is not None and id(t.grad_fn) in self.functions]
        self.builder.leave([self.source(t) for t in made], [self.described(t) for t in made])
        if not step.children and step.scope is not None and step.scope.children[-1] is step and not step.error:
            step.scope.children.pop()


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
