"""Differences from a reference: when two numbers differ by more than rounding, slopes, and pooling with its places."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

__all__ = ["POOLS", "apart", "max_pooled", "slope", "tensors_in"]

POOLS: dict[str, int] = {
    **{f"max_pool{rank}d": rank for rank in (1, 2, 3)},
    **{f"adaptive_max_pool{rank}d": rank for rank in (1, 2, 3)},
}
"""Functions of max pooling, and over how many axes they go."""


def apart(ours: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(difference, whether it is more than rounding)."""
    difference = ours - reference
    rounding = 4 * torch.finfo(ours.dtype).eps * torch.maximum(ours.abs(), reference.abs())
    return difference, difference.abs() > rounding


def slope(x: torch.Tensor, func: Callable[..., Any], args: Any, kwargs: Any) -> torch.Tensor:
    """The derivative of a function of one variable, place by place."""
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        value = func(leaf.clone(), *args, **kwargs)
        return torch.autograd.grad(value.sum(), leaf)[0]


def max_pooled(x: torch.Tensor, func: Any, name: str, args: Any, kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """(maxima, the places where they lie) of a call of one of :data:`POOLS`."""
    if name.startswith("adaptive"):
        return func(x, *args, **{**kwargs, "return_indices": True})  # type: ignore[no-any-return]
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    options = {**dict(zip(names, args, strict=False)), **kwargs, "return_indices": True}
    return func(x, **options)  # type: ignore[no-any-return]


def tensors_in(values: Any) -> Iterator[torch.Tensor]:
    """The tensors among arguments, also in lists of them."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from tensors_in(value)
