"""Memory layout: on a CPU convolutions are about a third faster when channels lie next to each other in memory."""

from __future__ import annotations

from weakref import WeakSet

import torch
from torch import nn

from fluoroscope.errors import InputError
from fluoroscope.model.inputs import Inputs

__all__ = ["channels_last", "refused"]

FEWEST_PIXELS = 64 * 64  # below, the conversion costs what it saves
_REFUSING: WeakSet[nn.Module] = WeakSet()


def channels_last(module: nn.Module, inputs: Inputs) -> Inputs | None:
    """The same inputs with channels last in memory, values and shapes as before; None where it would not pay.

    The network's answers differ by rounding only. It pays on a CPU, for pictures of some size and networks that
    convolve them.
    """
    main = inputs.main
    if main.ndim != 4 or main.dtype != torch.float32 or main.device.type != "cpu" or module in _REFUSING:
        return None
    if main.shape[2] * main.shape[3] < FEWEST_PIXELS or not any(isinstance(m, nn.Conv2d) for m in module.modules()):
        return None
    return inputs.with_main(main.contiguous(memory_format=torch.channels_last))


def refused(module: nn.Module, error: InputError) -> bool:
    """Whether a network failed only because of the layout (``view`` wants rows); if so, it is not asked again."""
    if not isinstance(error.__cause__, RuntimeError) or "view size is not compatible" not in str(error.__cause__):
        return False
    _REFUSING.add(module)
    return True
