"""FLOPs of exported ATen operations by the shapes of their tensors: matrix products, convolutions, attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

__all__ = ["flops_of"]

Shapes = Sequence[tuple[int, ...]]


def flops_of(name: str, inputs: Shapes, outputs: Shapes) -> int:
    """2 x multiply-adds of one operation (``linear``, ``conv2d``, ...); 0 for kinds that are not counted."""
    rule = RULES.get(name)
    try:
        return rule(inputs, outputs[0]) if rule and outputs else 0
    except IndexError:  # a shape that is not known has no axes
        return 0


def _product(place: int) -> Callable[[Shapes, tuple[int, ...]], int]:
    """A product whose left factor is input ``place``: every output sums over its last axis."""
    return lambda inputs, out: 2 * math.prod(out) * inputs[place][-1]


def _convolution(inputs: Shapes, out: tuple[int, ...]) -> int:
    return 2 * math.prod(out) * math.prod(inputs[1][1:])


def _transposed(inputs: Shapes, out: tuple[int, ...]) -> int:
    return 2 * math.prod(inputs[0]) * math.prod(inputs[1][1:])


def _attention(inputs: Shapes, out: tuple[int, ...]) -> int:
    """Two matrix products for every example and head."""
    query, key, value = inputs[:3]
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


RULES: dict[str, Callable[[Shapes, tuple[int, ...]], int]] = {
    "linear": _product(0),
    "matmul": _product(0),
    "mm": _product(0),
    "bmm": _product(0),
    "addmm": _product(1),
    "baddbmm": _product(1),
    "mv": lambda inputs, out: 2 * math.prod(inputs[0]),
    "dot": lambda inputs, out: 2 * math.prod(inputs[0]),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution", "_convolution"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed),
    "scaled_dot_product_attention": _attention,
}
