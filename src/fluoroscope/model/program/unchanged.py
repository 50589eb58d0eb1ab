"""Unchanged: proof that a network is still what it was when something was made from it.

Counters of in-place changes are not enough (``.data`` and NumPy write past them), so that every number is compared with
a private copy, exactly. What Python reads besides the tensors is compared by identity: attributes and containers of
modules, hooks, the code that ``forward`` reaches and the globals that it names. Where something of that is of a kind
whose changes can't be seen, :class:`Unseen` is raised, and nothing is kept.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache

import torch
from torch import nn
from torch.nn.modules import module as module_globals

from fluoroscope.model.program.surroundings import Surroundings, Unseen

__all__ = ["Unchanged", "Unseen", "undisturbed"]

GLOBAL_HOOKS = tuple(f"_global_{name}_hooks" for name in ("forward", "forward_pre", "backward", "backward_pre"))


class Unchanged:
    """What a network is at this moment. ``bytes`` is the size of the private copy of its tensors.

    Raises:
        Unseen: it reads something whose changes could not be seen, or has hooks.
    """

    def __init__(self, module: nn.Module) -> None:
        self._around = Surroundings(module)
        tensors = self._around.tensors
        with torch.no_grad():
            self._tensors = [(t, t.detach().clone()) for t in tensors]
        if any(t.stride() != kept.stride() for t, kept in self._tensors):
            raise Unseen("a tensor is a part of another one, with gaps")
        self.mark: str | None = None
        """The network's fingerprint, once somebody asked for it."""
        self.bytes = sum(t.numel() * t.element_size() for t in tensors)

    def holds(self, *, numbers: bool = True) -> bool:
        """Whether everything is as it was, to the bit; without ``numbers`` the tensors are not looked at."""
        return undisturbed() and self._around.same() and (not numbers or self._same_numbers())

    def _same_numbers(self) -> bool:
        return all(_equal(t, kept) for t, kept in self._tensors)


def undisturbed() -> bool:
    """Whether nothing around the network changes what its operations do: modes, autocast, hooks on all modules."""
    return not (
        torch._C._len_torch_function_stack()
        or torch._C._len_torch_dispatch_stack()
        or torch.is_autocast_enabled("cpu")
        or any(getattr(module_globals, name) for name in GLOBAL_HOOKS)
    )


def _equal(tensor: torch.Tensor, kept: torch.Tensor) -> bool:
    """Whether all bits are the same: NaN equals NaN, and 0 is not -0."""
    if tensor.shape != kept.shape or tensor.dtype != kept.dtype or tensor.stride() != kept.stride():
        return False
    size = tensor.numel() * tensor.element_size()
    return size == 0 or _compare()(tensor.data_ptr(), kept.data_ptr(), size) == 0


@cache
def _compare() -> Callable[[int, int, int], int]:
    """C's memcmp: reads both sides at the speed of memory and keeps nothing."""
    library = ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)
    found = library.memcmp
    found.argtypes, found.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t), ctypes.c_int
    return found
