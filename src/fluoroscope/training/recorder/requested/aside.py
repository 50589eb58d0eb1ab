"""Forwards and gradients beside the training: afterwards network, gradients and random generators are as before."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from fluoroscope.errors import InputError, ModelError
from fluoroscope.model.guard import Guard
from fluoroscope.training.recorder.shards import sharded

__all__ = ["aside", "called", "loss_of_closure", "refuse", "several", "trained"]


def trained(model: nn.Module, optimizers: Sequence[Any]) -> list[nn.Parameter]:
    """The parameters that the optimizers change, each once, in the order of the network."""
    held = {id(p): p for o in optimizers for group in o.param_groups for p in group["params"] if p.requires_grad}
    inside = [p for p in model.parameters() if id(p) in held]
    known = {id(p) for p in inside}
    return [*inside, *(p for i, p in held.items() if i not in known)]


def called(what: str, function: Any, example: str) -> None:
    """Raises InputError where ``function`` is none; ``example`` is one that would do."""
    if not callable(function):
        raise InputError(
            f"{what} needs a function that returns the loss",
            got=f"{type(function).__name__}, which can't be called",
            expected=f"such as {example}",
        )


def refuse(what: str, model: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
    """Raises ModelError where parameters are spread over processes, the forward waits for others, or weights are
    complex.
    """
    if sharded(model, parameters):
        raise ModelError(
            f"{what} can't be had of parameters that are spread over processes (FSDP, DTensor)",
            remedy="measure it on one process, with a copy of the network that is not spread",
        )
    if any(isinstance(m, nn.SyncBatchNorm) for m in model.modules()) and several():
        raise ModelError(
            f"{what} can't be had of a network whose batch norm waits for other processes", got="SyncBatchNorm"
        )
    if any(p.is_complex() for p in parameters):
        raise ModelError(f"{what} can't be had of complex weights")


def several() -> bool:
    """Whether several processes train together."""
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@contextlib.contextmanager
def aside(model: nn.Module, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Inside, forwards and ``torch.autograd.grad`` leave nothing behind: buffers, ``.grad``, attributes, random
    generators. The mode stays that of the training. Gradients are not averaged over processes.
    """
    grads = [p.grad for p in parameters]
    with contextlib.ExitStack() as stack:
        stack.enter_context(Guard(model))
        for module in model.modules():
            if isinstance(module, nn.parallel.DistributedDataParallel):
                stack.enter_context(module.no_sync())
                module.require_forward_param_sync = False  # put back by the guard
        stack.enter_context(torch.enable_grad())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))  # the others have no second derivative
        for parameter in parameters:
            parameter.grad = None
        try:
            yield
        finally:
            for parameter, grad in zip(parameters, grads, strict=True):
                parameter.grad = grad


def loss_of_closure(closure: Callable[[], Any], what: str) -> torch.Tensor:
    """The loss that ``closure`` gives: one number that depends on the parameters. Raises InputError."""
    loss = closure()
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        got = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise InputError(f"{what} needs a function that returns the loss", got=got, expected="a tensor of one number")
    if not loss.requires_grad:
        raise InputError(
            f"{what} needs a loss that depends on the parameters",
            got="a tensor without a gradient",
            remedy="compute the loss inside the function, without no_grad, detach or item",
        )
    return loss.reshape(())
