"""True global norms of parameters that are spread over processes: DTensors, and FSDP's flat shards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

__all__ = ["Shards"]


class Shards:
    """Which of some parameters are only parts here, and the groups of processes that hold the rest."""

    def __init__(self, parameters: Sequence[torch.Tensor], model: nn.Module | None) -> None:
        flat = _flat_group(model)
        self._groups: dict[int, tuple[Any, list[int]]] = {}
        for i, parameter in enumerate(parameters):
            for group in _groups_of(parameter) or ([flat] if flat is not None else []):
                self._groups.setdefault(id(group), (group, []))[1].append(i)
        self.places: list[list[tuple[int, int]]] = [[] for _ in parameters]
        """Which part of each is here, of how many, along each dimension of the mesh that splits it."""
        for group, members in self._groups.values():
            place = _place(group)
            for i in members:
                self.places[i].append(place)

    def __bool__(self) -> bool:
        return bool(self._groups)

    def whole(self, norms: torch.Tensor) -> torch.Tensor:
        """Norms (Q, L) of what lies here as norms of whole tensors. Every process of the groups has to call it."""
        if not self._groups:
            return norms
        import torch.distributed as dist

        squares = norms.square()
        for group, members in self._groups.values():
            part = squares[:, members].contiguous()
            dist.all_reduce(part, group=group)
            squares[:, members] = part
        return squares.sqrt_()


def sharded(model: nn.Module | None, parameters: Sequence[torch.Tensor]) -> bool:
    """Whether anything is only partly here."""
    return bool(Shards(parameters, model))


def _place(group: Any) -> tuple[int, int]:
    import torch.distributed as dist

    return dist.get_rank(group), dist.get_world_size(group)


def _groups_of(parameter: torch.Tensor) -> list[Any]:
    """The process groups along whose dimension of the mesh a DTensor is split."""
    mesh, placements = getattr(parameter, "device_mesh", None), getattr(parameter, "placements", ())
    return [] if mesh is None else [mesh.get_group(d) for d, place in enumerate(placements) if _split(place)]


def _split(placement: Any) -> bool:
    return not (placement.is_replicate() or placement.is_partial())


def _flat_group(model: nn.Module | None) -> Any:
    """The process group of FSDP's first generation, which keeps flat shards instead of DTensors."""
    for module in model.modules() if model is not None else ():
        if type(module).__name__ == "FullyShardedDataParallel":
            strategy = getattr(getattr(module, "sharding_strategy", None), "name", "")
            return None if strategy == "NO_SHARD" else module.process_group
    return None
