"""The parameters under watch: which tensors, what they are called, where in the network they sit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

__all__ = ["Watched", "clean_name", "layer_of", "local", "parameter_names", "watch"]

_PLAIN = (torch.Tensor, nn.Parameter)
FOREIGN = "optimizer.group"
"""Begins the name of a parameter that an optimizer holds and that is not part of the network."""
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


@dataclass(frozen=True)
class Watched:
    """Parameters of one optimizer, in the order of the network."""

    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]
    key: tuple[int, ...]

    @property
    def gradients(self) -> list[torch.Tensor | None]:
        """What this process holds of each gradient, None where there is none."""
        return [None if p.grad is None else local(p.grad) for p in self.parameters]


def watch(optimizer: Optimizer, names: dict[int, str]) -> Watched:
    """The parameters of ``optimizer``; ``names`` maps the identity of a parameter to its name in the network.

    Parameters that are not part of the network are called after their place in the optimizer.
    """
    given = {
        id(p): (names.get(id(p), f"{FOREIGN}{g}.{i}"), p)
        for g, group in enumerate(optimizer.param_groups)
        for i, p in enumerate(group["params"])
    }
    place = {name: i for i, name in enumerate(names.values())}
    ordered = sorted(given.values(), key=lambda entry: place.get(entry[0], len(place)))
    return Watched(tuple(n for n, _ in ordered), tuple(p for _, p in ordered), group_key(optimizer))


def group_key(optimizer: Optimizer) -> tuple[int, ...]:
    """What changes when parameters join or leave."""
    return tuple([id(p) for group in optimizer.param_groups for p in group["params"]])


def parameter_names(model: nn.Module) -> dict[int, str]:
    """Names of the parameters by identity, in the order of definition, as the network without wrappers calls them."""
    return {id(p): clean_name(name) for name, p in model.named_parameters()}


def clean_name(name: str) -> str:
    """A name without the parts that ``torch.compile``, FSDP and checkpointing put into it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def layer_of(name: str) -> str:
    """The module that holds the parameter ``name``."""
    return name[: max(name.rfind("."), name.rfind("/"), 0)]


def local(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor: the shard of a DTensor, the entries of a sparse one, else all; detached."""
    if type(tensor) in _PLAIN and tensor.layout is torch.strided and not tensor.is_complex():
        return tensor.detach() if tensor.requires_grad else tensor
    part: Any = getattr(tensor, "_local_tensor", tensor)
    part = part.detach()
    if part.is_sparse:
        return part.coalesce().values()  # type: ignore[no-any-return]
    return torch.view_as_real(part.resolve_conj()) if part.is_complex() else part


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside ``torch.compile``, DataParallel and DistributedDataParallel."""
    module: Any = model
    while True:
        inner = module._modules.get("_orig_mod")
        if inner is None and isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = module.module
        if inner is None:
            return module  # type: ignore[no-any-return]
        module = inner


def as_optimizers(optimizer: Optimizer | Sequence[Optimizer] | Iterable[Optimizer]) -> tuple[Any, ...]:
    """One or several optimizers as a tuple."""
    return (optimizer,) if isinstance(optimizer, Optimizer) or not isinstance(optimizer, Iterable) else tuple(optimizer)
