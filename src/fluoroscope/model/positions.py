"""Positions: reading a layer's output as channels at places, whatever its layout."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import nn

from fluoroscope import axes as ax

__all__ = ["Layout", "channels_of", "layout_of", "size_over", "usual_axes"]

MAX_PREFIX = 16


@dataclass(frozen=True)
class Layout:
    """How a layer's output is laid out.

    ``axes`` are the tensor's own axes. ``grid`` is the size over the spatial axes; ``prefix`` counts the class and
    register tokens before the patches. ``tokens`` says that positions are those of the input (N, L), one for each.
    ``maps`` says whether :meth:`to_maps` applies.
    """

    axes: tuple[str, ...]
    grid: tuple[int, ...] = ()
    prefix: int = 0
    tokens: bool = False

    @property
    def maps(self) -> bool:
        """Whether there is more than one position."""
        return math.prod(self.grid) > 1 if self.grid else False

    @property
    def spatial(self) -> tuple[str, ...]:
        """Names of the axes of positions of :meth:`to_maps`."""
        return (ax.L,) if self.tokens else ax.spatial(len(self.grid))

    @property
    def channel_axis(self) -> int:
        """Which axis of the tensor is channels or features."""
        return self.axes.index(ax.C) if ax.C in self.axes else len(self.axes) - 1

    def to_maps(self, tensor: torch.Tensor) -> torch.Tensor:
        """(N, C, *grid): channels second, tokens put back on their grid, class and register tokens left out."""
        if ax.L in self.axes:
            channels_first = tensor[:, self.prefix :].transpose(1, 2)
            return channels_first.reshape(*channels_first.shape[:2], *self.grid)
        return tensor.movedim(-1, 1) if self.axes[-1] == ax.C else tensor

    @property
    def kind(self) -> str:
        """What can be done with it: ``maps``, ``tokens`` or ``vectors``."""
        return (
            ("tokens" if ax.L in self.axes else "maps") if self.maps else ("tokens" if ax.L in self.axes else "vectors")
        )


def usual_axes(tensor: torch.Tensor) -> tuple[str, ...]:
    """The axes of an input by its shape: images (N, C, H, W) or (N, H, W, C), series (N, C, T), volumes, rows (N, D),
    token numbers (N, L).
    """
    shape = tuple(tensor.shape)
    if _channels_last(shape):
        return ax.N, ax.H, ax.W, ax.C
    if len(shape) >= 3:
        return ax.N, ax.C, *ax.spatial(len(shape) - 2)
    return (ax.N, (ax.D if tensor.is_floating_point() else ax.L))[: len(shape)]


def _channels_last(shape: tuple[int, ...]) -> bool:
    """Whether an input is a picture (N, H, W, C), by the numbers of channels that pictures have."""
    return len(shape) == 4 and shape[-1] in (1, 3, 4) and shape[1] not in (1, 3, 4)


def size_over(axes: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The size over the axes in space and time."""
    return tuple(s for a, s in zip(axes, shape, strict=True) if a in ax.SPACE)


def layout_of(
    shape: tuple[int, ...],
    input_shape: tuple[int, ...],
    axes: tuple[str, ...] = (),
    channels: int | None = None,
    grids: Collection[tuple[int, ...]] = (),
) -> Layout | None:
    """The layout of a layer's output, by its shape and the input's (both with the batch axis); None for no layout.
    ``axes`` are those of the input, ``channels`` the axis of the output's channels where its kind of layer says it,
    ``grids`` those of the layers before it.

    Images (N, C, H, W): convolutions and their like have channels first; of other layers that place of the two wins
    whose height to width fits the input's, channels first when both fit. Tokens (N, L, D): the smallest number of
    leading tokens that leaves a grid with the input's proportions, one of ``grids`` before any other: 16 patches, a
    class token and four registers are 4 x 4 positions, though 4 x 5 would do. Series: three axes when the input has
    three, (N, C, T), or for an input (N, T, C) the axis whose size is nearer to T has the times. For an input (N, L)
    the axis whose size is nearer to L has the positions, so that convolutions over the tokens of a text are read as
    such.
    """
    rank = len(shape)
    if rank == 2:
        return Layout((ax.N, ax.D))
    if rank == 3:
        return _three(shape, input_shape, axes, channels, grids)
    if rank == 4:
        return _four(shape, _image_size(input_shape, axes), channels)
    if rank == 5:
        return Layout((ax.N, ax.C, ax.Z, ax.H, ax.W), tuple(shape[2:]))
    return None


