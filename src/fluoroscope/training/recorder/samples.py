"""Strided samples of many tensors and their statistics: mean, spread, extremes, share of zeros, signed log histogram.

A sample is every k-th entry in the order of memory. k shares no factor with the lengths of the axes, so that a sample
never walks down one column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fluoroscope.model.memory import stride_of
from fluoroscope.results import Array
from fluoroscope.training.recorder.norms import flat

__all__ = ["BINS", "EDGES", "Entries", "Samples", "counts"]

LOWEST, HIGHEST = -48, 16
"""Exponents of two of the smallest and the largest magnitude that histograms tell apart."""
SIDE = HIGHEST - LOWEST
BINS = 2 * SIDE + 1
EDGES = np.concatenate([-(2.0 ** np.arange(HIGHEST, LOWEST - 1, -1)), 2.0 ** np.arange(LOWEST, HIGHEST + 1)])
"""Edges (B + 1,) of the histograms: factors of two, and one bin around zero for what is below 2**-48."""


@dataclass(frozen=True)
class Entries:
    """Entries that somebody else took, to be given to :meth:`Samples.take` in the place of their tensor."""

    values: torch.Tensor


class Samples:
    """Where to look in some tensors, and what the entries found there say.

    ``starts`` (L,) are where each tensor's entries begin in a sample of all of them; ``sizes`` (L,) how many they are.
    """

    def __init__(self, shapes: Sequence[Sequence[int]], most: int) -> None:
        self._shapes, self._most = [tuple(shape) for shape in shapes], most
        self._strides = [stride_of(shape, most) for shape in shapes]
        numbers = [math.prod(shape) for shape in shapes]
        self._takes = [min(most, -(-n // k)) for n, k in zip(numbers, self._strides, strict=True)]
        self.numbers = np.array(numbers, np.int64)
        self.sizes = np.array(self._takes, np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64)
        self._full = np.flatnonzero(self.sizes)
        self._owner = np.repeat(np.arange(len(shapes)), self.sizes)
        self._owners = np.zeros(0, np.int64)

    def take(self, tensors: Sequence[torch.Tensor | Entries | None]) -> torch.Tensor:
        """The entries of all tensors as one axis, float32, on their device; NaN for a tensor that is not there."""
        device = next((t.device for t in tensors if isinstance(t, torch.Tensor)), torch.device("cpu"))
        found = [self._part(t, i, device) for i, t in enumerate(tensors)]
        if not found:
            return torch.zeros(0)
        if len({p.dtype for p in found}) == 1:
            return torch.cat(found).to(torch.float32)
        return torch.cat([p.to(torch.float32) for p in found])

    def part(self, indices: Sequence[int]) -> tuple[Samples, torch.Tensor]:
        """The same of some of the tensors, and where their entries (n,) lie in a sample of all."""
        slots = [np.arange(self.sizes[i]) + self.starts[i] for i in indices]
        return Samples([self._shapes[i] for i in indices], self._most), torch.from_numpy(
            np.concatenate([np.zeros(0, np.int64), *slots])
        )

    def places(self, index: int) -> torch.Tensor:
        """Where the entries of one tensor lie in the order of memory."""
        return torch.arange(self._takes[index]) * self._strides[index]

    def _part(self, tensor: torch.Tensor | Entries | None, index: int, device: torch.device) -> torch.Tensor:
        take, stride = self._takes[index], self._strides[index]
        if tensor is None:
            return torch.full((take,), math.nan, device=device)
        if isinstance(tensor, Entries):
            return tensor.values
        if tensor.is_contiguous():
            return tensor.as_strided((take,), (stride,), tensor.storage_offset())
        long = flat(tensor)
        long = tensor.reshape(-1) if long is None else long
        return long[::stride][:take]

    def statistics(self, entries: Array) -> dict[str, Array]:
        """Mean, standard deviation, minimum, maximum and share of zeros (Q, L) of each tensor's ``entries`` (Q, n)."""
        shape = (len(entries), len(self.sizes))
        found = {key: np.full(shape, np.nan, np.float32) for key in ("mean", "std", "min", "max", "zero_share")}
        if not entries.size:
            return found
        where, sizes, starts = self._full, self.sizes[self._full], self.starts[self._full]
        with np.errstate(invalid="ignore", over="ignore"):
            wide = entries.astype(np.float64)
            mean = np.add.reduceat(wide, starts, axis=1) / sizes
            wide -= np.repeat(mean, sizes, axis=1)
            np.square(wide, out=wide)
            found["std"][:, where] = np.sqrt(np.add.reduceat(wide, starts, axis=1) / sizes)
            found["mean"][:, where] = mean
            found["min"][:, where] = np.minimum.reduceat(entries, starts, axis=1)
            found["max"][:, where] = np.maximum.reduceat(entries, starts, axis=1)
            found["zero_share"][:, where] = np.add.reduceat((entries == 0).astype(np.int64), starts, axis=1) / sizes
        return found

    def histograms(self, entries: Array) -> Array:
        """Counts (Q, L, B) of each tensor's finite ``entries`` (Q, n) between :data:`EDGES`."""
        tensors = len(self.sizes)
        if len(self._owners) != entries.size:
            shifts = tensors * np.arange(len(entries))[:, None]
            self._owners = (self._owner + shifts).reshape(-1).astype(np.int64)
        return counts(entries.reshape(-1), self._owners, tensors * len(entries)).reshape(len(entries), tensors, BINS)


def counts(entries: Array, owners: Array, tensors: int) -> Array:
    """Counts (L, B) of float32 ``entries``, each belonging to the tensor ``owners``; NaN and infinity are not counted.

    Sign and exponent are the nine highest bits: no logarithm is taken.
    """
    places = _BIN_OF[np.ascontiguousarray(entries, np.float32).view(np.uint32) >> 23]
    places += owners * (BINS + 1)
    found: Array = np.bincount(places, minlength=tensors * (BINS + 1)).reshape(tensors, BINS + 1)
    return found[:, :BINS]


def _bins() -> Array:
    """The bin of each code of sign and exponent; the last, which is not a bin, for what is not finite."""
    codes = np.arange(1 << 9)
    exponent = codes & 0xFF
    step = np.clip(exponent - (127 + LOWEST - 1), 0, SIDE)
    return np.where(exponent == 0xFF, BINS, SIDE + np.where(codes >= 256, -step, step)).astype(np.int64)


_BIN_OF = _bins()
