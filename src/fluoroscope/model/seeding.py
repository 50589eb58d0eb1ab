"""Random numbers that belong to an example, so that how examples are batched does not change them."""

from __future__ import annotations

import torch

__all__ = ["generator"]


def generator(seed: int, index: int) -> torch.Generator:
    """A generator for example number ``index`` of a run with ``seed``; on the CPU, so that every device draws alike."""
    return torch.Generator().manual_seed((seed * 1_000_003 + index * 7_919 + 17) % (2**63 - 1))
