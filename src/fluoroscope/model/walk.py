"""Walking through a network's modules without recursion: networks may be nested as deep as they like."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

__all__ = ["each_module", "every_module", "followed", "named_modules"]


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


def named_modules(module: nn.Module) -> dict[str, nn.Module]:
    """All modules by all their names, as ``module.named_modules(remove_duplicate=False)`` has them, "" for itself."""
    found: dict[str, nn.Module] = {}
    left: list[tuple[str, nn.Module]] = [("", module)]
    while left:
        name, part = left.pop()
        found[name] = part
        if part._modules:
            start = f"{name}." if name else ""
            left += [(start + key, child) for key, child in reversed(part._modules.items()) if child is not None]
    return found


def followed(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The named modules that can be followed while they run: all but TorchScript, which takes no hooks."""
    return [(name, part) for name, part in module.named_modules() if not isinstance(part, torch.jit.ScriptModule)]
