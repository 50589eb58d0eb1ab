"""Which process writes a run, and whether it still lives: how a run that broke off is told from one that runs."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

__all__ = ["alive", "this_process"]

SILENCE = 15 * 60.0
"""Seconds without a record after which a writer on another machine is taken for dead."""


def this_process() -> dict[str, Any]:
    """Machine, number and time of start of this process."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "born": _born(os.getpid()), "boot": _boot()}


def alive(process: dict[str, Any], last_written: float) -> bool:
    """Whether ``process`` still runs; on another machine, whether it wrote anything lately."""
    pid = process.get("pid")
    if process.get("host") != socket.gethostname() or not isinstance(pid, int):
        return time.time() - last_written < SILENCE
    if process.get("boot") != _boot():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return process.get("born") == _born(pid)


def _born(pid: int) -> str | None:
    """Time of start as the system counts it, None where it does not tell; a number alone may have a new owner."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _boot() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
