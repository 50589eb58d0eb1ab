"""Tensors on their way from an accelerator to the host, which nobody waits for until a step later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from fluoroscope.results import Array

__all__ = ["Later", "arrival", "away", "sent"]


@dataclass
class Later:
    """Tensors on their way to the host, and what is to be done with them there.

    From an accelerator they are copied without waiting; what is to be done is done a step later.
    """

    tensors: dict[str, torch.Tensor]
    use: Callable[[dict[str, Array]], None]
    _arrivals: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        devices = {t.device: None for t in self.tensors.values() if away(t)}
        self.waits = bool(devices)
        if self.waits:
            self.tensors = {k: sent(t) if away(t) else t for k, t in self.tensors.items()}
            self._arrivals = [arrival(d) for d in devices]

    def finish(self) -> None:
        """Wait until they have arrived, and use them."""
        for event in self._arrivals:
            event.synchronize()
        self.use({k: t.numpy() for k, t in self.tensors.items()})


def away(tensor: torch.Tensor) -> bool:
    """Whether a tensor is not on the host."""
    return tensor.device.type != "cpu"


def sent(tensor: torch.Tensor) -> torch.Tensor:
    """Room on the host into which a tensor is being copied; its values are there after :func:`arrival`."""
    if tensor.device.type == "mps":
        tensor = tensor.float() if tensor.dtype == torch.float64 else tensor
        return tensor.to("cpu")
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)


def arrival(device: torch.device) -> Any:
    """Something to ``synchronize()`` with, after which all that was sent from ``device`` so far has arrived."""
    if device.type != "cuda":
        return torch.accelerator
    with torch.cuda.device(device):
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
    return event
