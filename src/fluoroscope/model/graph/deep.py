"""Room for deep recursion: a forward that nests thousands of modules needs more stack than a thread usually has."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["with_room"]

T = TypeVar("T")
STACK = 1 << 30  # bytes; only what is used is taken from memory
LEVELS = 400_000


def with_room(work: Callable[[], T]) -> T:
    """``work()`` in a thread with a large stack and a high recursion limit. Raises what it raises."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.extend((True, work()))
        except BaseException as error:  # noqa: BLE001 (it is raised again below, in the thread that asked)
            outcome.extend((False, error))

    limit, size = sys.getrecursionlimit(), threading.stack_size(STACK)
    sys.setrecursionlimit(max(limit, LEVELS))
    try:
        thread = threading.Thread(target=run, name="fluoroscope-deep")
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
        sys.setrecursionlimit(limit)
    done, answer = outcome
    if not done:
        raise answer
    return answer  # type: ignore[no-any-return]
