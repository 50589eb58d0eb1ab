"""Modes: seeing and replacing what a network calls, also where no module (and so no hook) is involved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Self

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own habit)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["RELU", "SOFTMAX", "ForwardTap", "FunctionTap", "OperationTap", "ReadTap", "TailTap"]

RELU = frozenset({F.relu, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_, F.relu_})
"""Every way to call a rectifier; ``nn.ReLU`` calls ``F.relu``."""

SOFTMAX = frozenset(
    {F.softmax, torch.softmax, torch.Tensor.softmax, F.log_softmax, torch.log_softmax, torch.Tensor.log_softmax}
    | {torch.sigmoid, torch.Tensor.sigmoid, F.sigmoid, F.logsigmoid, torch.special.expit}
)
"""Functions that turn logits into probabilities."""

_READS = frozenset(
    {torch.Tensor.__bool__, torch.Tensor.__int__, torch.Tensor.__float__, torch.Tensor.__index__, torch.Tensor.item}
    | {torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.__array__, torch.Tensor.__contains__, torch.equal}
    | {torch.Tensor.equal, torch.allclose, torch.Tensor.allclose, torch.is_nonzero, torch.Tensor.is_nonzero}
)
"""Functions that give numbers of a tensor to Python, which may go another way by them."""


class FunctionTap(TorchFunctionMode):
    """Calls ``handlers[function](function, args, kwargs)`` in place of each listed torch function.

    It sees ``F.relu(x)``, ``x.relu()`` and the module ``nn.ReLU`` alike; the handler's answer is the call's result.
    """

    def __init__(self, handlers: Mapping[Any, Callable[..., Any]]) -> None:
        super().__init__()
        self.handlers = handlers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        handler = self.handlers.get(func)
        if handler is None:
            return func(*args, **(kwargs or {}))
        return handler(func, args, kwargs or {})


class ForwardTap(TorchFunctionMode):
    """Watches one forward: finds the logits behind a last softmax or sigmoid, and keeps the tape on where it was on.

    A network may run its backbone under ``no_grad`` to save memory in training; the score depends on it all the same,
    so switching gradients off inside the forward is passed over. ``detach()`` stays what the network says.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[torch.Tensor, torch.Tensor] | None = None
        self._keep = torch.is_grad_enabled()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch._C._set_grad_enabled:
            return func(self._keep)
        result = func(*args, **(kwargs or {}))
        if func in SOFTMAX:
            before = args[0] if args else (kwargs or {}).get("input")
            self._last = (result, before) if isinstance(before, torch.Tensor) else None
        return result

    def logits(self, output: torch.Tensor) -> torch.Tensor | None:
        """The tensor that was turned into ``output``, or None where ``output`` came from elsewhere."""
        if self._last is not None and self._last[0] is output and self._last[1].shape == output.shape:
            return self._last[1]
        return None


class ReadTap(TorchFunctionMode):
    """Watches whether numbers of tensors are read by Python."""

    def __init__(self) -> None:
        super().__init__()
        self.read = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.read = self.read or func in _READS
        return func(*args, **(kwargs or {}))


class TailTap:
    """A ForwardTap for the part of a forward after :meth:`begin`, so that what runs before costs nothing.

    Modes are a stack. Where the network has put one of its own on it in the meantime, another can't go on from within:
    then ``missed`` is set, and the forward has to be done again under a ForwardTap from its start.
    """

    def __init__(self) -> None:
        self.missed = False
        self._tap: ForwardTap | None = None
        self._stack = ExitStack()
        self._depth = torch._C._len_torch_function_stack()

    def begin(self) -> None:
        """Watch from here on, with the tape on, also where the network has just switched it off."""
        if self._tap is not None or self.missed:
            return
        if torch._C._len_torch_function_stack() != self._depth:
            self.missed = True
            return
        torch.set_grad_enabled(True)
        self._tap = self._stack.enter_context(ForwardTap())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def logits(self, output: torch.Tensor) -> torch.Tensor | None:
        """As for a ForwardTap."""
        return self._tap.logits(output) if self._tap is not None else None


class OperationTap(TorchDispatchMode):  # type: ignore[no-untyped-call] # the class is untyped in torch
    """Calls ``seen(operation, args, kwargs, result)`` after every ATen operation, backward ones included."""

    def __init__(self, seen: Callable[[Any, Any, Any, Any], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.seen(func, args, kwargs or {}, result)
        return result
