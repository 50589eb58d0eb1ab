"""Order: which places go first, by a map."""

from __future__ import annotations

import numpy as np
import torch

from fluoroscope.results import Array
from fluoroscope.trust.places import Places

__all__ = ["order_of", "replaced"]


def order_of(maps: Array, seed: int, free: Array | None = None) -> Array:
    """Place by place how many places come before it, the greatest value first: (N, *places) from 0 on. Equal values
    are in random order, so that a map with large empty parts does not go through them line by line. Places that are not
    ``free`` (N, *places) come last.
    """
    flat = maps.reshape(len(maps), -1)
    order = np.empty(flat.shape, dtype=np.int64)
    kept = np.zeros(flat.shape, dtype=bool) if free is None else ~free.reshape(flat.shape)
    for n, values in enumerate(flat):
        chance = np.random.default_rng([seed, n]).random(len(values))
        order[n, np.lexsort((chance, -values, kept[n]))] = np.arange(len(values))
    return order.reshape(maps.shape)


def replaced(inputs: torch.Tensor, others: torch.Tensor, marks: Array, places: Places) -> torch.Tensor:
    """``inputs`` (M, ...) with the marked places (M, *places) taken from ``others``."""
    spread = places.spread(torch.as_tensor(marks, device=inputs.device), inputs)
    return torch.where(spread, others, inputs)
