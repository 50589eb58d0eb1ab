"""Time and memory of a step."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import torch

__all__ = ["Pace", "memory"]

_STATM = Path("/proc/self/statm")


class Pace:
    """Seconds from one step's end to the next, what the recorder itself takes included."""

    def __init__(self) -> None:
        self._last: float | None = None

    def step(self) -> float | None:
        """Seconds since the last step; None at the first."""
        now = time.perf_counter()
        last, self._last = self._last, now
        return None if last is None else now - last


def memory() -> dict[str, float]:
    """Bytes in use: of the process, of each accelerator's allocator now and at most."""
    found: dict[str, float] = {}
    with contextlib.suppress(OSError, IndexError, ValueError):
        found["memory/process"] = int(_STATM.read_bytes().split()[1]) * float(os.sysconf("SC_PAGE_SIZE"))
    if torch.cuda.is_available() and torch.cuda._initialized:
        device = torch.cuda.current_device()
        found["memory/accelerator"] = float(torch.cuda.memory_allocated(device))
        found["memory/accelerator_peak"] = float(torch.cuda.max_memory_allocated(device))
    return found
