"""Patches: parts of maps, one for each window, and the unchanged maps that surround them.

A :class:`Place` says where the patches of a batch lie. :class:`Clean` holds the map of the unchanged input, padded, as
rows of channels, with room behind it for patches: whatever region is wanted next, with its halo, is then one selection
of rows, taken from the patch where the patch has them and from the unchanged map elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fluoroscope.model.program.reach import Numbers

__all__ = ["Clean", "Place"]

Padding = tuple[int, int, int, int]


@dataclass(frozen=True)
class Place:
    """Starts (B,) along height and width, and the size that all patches of the batch have."""

    rows: Numbers
    columns: Numbers
    height: int
    width: int

    @classmethod
    def whole(cls, count: int, height: int, width: int) -> Place:
        """The whole map, for ``count`` windows."""
        zeros = np.zeros(count, np.int64)
        return cls(zeros, zeros, height, width)

    def same(self, other: Place) -> bool:
        """Whether the patches lie at the same places."""
        return (
            (self.height, self.width) == (other.height, other.width)
            and np.array_equal(self.rows, other.rows)
            and np.array_equal(self.columns, other.columns)
        )


class Clean:
    """A map (1, C, H, W) padded by (left, right, top, bottom) with ``fill``, and room for patches."""

    def __init__(self, value: torch.Tensor, padding: Padding = (0, 0, 0, 0), fill: float = 0.0) -> None:
        self.left, _, self.top, _ = padding
        padded = torch.nn.functional.pad(value, padding, value=fill) if any(padding) else value
        self.width = padded.shape[-1]
        self._rows = padded[0].permute(1, 2, 0).reshape(-1, padded.shape[1])
        self._count = len(self._rows)

    def at(self, patch: torch.Tensor | None, place: Place, want: Place, step: tuple[int, int] = (1, 1)) -> torch.Tensor:
        """(B, C, height, width) of ``want`` (positions ``step`` apart), with ``patch`` (B, C, ...) lying at
        ``place``.
        """
        rows = want.rows[:, None] + step[0] * np.arange(want.height)
        columns = want.columns[:, None] + step[1] * np.arange(want.width)
        index = ((rows + self.top) * self.width)[:, :, None] + (columns + self.left)[:, None, :]
        if patch is not None:
            index = self._into_patch(index, rows, columns, place)
            self._put(patch)
        flat = torch.from_numpy(index.reshape(-1)).to(self._rows.device)
        taken = self._rows.index_select(0, flat).view(len(rows), want.height, want.width, -1)
        return taken.permute(0, 3, 1, 2)

    def _into_patch(self, index: Numbers, rows: Numbers, columns: Numbers, place: Place) -> Numbers:
        """The row numbers, those that lie in the patch turned to where it is put."""
        down, along = rows - place.rows[:, None], columns - place.columns[:, None]
        first = self._count + np.arange(len(rows))[:, None] * (place.height * place.width)
        inside = ((down >= 0) & (down < place.height))[:, :, None] & ((along >= 0) & (along < place.width))[:, None, :]
        patch = (first + down * place.width)[:, :, None] + along[:, None, :]
        return np.where(inside, patch, index)

    def _put(self, patch: torch.Tensor) -> None:
        rows = patch.permute(0, 2, 3, 1)
        need = self._count + rows.shape[0] * rows.shape[1] * rows.shape[2]
        if len(self._rows) < need:
            room = self._rows.new_empty(need, self._rows.shape[1])
            room[: self._count] = self._rows[: self._count]
            self._rows = room
        self._rows[self._count : need].view(rows.shape).copy_(rows)
