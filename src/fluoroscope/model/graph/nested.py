"""Tensors in nested tuples, lists and mappings: found, and changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

__all__ = ["mapped", "tensors_in"]


def tensors_in(item: Any) -> list[torch.Tensor]:
    """The tensors in nested tuples, lists and mappings, in order; other objects are not looked into."""
    if isinstance(item, torch.Tensor):
        return [item]
    found: list[torch.Tensor] = []
    stack = [item]
    while stack:
        part = stack.pop()
        if isinstance(part, torch.Tensor):
            found.append(part)
        elif isinstance(part, Mapping):
            stack.extend(reversed(list(part.values())))
        elif isinstance(part, (tuple, list)) and not isinstance(part, torch.Size):
            stack.extend(reversed(part))
    return found


def mapped(item: Any, change: Callable[[Any], Any], kind: type[Any] = torch.Tensor) -> Any:
    """The same nesting with every tensor (or ``kind``) changed; what holds none stays the same object."""
    if isinstance(item, kind):
        return change(item)
    if isinstance(item, (tuple, list)) and not isinstance(item, torch.Size):
        made = [mapped(v, change, kind) for v in item]
        if all(a is b for a, b in zip(made, item, strict=True)):
            return item
        return type(item)(*made) if hasattr(item, "_fields") else type(item)(made)
    if isinstance(item, dict) and item:
        pairs = {k: mapped(v, change, kind) for k, v in item.items()}
        if all(pairs[k] is v for k, v in item.items()):
            return item
        if type(item) is dict:
            return pairs
        try:
            return type(item)(**pairs)
        except TypeError:
            return type(item)(pairs)
    return item
