"""Tensors as they lie in memory: whether without gaps, all of it, and where to look at every k-th entry without walking
down one column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from fluoroscope.results import Array

__all__ = ["dense", "memory_of", "out_of_memory", "stride_of"]


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    told = ("not enough memory", "out of memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(words in str(error) for words in told)


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

    def __init__(self, tensor: torch.Tensor) -> None:
        place = (tensor.data_ptr(), True)
        self.__array_interface__ = {"shape": (tensor.numel(),), "typestr": "<f4", "data": place, "version": 3}


def memory_of(tensor: torch.Tensor) -> Array:
    """The entries of a dense float32 tensor on the CPU in the order of memory. Nothing is copied; whoever looks has to
    keep the tensor.
    """
    return np.asarray(_Memory(tensor))