def _image_size(input_shape: tuple[int, ...], axes: tuple[str, ...]) -> tuple[int, int] | None:
    """Height and width of an input (N, C, H, W) or (N, H, W, C), by its ``axes`` where they are known."""
    if len(input_shape) != 4:
        return None
    if len(axes) == 4:
        return input_shape[axes.index(ax.H)], input_shape[axes.index(ax.W)]
    if _channels_last(input_shape):
        return input_shape[1], input_shape[2]
    return input_shape[2], input_shape[3]


def _misfit(height: int, width: int, size: tuple[int, int]) -> float:
    return abs(math.log(max(height, 1) / max(width, 1)) - math.log(size[0] / size[1]))


def _four(shape: tuple[int, ...], given: tuple[int, int] | None, channels: int | None) -> Layout:
    size = given or (1, 1)
    if channels == 1:
        return Layout((ax.N, ax.C, ax.H, ax.W), (shape[2], shape[3]))
    first, last = _misfit(shape[2], shape[3], size), _misfit(shape[1], shape[2], size)
    if last < first - 1e-9:
        return Layout((ax.N, ax.H, ax.W, ax.C), (shape[1], shape[2]))
    return Layout((ax.N, ax.C, ax.H, ax.W), (shape[2], shape[3]))


def _three(
    shape: tuple[int, ...],
    input_shape: tuple[int, ...],
    axes: tuple[str, ...],
    channels: int | None,
    grids: Collection[tuple[int, ...]],
) -> Layout:
    size = _image_size(input_shape, axes)
    if size is not None:
        found = [(prefix, _grid(shape[1] - prefix, size)) for prefix in range(min(MAX_PREFIX, shape[1]))]
        fitting = [(grid, prefix) for prefix, grid in found if grid is not None]
        if not fitting:
            return Layout((ax.N, ax.L, ax.D))
        grid, prefix = next((f for f in fitting if f[0] in grids), fitting[0])
        return Layout((ax.N, ax.L, ax.D), grid, prefix)
    series, length = len(input_shape) == 3, input_shape[1] if len(input_shape) in (2, 3) else 0
    second = series and axes != (ax.N, ax.T, ax.C)
    nearer = bool(length) and _far(shape[2], length) < _far(shape[1], length)
    if channels == 1 or (channels is None and (second or nearer)):
        return Layout((ax.N, ax.C, ax.T), (shape[2],), tokens=not series and shape[2] == length)
    if series:
        return Layout((ax.N, ax.T, ax.C), (shape[1],))
    return Layout((ax.N, ax.L, ax.D), (shape[1],), tokens=shape[1] == length)


SECOND = (
    *(nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.MaxPool2d, nn.AvgPool2d),
    *(nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d),
    *(nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, nn.InstanceNorm1d, nn.GroupNorm, nn.MaxPool1d, nn.AvgPool1d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveAvgPool1d, nn.LPPool1d),
)
LAST = (nn.Linear, nn.LayerNorm, nn.Embedding)


def channels_of(module: nn.Module) -> int | None:
    """The axis of the channels of what this kind of layer makes of (N, ., .) or a picture, where it says it."""
    if isinstance(module, SECOND):
        return 1
    first = bool(getattr(module, "batch_first", False))
    recurrent = isinstance(module, (nn.RNNBase, nn.MultiheadAttention)) and first
    return 2 if recurrent or isinstance(module, LAST) else None


def _far(size: int, length: int) -> float:
    return abs(math.log(max(size, 1) / length))


def _grid(count: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """(rows, columns) with ``count`` cells and the proportions of an image of ``size``, within one cell's rounding."""
    if count < 4:
        return None
    rows = round(math.sqrt(count * size[0] / size[1]))
    if rows < 1 or count % rows:
        return None
    columns = count // rows
    cell = math.sqrt(size[0] * size[1] / count)
    fits = abs(rows - size[0] / cell) < 1 and abs(columns - size[1] / cell) < 1
    return (rows, columns) if fits and columns > 1 else None
