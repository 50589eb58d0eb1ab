"""Time in pairs: A B A B ... in one run, so that whatever else the machine does falls on both alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bench.case import Bar, Row

__all__ = ["Pair", "quartiles", "ratio_row", "time_pair"]

BUDGET = 6.0
MOST_ROUNDS = 60


@dataclass(frozen=True)
class Pair:
    """Seconds of two things measured in alternation, one entry for each round."""

    first: tuple[float, ...]
    second: tuple[float, ...]

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
        return f"{first} {1000 * a:.1f} ms, {second} {1000 * b:.1f} ms, {len(self.first)} rounds"


def time_pair(first: Callable[[], object], second: Callable[[], object], *, rounds: int, warm_up: int = 2) -> Pair:
    """Measure ``first`` and ``second`` in turn, at least ``rounds`` times each, more often where they are short."""
    for _ in range(warm_up):
        first(), second()
    spent: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + BUDGET
    gc.collect()
    while len(spent[0]) < rounds or (time.perf_counter() < end and len(spent[0]) < MOST_ROUNDS and rounds > 3):
        for program, seconds in zip((first, second), spent, strict=True):
            seconds.append(_seconds(program))
    return Pair(tuple(spent[0]), tuple(spent[1]))


def ratio_row(name: str, pair: Pair, bar: Bar | None, first: str, second: str) -> Row:
    """The row of a pair: the median of its ratios, the range of their middle half, and what both sides took."""
    low, high = quartiles(pair.ratios)
    return Row(name, pair.ratio, "×", bar, low, high, pair.summary(first, second))


def _seconds(program: Callable[[], object]) -> float:
    start = time.perf_counter()
    kept = program()  # freeing what it returns is not its work
    _wait()
    spent = time.perf_counter() - start
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
