"""Signals through a network: how far the outputs of its layers spread, and the gradient that comes back to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fluoroscope.model.inputs import Inputs
from fluoroscope.model.outputs import main_output, map_first_tensor
from fluoroscope.model.study import Study
from fluoroscope.model.walk import followed

__all__ = ["Signal", "signals"]

WHOLE = (nn.MultiheadAttention, nn.RNNBase)


@dataclass(frozen=True)
class Signal:
    """One call of a layer: mean, standard deviation and share of zeros of its output; ``gradient`` is the root mean
    square of the gradient that reaches it, for a gradient of one per entry of the network's output; NaN for none.
    """

    name: str
    mean: float
    std: float
    zero_share: float
    gradient: float


def signals(study: Study, inputs: Inputs, directions: int) -> list[Signal]:
    """The layers' signals in the order in which they run, in train mode, since that is how a training begins.

    The gradient is that of ``directions`` random projections of the output, each with independent standard normal
    weights: the mean square over all of them. Nothing has to be known about the loss.
    """
    kept: list[tuple[str, torch.Tensor]] = []
    calls: dict[str, int] = {}

    def look(name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            call = calls[name] = calls.get(name, -1) + 1
            return map_first_tensor(output, lambda t: keep(f"{name}@{call}" if call else name, t))

        def keep(key: str, tensor: torch.Tensor) -> torch.Tensor:
            begun = tensor if tensor.requires_grad else tensor.detach().clone().requires_grad_()
            kept.append((key, begun))
            return begun.clone()  # what follows may work in place

        return hook

    leaves = [(m, look(n)) for n, m in followed(study.module) if n and (not m._modules or isinstance(m, WHOLE))]
    for module in study.module.modules():
        module.training = inputs.count > 1  # normalization over a batch needs one
        for name, buffer in module._buffers.items():  # running statistics change unseen, without being counted
            module._buffers[name] = None if buffer is None else buffer.clone()
    with study.hooked(leaves):
        output = main_output(study.run(inputs))
    squares = _gradients(study, output, [t for _, t in kept], directions, inputs.count)
    return [_signal(name, tensor.detach(), s) for (name, tensor), s in zip(kept, squares, strict=True)]


def _gradients(
    study: Study, output: torch.Tensor, tensors: list[torch.Tensor], directions: int, count: int
) -> list[float]:
    """Mean square of the gradient at each tensor, NaN where none arrives."""
    squares = [0.0] * len(tensors)
    if not output.requires_grad:
        return [float("nan")] * len(tensors)
    for _ in range(directions):
        weights = torch.randn_like(output)
        found: Any = torch.autograd.grad(output, tensors, weights, retain_graph=True, allow_unused=True)
        study.backwards += count
        for i, gradient in enumerate(found):
            squares[i] += float("nan") if gradient is None else float(gradient.double().square().mean()) / directions
    return squares


def _signal(name: str, tensor: torch.Tensor, square: float) -> Signal:
    values = tensor.double()
    std, mean = torch.std_mean(values, correction=0)
    zeros = float((tensor == 0).double().mean())
    return Signal(name, float(mean), float(std), zeros, square**0.5)
