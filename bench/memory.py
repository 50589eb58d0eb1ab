"""Memory that autograd keeps for the backward."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

__all__ = ["saved_bytes"]


def saved_bytes(program: Callable[[], object], network: nn.Module) -> int:
    """Bytes saved for a backward while ``program`` runs: each storage once; the network's own tensors do not count."""
    own = {t.untyped_storage().data_ptr() for t in (*network.parameters(), *network.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage  # held, so that no other storage can get the same address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        program()
    return sum(storage.nbytes() for storage in kept.values())
