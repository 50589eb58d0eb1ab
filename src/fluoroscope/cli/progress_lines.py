"""Progress as lines, for a log: now and then how far a task is and how long it still takes."""

from __future__ import annotations

import time
from collections.abc import Callable

from fluoroscope.methods.progress import Listener

__all__ = ["lines"]

EVERY = 10.0  # seconds between two lines


def lines(
    tell: Callable[[str], None], *, every: float = EVERY, clock: Callable[[], float] = time.monotonic
) -> Listener:
    """A listener that gives ``tell`` a line at most every ``every`` seconds, none for what is done before."""
    begun: dict[str, tuple[float, float]] = {}  # when, and how much was done then
    told = clock()

    def listen(title: str, done: float, total: float) -> None:
        nonlocal told
        now = clock()
        if done == 0 or title not in begun:
            begun[title] = (now, done)
        start, before = begun[title]
        if done >= total:
            del begun[title]
        elif now - told >= every:
            told = now
            left = (
                f", about {_duration((now - start) * (total - done) / (done - before))} left" if done > before else ""
            )
            tell(f"{title}: {done:,.0f} of {total:,.0f}{left}")

    return listen


def _duration(seconds: float) -> str:
    """Seconds below two minutes, minutes above."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
