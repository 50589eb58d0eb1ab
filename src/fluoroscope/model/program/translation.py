"""Translation: single operations that become steps of known reach: pooling, padding, leaving out positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from fluoroscope.model.program.operations import Operation, Ref
from fluoroscope.model.program.reach import Slide
from fluoroscope.model.program.steps import Elementwise, Padded, Sliding, Step, Subsampled

__all__ = ["TRANSLATIONS", "Unsupported"]

aten = torch.ops.aten
Size = tuple[int, ...]


class Unsupported(Exception):
    """Why a record can't become a program; whole forwards are right for every network."""


def pooling(operation: Operation, before: Size, size: Size) -> Step:
    """Largest or mean value of a window."""
    x, kernel = operation.args[:2]
    rest = list(operation.args[2:])
    largest = operation.function is aten.max_pool2d_with_indices.default
    usual: list[Any] = [kernel, [0, 0], [1, 1], False] if largest else [kernel, [0, 0], False, True, None]
    rest += usual[len(rest) :]
    stride, padding = _two(rest[0] or kernel), _two(rest[1])
    dilation, ceil = (_two(rest[2]), rest[3]) if largest else ((1, 1), rest[2])
    if operation.kwargs or ceil or (not largest and any(padding) and (not rest[3] or rest[4] is not None)):
        raise Unsupported("a pooling whose windows are of several sizes")
    slides = tuple(map(Slide, _two(kernel), stride, padding, dilation))

    def apply(y: torch.Tensor, padding: Any, stride: Any, added: Any) -> torch.Tensor:
        if largest:
            return torch.nn.functional.max_pool2d(y, _two(kernel), stride, padding, dilation)
        return torch.nn.functional.avg_pool2d(y, _two(kernel), stride, padding, divisor_override=rest[4])

    fill = float("-inf") if largest else 0.0
    return Sliding((x.index,), operation.out, size, (slides[0], slides[1]), apply, fill)


def _two(value: Any) -> tuple[int, int]:
    pair = [value] if isinstance(value, int) else list(value)
    return (pair[0], pair[-1])


def padding(operation: Operation, before: Size, size: Size) -> Step:
    """Numbers of one value around a map, and channels of it before and behind."""
    x, widths = operation.args[:2]
    fill = operation.args[2] if len(operation.args) > 2 else 0
    if operation.kwargs or len(before) != 3 or not 2 <= len(widths) <= 6 or min(widths) < 0 or isinstance(fill, Ref):
        raise Unsupported("a padding that takes away, or pads more than maps")
    left, right, top, bottom, front, back = [*widths, 0, 0, 0, 0][:6]
    return Padded((x.index,), operation.out, size, (left, right, top, bottom), (front, back), float(fill))


def slicing(operation: Operation, before: Size, size: Size) -> Step:
    """Every so manieth position along height or width; a slice that keeps everything."""
    given = list(operation.args)
    x, axis, start, stop, step = given + [0, None, None, 1][len(given) - 1 :]
    if before == size:
        return Elementwise((x.index,), operation.out, size, Operation(lambda y: y, (x,), {}, operation.out))
    if operation.kwargs or axis not in (2, 3) or start or (stop is not None and stop < before[axis - 1]):
        raise Unsupported("a slice that takes a part of a map")
    steps = (step, 1) if axis == 2 else (1, step)
    return Subsampled((x.index,), operation.out, size, steps)


TRANSLATIONS: dict[Any, Callable[[Operation, Size, Size], Step]] = {
    aten.max_pool2d_with_indices.default: pooling,
    aten.avg_pool2d.default: pooling,
    aten.constant_pad_nd.default: padding,
    aten.slice.Tensor: slicing,
}
"""(operation, size before, size after) -> step. Raises Unsupported."""
