"""Costs: floating-point operations counted as the network runs, by module, functional calls included."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import flop_registry

from fluoroscope.model.modes import OperationTap
from fluoroscope.model.walk import followed

__all__ = ["CostMeter"]

aten = torch.ops.aten


def _attention(query: torch.Size, key: torch.Size, value: torch.Size) -> int:
    """Two matrix products: (L, D) x (D, S), then (L, S) x (S, V), for every example and head."""
    batch = query[:-2].numel()
    return 2 * batch * int(query[-2]) * key[-2] * (query[-1] + value[-1])


def _recurrent(args: Any) -> int:
    """A fused recurrent layer: each time step multiplies by the input and the hidden weights of every gate."""
    steps, input_weights, hidden_weights = args[0], args[1], args[2]
    return 2 * int(steps.shape[0] * steps.shape[1]) * int(input_weights.numel() + hidden_weights.numel())


# Operations that torch's own registry does not list: the fused forms that it picks on a CPU.
EXTRA: dict[Any, Callable[[Any, Any], int]] = {
    aten._grouped_mm: lambda args, out: 2 * int(args[0].shape[-1] * out.numel()),
    aten._scaled_dot_product_flash_attention_for_cpu: lambda args, out: _attention(*(a.shape for a in args[:3])),
    aten.mkldnn_rnn_layer: lambda args, out: _recurrent(args),
}


def operation_flops(operation: Any, args: Any, kwargs: Any, result: Any) -> int:
    """2 x multiply-adds of one ATen operation; 0 for everything but matrix products, convolutions, attention,
    recurrence.
    """
    packet = getattr(operation, "_overloadpacket", operation)
    if packet in EXTRA:
        return EXTRA[packet](args, result)
    formula = flop_registry.get(packet)
    return int(formula(*args, **kwargs, out_val=result)) if formula is not None else 0


class CostMeter:
    """While active, adds up FLOPs for every module on the stack; ``flops[name]`` covers all calls and everything
    inside.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.flops: dict[str, int] = {}
        self.attention: set[str] = set()
        self._stack: list[str] = []

    @contextmanager
    def active(self) -> Iterator[None]:
        """Count within this block."""
        handles = []
        for name, module in followed(self.module):
            handles.append(module.register_forward_pre_hook(self._enter(name)))
            handles.append(module.register_forward_hook(self._leave(name), always_call=True))
        try:
            with OperationTap(self._seen):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str) -> Callable[..., None]:
        return lambda module, args: self._stack.append(name)

    def _leave(self, name: str) -> Callable[..., None]:
        def leave(module: nn.Module, args: Any, output: Any) -> None:
            if self._stack and self._stack[-1] == name:
                self._stack.pop()

        return leave

    def _seen(self, operation: Any, args: Any, kwargs: Any, result: Any) -> None:
        if "scaled_dot_product" in str(operation) and self._stack:
            self.attention.add(self._stack[-1])
        count = operation_flops(operation, args, kwargs, result)
        if count:
            for name in dict.fromkeys([*self._stack, ""]):
                self.flops[name] = self.flops.get(name, 0) + count
