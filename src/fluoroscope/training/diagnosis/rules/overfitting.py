"""Overfitting: where validation turned, and the checkpoint to keep."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.results.record import Array
from fluoroscope.training.diagnosis.evidence import Curve, Evidence
from fluoroscope.training.diagnosis.robust import median, spread, sureness
from fluoroscope.training.diagnosis.rule import Rule, Undecided, rule, threshold
from fluoroscope.training.diagnosis.wording import number, share

__all__ = ["Overfitting"]


@rule
class Overfitting(Rule):
    """The validation loss has turned and risen beyond its noise, while the training loss fell on.

    The rise is measured by what validation had gained since its first value: half of it lost is a problem, a tenth a
    warning. Accuracy may stand still meanwhile: then answers become surer, not worse, and it stays a warning.
    """

    name = "overfitting"
    title = "Validation has turned"
    lasting = True
    source = "Prechelt 1998, Early stopping, but when?"
    needs = ("val_loss",)
    least = 6
    advice = (
        "keep the checkpoint of the step named, stop there",
        "more data or augmentation; dropout, weight decay",
        "a smaller network",
    )
    noise: float = threshold(3.0, "rise over the noise of validation")
    told: float = threshold(0.1, "share of the gain that is lost, from which it is told", high=1)
    half: float = threshold(0.5, "share of the gain that is lost, from which it is a problem")

    def find(self, run: Evidence) -> Iterator[Finding]:
        """At most one finding."""
        curve = run.val_loss
        assert curve is not None
        curve = curve.known
        if len(curve) < self.least:
            raise Undecided(f"the validation loss has {len(curve)} finite points, and the rule needs {self.least}")
        best = int(curve.values.argmin())
        end = median(curve.values[-3:])
        rise, gain = end - float(curve.values[best]), float(curve.values[0] - curve.values[best])
        noise = spread(np.diff(curve.values)) / 2**0.5
        if len(curve) - 1 - best < 3 or rise < max(self.noise * noise, 0.03 * abs(float(curve.values[0]))):
            return
        lost = rise / gain if gain > 0 else float("inf")
        if lost < self.told or not _rises(curve.values[best:]) or not _training_falls(run.loss, int(curve.steps[best])):
            return
        onset = _onset(curve, best)
        worse = _accuracy_fell(run.val_accuracy, int(curve.steps[best]))
        yield self.finding(
            "problem" if lost >= self.half and worse is not False else "warning",
            f"The validation loss was lowest at step {int(curve.steps[best])} ({number(curve.values[best])}) and is "
            f"{number(end)} now: {share(min(lost, 99.0))} of what it had gained is lost, while the training loss fell "
            f"on.",
            confidence=sureness(min(lost, 10.0), self.told),
            steps=(int(curve.steps[best]), onset),
            numbers={
                "best step": int(curve.steps[best]),
                "best validation loss": float(curve.values[best]),
                "validation loss": end,
                "lost": min(lost, 99.0),
            },
            curves=(run.loss, curve, run.val_accuracy),
            reference=float(curve.values[best]),
        )


def _rises(values: Array) -> bool:
    """Whether the second half of what follows the best value lies above the first half."""
    after = values[1:]
    half = len(after) // 2
    return half == 0 or median(after[half:]) >= median(after[:half])


def _onset(curve: Curve, best: int) -> int:
    """The first step after the best from which validation stays above it by a tenth of the whole rise."""
    limit = curve.values[best] + 0.1 * (median(curve.values[-3:]) - curve.values[best])
    below = np.flatnonzero(curve.values[best:] <= limit)
    return int(curve.steps[min(best + int(below[-1]) + 1, len(curve) - 1)])


def _training_falls(loss: Curve | None, step: int) -> bool:
    """Whether the training loss ends lower than around ``step``; true where it is not known."""
    if loss is None:
        return True
    width = max(5, len(loss) // 20)
    before = loss.part(-np.inf, step).known.values[-width:]
    return not before.size or median(loss.known.values[-width:]) <= median(before)


def _accuracy_fell(accuracy: Curve | None, step: int) -> bool | None:
    """Whether validation accuracy is lower at the end than around ``step`` by more than two points; None: unknown."""
    if accuracy is None or len(accuracy.known) < 4:
        return None
    around = accuracy.known.part(-np.inf, step).values[-2:]
    return bool(around.size and median(accuracy.known.values[-3:]) < median(around) - 0.02)
