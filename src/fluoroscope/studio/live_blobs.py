"""Blobs of pages that change: a number stays with its data, and data that no page shows any more are forgotten."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable

from fluoroscope.render.blobs import Blobs

__all__ = ["LiveBlobs"]

GENERATIONS = 3
_NUMBERS = itertools.count()


class LiveBlobs(Blobs):
    """The blocks of one page over time. A browser that shows an older state can still ask for its blocks: those of the
    last three documents are kept. Numbers are never used twice, by no page. Made for several threads.
    """

    apart = True

    def __init__(self) -> None:
        super().__init__()
        self._data: dict[int, bytes | Callable[[], bytes]] = {}
        self._used: set[int] = set()
        self._before: deque[set[int]] = deque(maxlen=GENERATIONS - 1)
        self.lock = threading.Lock()

    def begin(self) -> None:
        """A new document starts; what only the oldest one used is forgotten."""
        self._before.append(self._used)
        self._used = set()
        kept = set[int]().union(*self._before)
        self._data = {number: data for number, data in self._data.items() if number in kept}
        self._numbers = {key: number for key, number in self._numbers.items() if number in kept}

    def get(self, number: int) -> bytes | None:
        """The bytes of a block, gzip for arrays; None where it is forgotten. Pictures are read now."""
        found = self._data.get(number)
        return found() or None if callable(found) else found

    def _add(self, data: bytes) -> int:
        number = super()._add(data)
        self._used.add(number)
        return number

    def _later(self, name: str, read: Callable[[], bytes]) -> int:
        key = name.encode("utf-8", "surrogatepass")
        if key not in self._numbers:
            self._numbers[key] = self._keep(read)
        self._used.add(self._numbers[key])
        return self._numbers[key]

    def _keep(self, data: bytes | Callable[[], bytes]) -> int:
        number = next(_NUMBERS)
        self._data[number] = data
        return number
