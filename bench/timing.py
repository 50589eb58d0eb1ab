"""Time in pairs: A B A B ... in one run, so that whatever else the machine does falls on both alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bench.case import Bar, Row

__all__ = ["Pair", "quartiles", "ratio_row", "time_once", "time_pair"]

BUDGET = 6.0
MOST_ROUNDS = 60


@dataclass(frozen=True)
class Pair:
    """Seconds of two things measured in alternation, one entry for each round; and of the processor, where counted."""

    first: tuple[float, ...]
    second: tuple[float, ...]
    processor: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())

    @property
    def ratios(self) -> list[float]:
        """first / second of each round."""
        return [a / b for a, b in zip(self.first, self.second, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios)

    def summary(self, first: str, second: str) -> str:
        """Both medians and the number of rounds, in words."""
        a, b = statistics.median(self.first), statistics.median(self.second)
        text = f"{first} {1000 * a:.1f} ms, {second} {1000 * b:.1f} ms, {len(self.first)} rounds"
        if not all(all(side) for side in self.processor) or not self.processor[0]:
            return text
        work = statistics.median(a / b for a, b in zip(*self.processor, strict=True))
        return f"{text}; in processor time {work:.2f} ×"


def time_once(slow: Callable[[], object], fast: Callable[[], object]) -> Pair:
    """As :func:`time_pair` for things that take many seconds: ``fast``, ``slow``, ``fast``; each run of ``fast`` is a
    round, held against the one of ``slow``.
    """
    before, long, after = _spent(fast), _spent(slow), _spent(fast)
    pairs = list(zip((long, long), (before, after), strict=True))
    wall = tuple(a[0] for a, _ in pairs), tuple(b[0] for _, b in pairs)
    return Pair(*wall, (tuple(a[1] for a, _ in pairs), tuple(b[1] for _, b in pairs)))


def time_pair(first: Callable[[], object], second: Callable[[], object], *, rounds: int, warm_up: int = 2) -> Pair:
    """Measure ``first`` and ``second`` in turn, at least ``rounds`` times each, more often where they are short."""
    for _ in range(warm_up):
        first(), second()
    spent: tuple[list[float], list[float]] = ([], [])
    work: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + BUDGET
    gc.collect()
    while len(spent[0]) < rounds or (time.perf_counter() < end and len(spent[0]) < MOST_ROUNDS and rounds > 3):
        for program, seconds, processor in zip((first, second), spent, work, strict=True):
            wall, own = _spent(program)
            seconds.append(wall)
            processor.append(own)
    return Pair(tuple(spent[0]), tuple(spent[1]), (tuple(work[0]), tuple(work[1])))


def ratio_row(name: str, pair: Pair, bar: Bar | None, first: str, second: str) -> Row:
    """The row of a pair: the median of its ratios, the range of their middle half, and what both sides took."""
    low, high = quartiles(pair.ratios)
    return Row(name, pair.ratio, "×", bar, low, high, pair.summary(first, second))


def _spent(program: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of the processor, all threads together."""
    start, work = time.perf_counter(), time.process_time()
    kept = program()  # freeing what it returns is not its work
    _wait()
    spent = time.perf_counter() - start, time.process_time() - work
    del kept
    return spent


def _wait() -> None:
    """Accelerators work on by themselves; what was asked of them has to be done before the clock is read."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def quartiles(values: list[float]) -> tuple[float, float]:
    """Where the middle half of the values lies."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high
