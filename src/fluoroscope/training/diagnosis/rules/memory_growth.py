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


@rule
class MemoryGrowth(Rule):
    """Memory in use rises from stretch to stretch over the whole run, after the first fifth in which caches fill."""

    name = "memory-growth"
    title = "Memory grows with every step"
    lasting = True
    source = "PyTorch FAQ, My model reports out of memory"
    least = 40
    advice = (
        "log loss.item() or loss.detach(): a sum of losses keeps every graph alive",
        "look for lists of tensors that grow",
    )
    growth: float = threshold(0.3, "growth over the last four fifths, as a share, from which it is told")
    double: float = threshold(1.0, "growth from which it is a problem")

    def find(self, run: Evidence) -> Iterator[Finding]:
        """A finding for each kind of memory that grows."""
        curves = [c for n in run.history.series if "memory" in words(n) and (c := run.curve(n)) is not None]
        curves = [c.known for c in curves if len(c.known) >= self.least]
        if not curves:
            raise Undecided(f"memory was not recorded {self.least} times")
        for curve in curves:
            yield from self._grows(curve)

    def _grows(self, curve: Curve) -> Iterator[Finding]:
        levels = blocks(curve.values)[0][4:]
        growth = float(levels[-1] / levels[0] - 1) if levels[0] > 0 else 0.0
        if growth < self.growth or (np.diff(levels) > 0).mean() < 0.8:
            return
        yield self.finding(
            "problem" if growth >= self.double else "warning",
            f"{curve.name} rose from {number(levels[0])} to {number(levels[-1])} ({share(growth)} more), in almost "
            f"every stretch of the run.",
            confidence=sureness(growth, self.growth),
            steps=(int(curve.steps[len(curve) // 5]), int(curve.steps[-1])),
            numbers={"growth": growth},
            curves=(curve,),
            reference=float(levels[0]),
        )
