"""Gradients of single backward passes, before they are added up: their squares, and the norm of the sum so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

__all__ = ["BackwardWatch"]

_queue = torch.autograd.Variable._execution_engine.queue_callback


class BackwardWatch:
    """Watches the backward passes of ``parameters`` between :meth:`begin` and :meth:`take`; changes nothing.

    ``square(gradient)`` gives a sum of squares, a tensor of one number. Passes that add to no ``.grad``, as those of
    ``torch.autograd.grad``, do not count.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], square: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.parameters, self._square = list(parameters), square
        self._handles: list[Any] = []
        self.begin(False)

    def start(self) -> None:
        """Install the hooks."""
        for i, parameter in enumerate(self.parameters):
            self._handles.append(parameter.register_hook(self._hook(i)))  # type: ignore[no-untyped-call]

    def stop(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.on = False

    def begin(self, on: bool = True) -> None:
        """Forget what was seen; look at the passes to come, or do not."""
        self.on, self._inside, self._first = on, False, -1
        self._counts = [0] * len(self.parameters)
        self._squares: list[torch.Tensor] = []
        self._pending: list[tuple[int, torch.Tensor]] = []
        self._state: tuple[int, int] = (0, 0)
        self._before: torch.Tensor | None = None
        self._sum: torch.Tensor | None = None

    def take(self) -> tuple[int, torch.Tensor, torch.Tensor, torch.Tensor] | None:
        """Number of passes n, the sum over them of |g|^2, |sum of g|^2 as it lies in ``.grad`` after the last pass, and
        the square of what lay there before the first. None where no pass was seen.
        """
        number, total = max(self._counts, default=0), self._sum
        if not number or total is None or self._before is None:
            return None
        return number, _added(self._squares), total, self._before

    def _hook(self, index: int) -> Callable[[torch.Tensor], None]:
        def hook(gradient: torch.Tensor) -> None:
            if not self.on:
                return
            with torch.no_grad():
                if not self._inside:
                    if self._first >= 0 and self._lying(self._first) != self._state:
                        self.begin()  # gradients were zeroed or changed since the last pass: it all begins anew
                    self._inside, self._pending = True, []
                    self._state = self._lying(index)
                    if self._before is None:
                        self._before = self._accumulated()
                    self._first = index
                    _queue(lambda: _queue(self._ended))  # behind what DistributedDataParallel has queued by then
                self._pending.append((index, self._square(gradient.detach())))

        return hook

    def _lying(self, index: int) -> tuple[int, int]:
        grad = self.parameters[index].grad
        return (0, 0) if grad is None else (id(grad), grad._version)

    def _ended(self) -> None:
        self._inside = False
        if not self.on or self._lying(self._first) == self._state:
            return
        self._state = self._lying(self._first)
        for index, square in self._pending:
            self._counts[index] += 1
            self._squares.append(square)
        with torch.no_grad():
            self._sum = self._accumulated()

    def _accumulated(self) -> torch.Tensor:
        return _added([self._square(p.grad.detach()) for p in self.parameters if p.grad is not None])


def _added(numbers: Sequence[torch.Tensor]) -> torch.Tensor:
    if not numbers:
        return torch.zeros((), dtype=torch.float64)
    device = numbers[0].device
    wide = torch.float32 if device.type == "mps" else torch.float64
    return torch.stack([n.to(device, wide) for n in numbers]).sum()
