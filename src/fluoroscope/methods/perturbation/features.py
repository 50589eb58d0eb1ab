"""Features: which parts of an example are kept or replaced together, and how numbers for them become a map again.

A feature is a cell of a grid or a superpixel (images), a window of time (series), a column (tables) or a token (text).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fluoroscope import axes as ax
from fluoroscope.errors import InputError, OptionError
from fluoroscope.methods.perturbation.superpixels import superpixels
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.positions import usual_axes
from fluoroscope.results import Array

__all__ = ["Features", "Layout", "cells", "features_of", "grid_shape", "groups_of", "layout", "without_padding"]


@dataclass(frozen=True)
class Layout:
    """The positions of an input's examples: axes, size, and the axis of channels in (N, ...), if there is one."""

    axes: tuple[str, ...]
    size: tuple[int, ...]
    channel: int | None

    @property
    def spatial(self) -> bool:
        """Whether positions have neighbours (images, volumes, series), unlike columns and tokens."""
        return all(a in ax.SPACE for a in self.axes)

    def widened(self, masks: torch.Tensor) -> torch.Tensor:
        """Masks (B, *size) so that they fit inputs (B, ...) with channels."""
        return masks if self.channel is None else masks.unsqueeze(self.channel)


@dataclass(frozen=True)
class Features:
    """The features of one example: ``labels`` (*size) has the number of the feature that each position belongs to, or
    ``count`` where a position belongs to none and is always kept.

    ``grid`` is the shape of the grid whose cells they are, None for superpixels, columns, tokens and the user's own;
    ``part`` says that it lies on a part of the positions only.
    """

    labels: torch.Tensor
    count: int
    grid: tuple[int, ...] | None = None
    part: bool = False

    def painted(self, values: Array) -> Array:
        """Values (..., features) as a map: at the grid's resolution, else each position with its feature's value."""
        if self.grid is not None and not self.part:
            return values.reshape(*values.shape[:-1], *self.grid)
        nothing = np.zeros_like(values[..., :1])
        return np.concatenate([values, nothing], -1)[..., self.labels.cpu().numpy()]

    def spread(self, masks: torch.Tensor) -> torch.Tensor:
        """Masks (B, features) on the positions: (B, *size)."""
        kept = torch.cat([masks, torch.ones_like(masks[:, :1])], 1)
        return kept[:, self.labels.to(masks.device)]

    def means(self, example: torch.Tensor, layout: Layout) -> torch.Tensor:
        """One example (1, ...) with every position replaced by the mean of its feature, each channel by itself."""
        rows = example if layout.channel is None else example.movedim(layout.channel, 1)
        flat = rows.reshape(-1, self.labels.numel())
        labels = self.labels.reshape(1, -1).expand(len(flat), -1)
        sums = flat.new_zeros(len(flat), self.count).scatter_add_(1, labels, flat)
        means = (sums / self.labels.flatten().bincount(minlength=self.count)).gather(1, labels).reshape(rows.shape)
        return means if layout.channel is None else means.movedim(1, layout.channel)


def layout(tensor: torch.Tensor, axes: tuple[str, ...] = ()) -> Layout:
    """The positions of an input (N, ...) with these axes, by default those its shape says. Raises InputError where an
    example has none.
    """
    axes = axes or usual_axes(tensor)
    kept = [i for i, a in enumerate(axes) if a not in (ax.N, ax.C)]
    size = tuple(tensor.shape[i] for i in kept)
    if not size or 0 in size:
        raise InputError(
            "an example has nothing that could be left out",
            got=f"an input of shape {tuple(tensor.shape)}",
            expected="images (N, C, H, W), series (N, C, T) or (N, T, C), columns (N, D), tokens (N, L)",
        )
    return Layout(tuple(axes[i] for i in kept), size, axes.index(ax.C) if ax.C in axes else None)


