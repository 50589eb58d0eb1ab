"""Row by row: a step of a program on single positions, whose windows are gathered from the rows of the maps before."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own habit)

from fluoroscope.model.program.fields import Window
from fluoroscope.model.program.kernels import Convolution
from fluoroscope.model.program.steps import Padded, Sliding, Step, Subsampled

__all__ = ["computed"]

CHUNK_BYTES = 4e6
"""Gathered numbers that are worked on at a time: they stay in the caches."""


def computed(
    step: Step, read: list[Window], tables: list[torch.Tensor], places: list[npt.NDArray[np.int64]]
) -> torch.Tensor:
    """The rows (R + 1, C) of a step's result, from the rows (R' + 1, C') of its inputs; the last one is room for what
    lies beyond the map.

    ``places`` (R, taps) says which rows the window of each row reads of each input; R' where it reads beyond the map.
    """
    if isinstance(step, (Sliding, Padded)):
        tables[0][-1] = step.fill
    indices = [torch.from_numpy(p) for p in places]
    room = tables[0].new_empty(len(places[0]) + 1, step.size[0])
    made = room[:-1]
    width = sum(p.shape[1] * t.shape[1] for p, t in zip(places, tables, strict=True)) * made.element_size()
    chunk = max(64, int(CHUNK_BYTES / width))
    kernel = step.kernel if isinstance(step, Sliding) else None
    work = _Dense(kernel) if kernel is not None and kernel.groups == 1 else None
    rooms = [t.new_empty(min(chunk, len(made)) * i.shape[1], t.shape[1]) for t, i in zip(tables, indices, strict=True)]
    for start in range(0, len(made), chunk):
        parts = [_gathered(t, i[start : start + chunk], r) for t, i, r in zip(tables, indices, rooms, strict=True)]
        made[start : start + chunk] = work(parts) if work is not None else _single(step, read, parts)
    return room


def _gathered(table: torch.Tensor, index: torch.Tensor, room: torch.Tensor) -> torch.Tensor:
    """Rows (R, taps, C) of a table, always into the same memory: to get fresh one takes longer than to fill it."""
    found = room[: index.numel()]
    torch.index_select(table, 0, index.reshape(-1), out=found)
    return found.view(*index.shape, table.shape[1])


class _Dense:
    """A convolution as a product of matrices: one of 1 x 1 on a map as high as there are rows, so that the addition and
    the activation that follow it ride on it.
    """

    def __init__(self, kernel: Convolution) -> None:
        weight = kernel.weight.permute(0, 2, 3, 1).reshape(len(kernel.weight), -1, 1, 1)
        self.product = Convolution(weight, kernel.bias, (1, 1), 1)
        self.product.activation, self.product.fused = kernel.activation, kernel.fused

    def __call__(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Rows (R, C') from gathered windows (R, taps, C) and what is added (R, 1, C')."""
        maps = [p.view(1, len(p), 1, -1).permute(0, 3, 1, 2) for p in parts]
        return self.product(maps[0], (0, 0), (1, 1), *maps[1:]).permute(0, 2, 3, 1).flatten(0, 2)


def _single(step: Step, read: list[Window], parts: list[torch.Tensor]) -> torch.Tensor:
    """Any other step, on maps that are no larger than one window."""
    maps = [
        p.view(len(p), d.kernel, a.kernel, p.shape[2]).permute(0, 3, 1, 2)
        for p, (d, a) in zip(parts, read, strict=True)
    ]
    if isinstance(step, Sliding):
        found = step.apply(maps[0], (0, 0), step.stride, maps[1] if len(maps) > 1 else None)
    elif isinstance(step, Padded):
        found = F.pad(maps[0], (0, 0, 0, 0, *step.channels), value=step.fill)
    elif isinstance(step, Subsampled):
        found = maps[0]
    else:
        found = step.whole(dict(zip(step.inputs, maps, strict=True)), len(maps[0]))
    return found.flatten(1)
