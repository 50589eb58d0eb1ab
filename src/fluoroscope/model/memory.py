"""Tensors as they lie in memory: whether without gaps, as bytes, and where to look at every k-th entry without walking
down one column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from fluoroscope.results import Array

__all__ = ["dense", "memory_of", "stride_of"]


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


class _Memory:
    """What NumPy asks of memory that it may look at. ``Tensor.numpy`` would forbid the tensor to be resized."""

    __slots__ = ("__array_interface__",)

    def __init__(self, place: int, count: int, kind: str) -> None:
        self.__array_interface__ = {"shape": (count,), "typestr": kind, "data": (place, True), "version": 3}


def memory_of(tensor: torch.Tensor, kind: str = "|u1") -> Array:
    """What a dense tensor on the CPU holds, in the order of memory, as one axis of NumPy's ``kind`` of number: bytes,
    ``"<f4"``. Nothing is copied; whoever looks has to keep the tensor.
    """
    size = tensor.numel() * tensor.element_size()
    return np.asarray(_Memory(tensor.data_ptr(), size // np.dtype(kind).itemsize, kind))
