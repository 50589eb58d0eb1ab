"""A schedule that ended: the learning rate is as good as zero for the rest of the run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.training.diagnosis.evidence import Evidence
from fluoroscope.training.diagnosis.progress import progress
from fluoroscope.training.diagnosis.robust import sureness
from fluoroscope.training.diagnosis.rule import Rule, Undecided, rule, threshold
from fluoroscope.training.diagnosis.wording import number, share

__all__ = ["ScheduleEnded"]


@rule
class ScheduleEnded(Rule):
    """The learning rate has been below a thousandth of its peak for a good part of the run."""

    name = "schedule-ended"
    title = "The learning rate ran out"
    lasting = True
    source = "PyTorch, torch.optim.lr_scheduler"
    needs = ("rate",)
    advice = (
        "give the schedule the number of steps (or of epochs, if it is called once an epoch)",
        "call scheduler.step() as often as its length was counted",
        "a floor: eta_min or a constant end",
    )
    low: float = threshold(1e-3, "learning rate over its peak that is as good as zero", high=1)
    part: float = threshold(0.2, "share of the run", high=1)
    long: float = threshold(0.4, "share of the run from which it is a problem, where the loss is not low", high=1)

    def find(self, run: Evidence) -> Iterator[Finding]:
        """At most one finding."""
        curve = run.rate
        assert curve is not None
        peak = float(curve.values.max())
        if not peak > 0:
            raise Undecided("the learning rate is zero at every step")
        alive = np.flatnonzero(curve.values > self.low * peak)
        last = int(alive[-1])
        length = float(curve.steps[-1] - curve.steps[0]) or 1.0
        rest = float(curve.steps[-1] - curve.steps[last]) / length
        if rest < self.part:
            return
        state = None if run.loss is None else progress(run.loss)
        low = state is not None and state.gained > 0.9
        step = int(curve.steps[min(last + 1, len(curve) - 1)])
        yield self.finding(
            "problem" if rest >= self.long and not low else "warning",
            f"Since step {step} the learning rate is below {number(self.low)} of its peak of {number(peak)}: "
            f"{share(rest)} of the run goes by without learning.",
            confidence=sureness(rest, self.part, 0.5),
            steps=(step, int(curve.steps[-1])),
            numbers={"share of the run": rest, "peak": peak, "last": float(curve.values[-1])},
            curves=(curve, run.loss),
            reference=self.low * peak,
        )
