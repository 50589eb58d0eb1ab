"""Regions: parts of an input that are replaced together, as boxes that hold them and masks that say exactly which
they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fluoroscope.model.program.patches import Place
from fluoroscope.model.program.reach import Numbers

__all__ = ["Groups", "Regions", "Windows"]


@dataclass(frozen=True)
class Regions:
    """``boxes`` (n, axes, 2): [low, high) along each axis of positions, ``size`` the positions of an example."""

    boxes: npt.NDArray[np.int64]
    size: tuple[int, ...]

    def masks(self, which: Numbers) -> torch.Tensor:
        """Truth values (B, *size): what belongs to each of these regions."""
        raise NotImplementedError

    def masks_at(self, which: Numbers, place: Place) -> torch.Tensor:
        """The part (B, height, width) of the masks that lies at ``place``."""
        raise NotImplementedError

    def touched(self, change: torch.Tensor) -> npt.NDArray[np.bool_]:
        """Whether each region holds a position where ``change`` (*size) is true."""
        raise NotImplementedError


@dataclass(frozen=True)
class Windows(Regions):
    """Boxes that are filled."""

    @classmethod
    def sliding(
        cls, size: Sequence[int], window: Sequence[int], stride: Sequence[int]
    ) -> tuple[Windows, tuple[int, ...]]:
        """Windows from the first corner on, ``stride`` apart, as many as it takes to reach the end; and how many along
        each axis. Window k is [k stride, k stride + window), what stands out beyond the end is cut off.
        """
        counts = tuple(-(-max(n - w, 0) // s) + 1 for n, w, s in zip(size, window, stride, strict=True))
        starts = np.stack(
            np.meshgrid(*(np.arange(c) * s for c, s in zip(counts, stride, strict=True)), indexing="ij"), -1
        )
        low = starts.reshape(-1, len(counts))
        high = np.minimum(low + np.asarray(window), np.asarray(size))
        return cls(np.stack([low, high], -1), tuple(size)), counts

    def masks(self, which: Numbers) -> torch.Tensor:
        """The product of what lies within along each axis."""
        boxes = torch.from_numpy(self.boxes[which])
        found = torch.ones((len(which),) + (1,) * len(self.size), dtype=torch.bool)
        for axis, length in enumerate(self.size):
            place = torch.arange(length)
            within = (place >= boxes[:, axis, :1]) & (place < boxes[:, axis, 1:])
            found = found & within.view(-1, *(length if a == axis else 1 for a in range(len(self.size))))
        return found

    def masks_at(self, which: Numbers, place: Place) -> torch.Tensor:
        """As :meth:`masks`, without making the whole."""
        boxes = self.boxes[which]
        rows = place.rows[:, None] + np.arange(place.height)
        columns = place.columns[:, None] + np.arange(place.width)
        down = (rows >= boxes[:, 0, :1]) & (rows < boxes[:, 0, 1:])
        along = (columns >= boxes[:, 1, :1]) & (columns < boxes[:, 1, 1:])
        return torch.from_numpy(down[:, :, None] & along[:, None, :])

    def touched(self, change: torch.Tensor) -> npt.NDArray[np.bool_]:
        """By looking into every box."""
        found = change.cpu().numpy()
        return np.array([found[tuple(slice(*pair) for pair in box)].any() for box in self.boxes], bool)


@dataclass(frozen=True)
class Groups(Regions):
    """Positions with the same number in ``labels`` (*size); region i is number i."""

    labels: torch.Tensor

    @classmethod
    def of(cls, labels: torch.Tensor) -> Groups:
        """The groups 0 to the largest number, each in the smallest box that holds it."""
        numbers = labels.cpu().numpy()
        boxes = np.zeros((int(numbers.max()) + 1, numbers.ndim, 2), np.int64)
        for i in range(len(boxes)):
            places = np.argwhere(numbers == i)
            boxes[i, :, 0], boxes[i, :, 1] = places.min(0), places.max(0) + 1
        return cls(boxes, tuple(labels.shape), labels.cpu())

    def masks(self, which: Numbers) -> torch.Tensor:
        """Where the labels have the number."""
        return self.labels == torch.from_numpy(which).view(-1, *(1 for _ in self.size))

    def masks_at(self, which: Numbers, place: Place) -> torch.Tensor:
        """As :meth:`masks`, without making the whole."""
        rows = place.rows[:, None] + np.arange(place.height)
        columns = place.columns[:, None] + np.arange(place.width)
        found = self.labels[torch.from_numpy(rows)[:, :, None], torch.from_numpy(columns)[:, None, :]]
        return found == torch.from_numpy(which)[:, None, None]

    def touched(self, change: torch.Tensor) -> npt.NDArray[np.bool_]:
        """By the numbers of the changed positions."""
        found = np.zeros(len(self.boxes), bool)
        found[np.unique(self.labels[change.cpu()].numpy())] = True
        return found
