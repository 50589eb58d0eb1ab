"""Walking through a network's modules without recursion: networks may be nested as deep as they like."""

from __future__ import annotations

from torch import nn

__all__ = ["every_module"]


def every_module(module: nn.Module) -> list[nn.Module]:
    """The module and all inside it, each once, in the order of ``module.modules()``."""
    found: dict[int, nn.Module] = {}
    left: list[nn.Module] = [module]
    while left:
        part = left.pop()
        if id(part) not in found:
            found[id(part)] = part
            left += [child for child in reversed(part._modules.values()) if child is not None]
    return list(found.values())
