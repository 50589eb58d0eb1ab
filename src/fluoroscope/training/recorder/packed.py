"""Small parameters on a processor, read all at once: a network has dozens of them, and a call for each costs more than
its arithmetic.

Their entries are put one after another into one buffer; norms, changes and samples are then three passes over it. One
thread does it: to wake others takes longer.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import torch

from fluoroscope.model.memory import dense, memory_of
from fluoroscope.results import Array
from fluoroscope.training.recorder.samples import Samples

__all__ = ["SMALL", "Packed"]

SMALL = 1 << 16
"""Entries of the largest tensor that is read this way: 256 kB, still in the cache when it is read again."""
LEAST, MOST = 1e-28, 1e37
"""Sums of squares outside of these bounds are taken again in float64: float32 may have lost digits, or all of them."""


class Packed:
    """Those of ``parts`` (what this process holds of each parameter) that are small, and where their samples lie.

    ``where`` (K,) are their places among all; ``slots`` (n,) where their entries lie in a sample of all.
    """

    def __init__(self, parts: Sequence[torch.Tensor], samples: Samples, keep: bool) -> None:
        found = [(i, p) for i, p in enumerate(parts) if _fits(p)]
        self.where = np.array([i for i, _ in found], np.int64)
        members = self.where.tolist()
        self.rebind(parts)
        sizes = np.array([len(w) for w in self._weights], np.int64)
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self._places = _joined([samples.places(i).numpy() + s for (i, _), s in zip(found, self._starts, strict=False)])
        self.slots = _joined([np.arange(samples.sizes[i]) + samples.starts[i] for i, _ in found])
        self._ends = np.cumsum([samples.sizes[i] for i, _ in found])
        total = int(self._starts[-1])
        self._now, self._before, self._room = (np.zeros(total, np.float32) for _ in range(3))
        self._gradient = np.zeros(total, np.float32)
        room = self._gradient.ctypes.data
        self._targets = list(zip(members, sizes.tolist(), (room + 4 * self._starts[:-1]).tolist(), strict=True))
        self._keep = keep
        self.renew()

    def __bool__(self) -> bool:
        return len(self.where) > 0

    def rebind(self, parts: Sequence[torch.Tensor]) -> None:
        """The same tensors lie elsewhere; what they were is remembered."""
        self._held = [parts[i] for i in self.where.tolist()]
        self._weights = [memory_of(p) for p in self._held]

    def renew(self) -> None:
        """Take fresh copies of the weights. Whether somebody else than the optimizer changed some takes as long to find
        out.
        """
        if self:
            np.concatenate(self._weights, out=self._before)

    def copied(self) -> Array:
        """Samples (n,) of the copies."""
        found: Array = self._before.take(self._places)
        return found

    def change(self, member: int) -> torch.Tensor:
        """What changed of one of them since its copy was taken."""
        start, stop = self._starts[member : member + 2]
        return torch.from_numpy(self._weights[member] - self._before[start:stop])

    def gradients(self, gradients: Sequence[torch.Tensor | None]) -> tuple[Array, Array, list[int]]:
        """Norms (K,) float64 and samples (n,) float32 out of all ``gradients``, zero and NaN where there is none.

        Last which of the K can't be read this way (another format, a sparse one); nothing is said of them.
        """
        absent: list[int] = []
        odd: list[int] = []
        for k, (i, size, room) in enumerate(self._targets):
            gradient = gradients[i]
            if gradient is not None and _alike(gradient, size):
                ctypes.memmove(room, gradient.data_ptr(), 4 * size)
                continue
            (absent if gradient is None else odd).append(k)
            self._gradient[self._starts[k] : self._starts[k + 1]] = 0
        norms, entries = self._norms(self._gradient), self._gradient.take(self._places)
        for k in absent:
            entries[self._ends[k - 1] if k else 0 : self._ends[k]] = np.nan
        return norms, entries, odd

    def weights(self) -> tuple[Array, Array, Array, Array] | tuple[Array, Array, None, None]:
        """Norms (K,) and samples (n,) of the weights as they are now, and the same of their change since the copies
        were taken, where these are kept; they are renewed.
        """
        np.concatenate(self._weights, out=self._now)
        norms, entries = self._norms(self._now), self._now.take(self._places)
        if not self._keep:
            return norms, entries, None, None
        with np.errstate(invalid="ignore", over="ignore"):
            np.subtract(self._now, self._before, out=self._before)
        changes, moved = self._norms(self._before), self.copied()
        self._now, self._before = self._before, self._now
        return norms, entries, changes, moved

    def _norms(self, values: Array) -> Array:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            np.multiply(values, values, out=self._room)
            squares = np.add.reduceat(self._room, self._starts[:-1]).astype(np.float64)
            for k in np.flatnonzero(~((squares > LEAST) & (squares < MOST))):
                piece = values[self._starts[k] : self._starts[k + 1]].astype(np.float64)
                squares[k] = np.add.reduce(np.square(piece, out=piece))
        found: Array = np.sqrt(squares, out=squares)
        return found


def _fits(parameter: torch.Tensor) -> bool:
    return (
        parameter.device.type == "cpu"
        and 0 < parameter.numel() <= SMALL
        and not parameter.requires_grad
        and _alike(parameter, parameter.numel())
    )


def _alike(tensor: torch.Tensor, size: int) -> bool:
    """Whether it is ``size`` numbers of float32 without gaps. A gradient is where its parameter is."""
    return (
        type(tensor) is torch.Tensor
        and tensor.dtype is torch.float32
        and tensor.layout is torch.strided
        and tensor.numel() == size
        and not tensor.is_neg()
        and dense(tensor)
    )


def _joined(parts: Sequence[Array]) -> Array:
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)
