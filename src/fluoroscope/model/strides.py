"""Where to look in a tensor: every k-th entry in the order of memory, without walking down one column."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

__all__ = ["dense", "stride_of"]


def stride_of(shape: Sequence[int], most: int) -> int:
    """The least stride with which all of a tensor of that shape is passed in at most ``most`` entries, and that has no
    factor in common with the length of an axis; where that would be twice as large, any.
    """
    least = max(1, -(-math.prod(shape) // most))
    for stride in range(least, 2 * least + 4):
        if all(size == 1 or math.gcd(stride, size) == 1 for size in shape):
            return stride
    return least


def dense(tensor: torch.Tensor) -> bool:
    """Whether a tensor's entries fill one piece of memory without gaps, in whatever order of its axes."""
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True
