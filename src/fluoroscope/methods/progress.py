"""Progress: one bar for whoever listens. The library is silent unless a listener was set (the command line sets
one).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

__all__ = ["Listener", "Progress", "listening", "progress"]


class Listener(Protocol):
    """Told how far a task is: ``done`` of ``total``."""

    def __call__(self, title: str, done: float, total: float) -> None:
        """Take note of it."""


_LISTENER: ContextVar[Listener | None] = ContextVar("fluoroscope_progress", default=None)


class Progress:
    """A counter that tells the listener, if there is one."""

    def __init__(self, title: str, total: float) -> None:
        self.title, self.total, self.done = title, total, 0.0

    def advance(self, amount: float = 1) -> None:
        """Count ``amount`` more as done."""
        self.done += amount
        listener = _LISTENER.get()
        if listener is not None:
            listener(self.title, self.done, self.total)


@contextmanager
def progress(title: str, total: float) -> Iterator[Progress]:
    """A task of ``total`` steps; it is told as done when the block ends without an error."""
    bar = Progress(title, total)
    bar.advance(0)
    yield bar
    if bar.done < total:
        bar.advance(total - bar.done)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send the progress of everything in this block to ``listener``."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)
