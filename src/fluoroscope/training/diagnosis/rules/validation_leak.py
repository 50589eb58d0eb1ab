"""Validation that is far better than training: a hint at a leak."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.training.diagnosis.evidence import Evidence
from fluoroscope.training.diagnosis.progress import progress
from fluoroscope.training.diagnosis.robust import median
from fluoroscope.training.diagnosis.rule import Rule, Undecided, rule, threshold
from fluoroscope.training.diagnosis.wording import number, share

__all__ = ["ValidationLeak"]


@rule
class ValidationLeak(Rule):
    """The validation loss is a small part of the training loss, at almost every evaluation from early on.

    Dropout, augmentation and wrong training labels make validation easier, usually by less than half. Curves can only
    hint: a leak that helps both sides alike is not seen.
    """

    name = "validation-leak"
    title = "Validation is far better than training"
    lasting = True
    source = "Kaufman, Rosset, Perlich 2012, Leakage in data mining"
    needs = ("val_loss", "loss")
    least = 5
    advice = (
        "look for features that hold the answer, and for examples that are in both sets",
        "compare how inputs of both sets are prepared",
        "strong dropout, augmentation or wrong training labels explain a part: evaluate the training data in eval mode",
    )
    ratio: float = threshold(0.3, "validation loss over training loss from which it is told", high=1)
    early: float = threshold(0.85, "the same ratio in the first third of the evaluations, above which nothing is said")
    far: float = threshold(0.1, "validation loss over training loss from which it is a problem", high=1)

    def find(self, run: Evidence) -> Iterator[Finding]:
        """At most one finding."""
        val, loss = run.val_loss, run.loss
        assert val is not None and loss is not None
        val, loss = val.known, loss.known
        state = progress(loss)
        ratios = []
        before = -np.inf
        for step, value in zip(val.steps, val.values, strict=True):
            level = median(loss.part(max(before, step - 50) + 1, step).values)
            if np.isfinite(before) and level > 0.05 * abs(state.first):
                ratios.append(value / level)
            before = float(step)
        if len(ratios) < 4:
            raise Undecided("fewer than four evaluations while the training loss was not yet low")
        typical, early = median(np.array(ratios)), median(np.array(ratios[: max(2, len(ratios) // 3)]))
        if typical > self.ratio or early > self.early:
            return
        yield self.finding(
            "problem" if typical <= self.far else "warning",
            f"The validation loss is {share(typical)} of the training loss of the steps before, in the first third of "
            f"the evaluations already {share(early)} (at the end {number(val.values[-1])} against "
            f"{number(state.last)}).",
            confidence=0.7 if typical > self.far else 0.85,
            steps=(int(val.steps[0]), int(val.steps[-1])),
            numbers={"validation over training loss": typical, "early": early},
            curves=(loss, val),
        )
