"""Walking through a network's modules without recursion: networks may be nested as deep as they like."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

__all__ = ["each_module", "every_module"]


def each_module(module: nn.Module) -> Iterator[nn.Module]:
    """The module and all inside it, each once, in the order of ``module.modules()``."""
    seen: set[int] = set()
    left: list[nn.Module] = [module]
    while left:
        part = left.pop()
        if id(part) not in seen:
            seen.add(id(part))
            yield part
            left += [child for child in reversed(part._modules.values()) if child is not None]


def every_module(module: nn.Module) -> list[nn.Module]:
    """All of :func:`each_module`."""
    return list(each_module(module))
