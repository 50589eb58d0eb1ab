"""Loss spikes: single steps far above the run's own past, from which it recovers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.results.record import Array
from fluoroscope.training.diagnosis.evidence import Curve, Evidence
from fluoroscope.training.diagnosis.robust import median, past, sureness
from fluoroscope.training.diagnosis.rule import Rule, rule, threshold
from fluoroscope.training.diagnosis.wording import number, times

__all__ = ["LossSpikes"]

APART = 10  # steps within which spikes are one


@rule
class LossSpikes(Rule):
    """The loss jumps, against the median and MAD of the steps before, by a good part of all that was gained.

    Where the loss begins to fall it also begins to scatter, and against the quiet steps before, every batch would be a
    jump. So where the scatter after it is larger (MAD of the changes from step to step, over root two), that is the
    measure; the last ten steps of a run are not judged yet.

    Near the end of an easy task one hard example can be a thousand times the median, which is no fault: the height is
    measured by what the run has gained since its start. Jumps right after the learning rate was raised are left out.
    """

    name = "loss-spikes"
    title = "The loss jumps"
    follows = ("learning-rate-high", "data-order")
    source = "Chowdhery et al. 2022, arXiv:2204.02311, section 5.1; robust z-score: Iglewicz and Hoaglin 1993"
    needs = ("loss",)
    least = 40
    advice = (
        "look at the batches of these steps",
        "clip the norm of the gradient",
        "lower the learning rate; for Adam a smaller second beta",
    )
    z: float = threshold(10.0, "robust z-score of the loss")
    gained: float = threshold(0.6, "height over what was gained since the start")
    window: float = threshold(40, "steps of the past that are looked at", low=10)

    def find(self, run: Evidence) -> Iterator[Finding]:
        """One finding for all spikes."""
        curve = run.loss
        assert curve is not None
        curve = curve.known
        if len(curve) < self.least:
            return
        middle, wide = past(curve.values, int(self.window))
        changes = np.diff(curve.values, append=np.nan)  # scatter without trend
        after = past(changes[::-1], int(self.window), APART)[1][::-1] / 2**0.5
        wide = np.where(np.isfinite(after), np.fmax(wide, after), np.nan)
        start = median(curve.values[:5])
        height = curve.values - middle
        with np.errstate(invalid="ignore", divide="ignore"):
            spikes = (
                (height >= self.z * wide) & (height >= self.gained * (start - middle)) & (start > middle) & (wide > 0)
            )
        spikes &= ~_raised(run.rate, curve.steps) & _comes_back(curve.values, middle)
        events = _events(curve.steps, spikes, height)
        if not len(events):
            return
        worst = int(events[np.argmax(height[events])])
        share = float(height[worst] / max(start - middle[worst], 1e-12))
        score = float(height[worst] / wide[worst])
        yield self.finding(
            "problem" if len(events) >= 3 and share >= 1.0 else "warning",
            f"{len(events)} jump{'s' * (len(events) > 1)} of the loss; the highest, at step {int(curve.steps[worst])}, "
            f"to {number(curve.values[worst])} from {number(middle[worst])}: {times(share)} what had been gained, "
            f"robust z-score {number(score)}.",
            confidence=sureness(share, self.gained),
            layers=run.largest_gradients(int(curve.steps[worst])),
            steps=(int(curve.steps[events[0]]), int(curve.steps[events[-1]])),
            numbers={"spikes": len(events), "height over gain": share, "z": score, "loss": float(curve.values[worst])},
            curves=(curve, run.total_gradient),
            reference=float(middle[worst]),
        )


def _raised(rate: Curve | None, steps: Array) -> Array:
    """Steps within ten steps after the learning rate was raised to three times or more."""
    if rate is None or len(rate) < 2:
        return np.zeros(len(steps), dtype=bool)
    now, before = rate.at(steps), rate.at(steps - APART)
    with np.errstate(invalid="ignore"):
        return np.asarray(now > 3 * before)


def _comes_back(values: Array, middle: Array) -> Array:
    """Whether the median of the next steps lies below half the jump."""
    after = np.array([median(values[i + 1 : i + 21]) if i + 1 < len(values) else np.nan for i in range(len(values))])
    with np.errstate(invalid="ignore"):
        return np.asarray(after - middle < 0.5 * (values - middle))


def _events(steps: Array, spikes: Array, height: Array) -> Array:
    """Places of the highest points of spikes that are at least ten steps apart."""
    found: list[int] = []
    for place in np.flatnonzero(spikes):
        if found and steps[place] - steps[found[-1]] <= APART:
            if height[place] > height[found[-1]]:
                found[-1] = int(place)
        else:
            found.append(int(place))
    return np.array(found, dtype=np.int64)
