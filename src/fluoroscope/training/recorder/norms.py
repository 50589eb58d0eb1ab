"""Exact norms: of many tensors with one wait, in float32 at least, and never lost to overflow or underflow."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch

from fluoroscope.model.memory import dense

__all__ = ["PIECE", "doubles", "flat", "norms", "pieces", "rare_norm", "square"]

PIECE = 1 << 18
"""Entries of a piece on a processor: 1 MB, which its cache keeps between two readings."""
DEVICE_PIECE = 1 << 26
_FAST = (torch.float32, torch.float64)


def flat(tensor: torch.Tensor) -> torch.Tensor | None:
    """All entries as one axis in the order of memory, sharing memory; None where they lie scattered."""
    if tensor.is_contiguous():
        return tensor.view(-1)
    if not dense(tensor):
        return None
    return tensor.as_strided((tensor.numel(),), (1,))


def pieces(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The entries in pieces of one axis; a scattered tensor is copied first."""
    long = flat(tensor)
    long = tensor.reshape(-1) if long is None else long
    most = PIECE if tensor.device.type == "cpu" else DEVICE_PIECE
    yield from (long,) if long.numel() <= most else torch.split(long, most)


def square(piece: torch.Tensor) -> torch.Tensor:
    """The sum of squares of one axis, in float32 at least. BLAS reads memory about twice as fast as a reduction."""
    piece = piece if piece.dtype in _FAST else piece.to(torch.float32)
    return piece.dot(piece)


def norms(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """L2 norms (L,) float64 on the tensors' device, without waiting for it."""
    if tensors[0].device.type != "cpu":
        return _on_device(tensors)
    found: list[torch.Tensor] = []
    owners: list[int] = []
    for i, tensor in enumerate(tensors):
        if tensor.dtype is torch.float32 and tensor.is_contiguous() and tensor.numel() <= PIECE:
            long = tensor.view(-1)
            found.append(long.dot(long))
            owners.append(i)
        else:
            parts = [square(p) for p in pieces(tensor)]
            found += parts
            owners += [i] * len(parts)
    squares = doubles(found)
    if len(squares) == len(tensors):
        return squares.sqrt_()
    return torch.zeros(len(tensors), dtype=torch.float64).index_add_(0, torch.tensor(owners), squares).sqrt_()


def doubles(numbers: Sequence[torch.Tensor]) -> torch.Tensor:
    """Single numbers as one float64 axis."""
    if len({n.dtype for n in numbers}) > 1:
        return torch.stack([n.double() for n in numbers])
    return torch.stack(list(numbers)).double()


def _on_device(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    bounds = [0, *(i for i in range(1, len(tensors)) if tensors[i].dtype != tensors[i - 1].dtype), len(tensors)]
    found: list[torch.Tensor] = []
    for start, stop in itertools.pairwise(bounds):
        part = list(tensors[start:stop])
        fast = part[0].dtype in _FAST
        found += torch._foreach_norm(part) if fast else torch._foreach_norm(part, 2, dtype=torch.float32)
    return torch.stack([n.double() for n in found])


def rare_norm(tensor: torch.Tensor) -> float:
    """The norm where squares leave float32's range: scaled by the largest magnitude, added up in float64."""
    if not tensor.numel():
        return 0.0
    largest = float(tensor.abs().amax())
    if largest == 0 or not largest < float("inf"):
        return largest
    return largest * float(torch.linalg.vector_norm(tensor.to(torch.float64) / largest))
