"""Places: the parts of an input that a map speaks of, and maps brought onto them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fluoroscope import axes as ax
from fluoroscope.errors import NotApplicable
from fluoroscope.model.inputs import Inputs
from fluoroscope.results import Array, Attribution
from fluoroscope.results.attribution import linear_weights

__all__ = ["Places", "on_places"]

CONTINUOUS = frozenset(ax.SPACE)


@dataclass(frozen=True)
class Places:
    """Where positions are in an input tensor: ``axes`` their names, ``dims`` their dimensions, ``shape`` their number.

    ``channel`` is the dimension of the channels, None where every place is one number (rows, token numbers).
    """

    axes: tuple[str, ...]
    dims: tuple[int, ...]
    shape: tuple[int, ...]
    channel: int | None

    @classmethod
    def of(cls, given: Inputs, found: Attribution) -> Places:
        """The places of the main one of the inputs that ``found`` speaks of."""
        inputs = given.main
        named = given.axes_of(inputs)
        if ax.L in found.axes:  # tokens come first, whatever follows is what stands for each of them
            named = (ax.N, ax.L, ax.C)[: inputs.ndim]
        dims = tuple(i for i, a in enumerate(named) if a not in (ax.N, ax.C))
        channel = named.index(ax.C) if ax.C in named else None
        return cls(tuple(named[i] for i in dims), dims, tuple(inputs.shape[i] for i in dims), channel)

    @property
    def count(self) -> int:
        """How many places an example has."""
        return int(np.prod(self.shape))

    @property
    def continuous(self) -> bool:
        """Whether places have neighbours that are like them: pixels and times do, columns and words do not."""
        return bool(self.axes) and CONTINUOUS.issuperset(self.axes)

    def spread(self, marks: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Marks (M, *shape) so that they broadcast with an input (M, ...) such as ``like``."""
        sizes = [1] * like.ndim
        sizes[0] = len(marks)
        for dim, size in zip(self.dims, self.shape, strict=True):
            sizes[dim] = size
        return marks.reshape(sizes)


def on_places(found: Attribution, places: Places) -> Array:
    """The maps of ``found`` on the places of the input, (N, *places.shape) float64: channels summed, coarse maps
    interpolated linearly. A cell that is not finite (one that was never computed) counts as the least.

    Raises:
        NotApplicable: the map is over other axes than the input.
    """
    maps = np.stack([found.map(n) for n in range(len(found.data))]).astype(np.float64)
    axes = tuple(a for a in found.axes if a not in (ax.N, ax.K, ax.C))
    fits = axes == places.axes and (places.continuous or maps.shape[1:] == places.shape)
    if not fits:
        raise NotApplicable(
            "a map over these places can't be compared with the input",
            got=f"a map over ({', '.join(axes)}) of shape {maps.shape[1:]}",
            expected=f"a map over ({', '.join(places.axes)}), as the input: {places.shape}",
        )
    finite = np.isfinite(maps)
    maps = np.where(finite, maps, maps[finite].min(initial=0.0))
    for i, length in enumerate(places.shape if maps.shape[1:] != places.shape else ()):
        maps = np.moveaxis(np.moveaxis(maps, i + 1, -1) @ _weights(found, i, maps.shape[i + 1], length).T, -1, i + 1)
    return maps


def _weights(found: Attribution, axis: int, cells: int, length: int) -> Array:
    first, step = found.centers[axis] if found.centers else (length / cells / 2, length / cells)
    return linear_weights(np.clip((np.arange(length) + 0.5 - first) / step, 0, cells - 1), cells)