def features_of(inputs: torch.Tensor, place: Layout, segments: Any, count: int, start: int) -> list[Features]:
    """The features of each example of a batch that starts at example ``start``.

    ``segments`` is ``"grid"``, ``"superpixels"``, or whole numbers shaped like the positions, for all examples or for
    each of them. Columns and tokens are features one by one unless numbers group them. Raises OptionError.
    """
    if not isinstance(segments, str):
        return _given(segments, inputs, place, start)
    if segments not in ("grid", "superpixels"):
        raise OptionError(
            "option 'segments' has no such choice",
            got=segments,
            expected="'grid', 'superpixels', or an array of whole numbers shaped like the positions",
        )
    if not place.spatial:
        return [cells(place.size, place.size, inputs.device, gridded=False)] * len(inputs)
    if segments == "grid":
        return [cells(place.size, grid_shape(place.size, count), inputs.device)] * len(inputs)
    if place.axes != (ax.H, ax.W):
        raise OptionError(
            "superpixels are for images", got=f"axes {', '.join(place.axes)}", remedy="choose segments='grid'"
        )
    pictures = inputs if place.channel is None else inputs.movedim(place.channel, -1)
    found = [superpixels(p.detach().cpu().double().numpy(), count) for p in pictures]
    return [Features(torch.as_tensor(f, device=inputs.device), int(f.max()) + 1) for f in found]


def groups_of(found: list[Features], place: Layout) -> Array | None:
    """(N, D) the feature of each column of a table; None where they are no columns, or each is one by itself."""
    if place.axes != (ax.D,):
        return None
    labels = np.stack([f.labels.cpu().numpy() for f in found])
    return None if (labels == np.arange(labels.shape[1])).all() else labels


def without_padding(found: list[Features], inputs: Inputs) -> list[Features]:
    """The features of padded texts and series: padding that the network does not see belongs to none, so that an
    example has the features that it has alone; other padding is one.
    """
    real = inputs.real
    if real is None or found[0].labels.shape != real.shape[1:]:
        return found
    made = []
    for features, kept in zip(found, real.to(found[0].labels.device), strict=True):
        if features.grid is None:
            numbers, labels = torch.unique(features.labels[kept], return_inverse=True)
            own = Features(labels, len(numbers))
        else:  # the grid that the example has alone
            length = int(kept.sum())
            own = cells((length,), (min(features.grid[0], length),), kept.device)
        whole = torch.full_like(features.labels, own.count)
        whole[kept] = own.labels
        one_more = inputs.unseen is None and not bool(kept.all())
        made.append(Features(whole, own.count + one_more, own.grid, part=True))
    return made


def grid_shape(size: Sequence[int], count: int) -> tuple[int, ...]:
    """A grid of about ``count`` cells of equal sides, at most one for each position."""
    side = (count / np.prod(size)) ** (1 / len(size))
    return tuple(int(min(max(round(length * side), 1), length)) for length in size)


def cells(size: Sequence[int], grid: Sequence[int], device: Any, *, gridded: bool = True) -> Features:
    """Positions cut into a grid, as evenly as whole positions allow."""
    labels = torch.zeros((), dtype=torch.int64, device=device)
    for length, parts in zip(size, grid, strict=True):
        labels = labels[..., None] * parts + torch.arange(length, device=device) * parts // length
    return Features(labels, int(np.prod(grid)), tuple(grid) if gridded else None)


def _given(segments: Any, inputs: torch.Tensor, place: Layout, start: int) -> list[Features]:
    numbers = np.asarray(segments.detach().cpu() if isinstance(segments, torch.Tensor) else segments)
    each = numbers.ndim == len(place.size) + 1 and len(numbers) >= start + len(inputs)
    if numbers.dtype.kind not in "iu" or numbers.shape[each:] != place.size:
        raise OptionError(
            "option 'segments' does not fit the input",
            got=f"shape {numbers.shape}, {numbers.dtype}",
            expected=f"whole numbers {place.size}, for each example or for all",
        )
    rows = numbers[start : start + len(inputs)] if each else [numbers]
    made = []
    for row in rows:
        found, labels = np.unique(row, return_inverse=True)
        made.append(Features(torch.as_tensor(labels.reshape(place.size), device=inputs.device), len(found)))
    return made if each else made * len(inputs)
