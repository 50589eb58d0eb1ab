"""Memory that grows with every step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.training.diagnosis.evidence import Curve, Evidence
from fluoroscope.training.diagnosis.robust import blocks, sureness
from fluoroscope.training.diagnosis.rule import Rule, Undecided, rule, threshold
from fluoroscope.training.diagnosis.series_names import words
from fluoroscope.training.diagnosis.wording import number, share

__all__ = ["MemoryGrowth"]


LEVEL = 1.01  # times the lowest level is still that level
FIRST = 0.2  # of the run, in which caches fill, where the length of an epoch is not known


@rule
class MemoryGrowth(Rule):
    """Memory in use rises from stretch to stretch to the very end, at a pace that does not slow down.

    Left out is the first epoch, in which caches fill and files are mapped, or the first fifth where the length of an
    epoch is not known, and what of the first half stays level: there, memory that was freed before is used up. Peaks,
    which never fall by their nature, are not looked at.
    """

    name = "memory-growth"
    title = "Memory grows with every step"
    lasting = True
    source = "PyTorch FAQ, My model reports out of memory"
    least = 12
    advice = (
        "log loss.item() or loss.detach(): a sum of losses keeps every graph alive",
        "look for lists of tensors that grow",
    )
    growth: float = threshold(0.1, "growth over the rest of the run, as a share, from which it is told")
    double: float = threshold(1.0, "growth from which it is a problem")
    pace: float = threshold(0.25, "growth in the second half of that over the first, below which it slows down")

    def find(self, run: Evidence) -> Iterator[Finding]:
        """A finding for each kind of memory that grows."""
        names = [n for n in run.history.series if "memory" in words(n) and not words(n) & {"peak", "max"}]
        curves = [c.known for n in names if (c := run.curve(n)) is not None and len(c.known) >= self.least]
        if not curves:
            raise Undecided(f"memory was not recorded {self.least} times")
        for curve in curves:
            yield from self._grows(curve, run.facts.steps_per_epoch)

    def _grows(self, curve: Curve, epoch: int | None) -> Iterator[Finding]:
        begin, end = float(curve.steps[0]), float(curve.steps[-1])
        rest = curve.part(begin + (epoch if epoch and 2 * epoch < end - begin else FIRST * (end - begin)), np.inf)
        levels = blocks(rest.values, 10)[0]
        if len(levels) < 6 or not levels[0] > 0:
            return
        level = int(np.flatnonzero(levels[: len(levels) // 2] <= LEVEL * levels.min())[-1:].sum())
        rest = rest.part(rest.steps[level * len(rest) // len(levels)], np.inf)
        levels = levels[level:]
        growth = float(levels[-1] / levels[0] - 1)
        if growth < self.growth or (np.diff(levels) > 0).mean() < 0.8:
            return
        middle = float(levels[len(levels) // 2])
        if levels[-1] - middle < self.pace * (middle - levels[0]):
            return
        between = (1 - 1 / len(levels)) * float(rest.steps[-1] - rest.steps[0])  # the middles of first and last stretch
        per_step = float(levels[-1] - levels[0]) / between
        yield self.finding(
            "problem" if growth >= self.double else "warning",
            f"{curve.name} rose from {number(levels[0])} to {number(levels[-1])} bytes ({share(growth)} more), in "
            f"almost every stretch of the run and at an even pace: {number(per_step)} bytes with each step.",
            confidence=sureness(growth, self.growth),
            steps=(int(rest.steps[0]), int(rest.steps[-1])),
            numbers={"growth": growth, "per step": per_step},
            curves=(curve,),
            reference=float(levels[0]),
        )
