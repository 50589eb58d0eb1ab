"""Order of the data: a loss that repeats itself from epoch to epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.results.record import Array
from fluoroscope.training.diagnosis.evidence import Curve, Evidence
from fluoroscope.training.diagnosis.rule import Rule, Undecided, rule, threshold
from fluoroscope.training.diagnosis.wording import number

__all__ = ["DataOrder"]

SHORTEST = 8  # steps of an epoch below which its inside can't be seen


@rule
class DataOrder(Rule):
    """The loss of a batch depends on its place in the epoch, epoch after epoch.

    The logarithm of the loss, less its mean over one epoch around, is correlated with itself one epoch later. Where it
    is also correlated from step to step, similar examples follow one another (sorted by class); where it is not, the
    order is random and the same in each epoch, a hint. Without the length of an epoch, the strongest period is looked
    for.
    """

    name = "data-order"
    title = "The data are not shuffled"
    lasting = True
    source = "Bengio 2012, arXiv:1206.5533, section 3.1; autocorrelation: Box and Jenkins 1970"
    needs = ("loss",)
    least = 60
    advice = (
        "shuffle=True in the loader of the training data",
        "look at the labels of one batch: are all classes there?",
    )
    repeats: float = threshold(0.5, "correlation with the epoch before", high=1)
    smooth: float = threshold(0.35, "correlation with the step before", high=1)

    def find(self, run: Evidence) -> Iterator[Finding]:
        """At most one finding."""
        assert run.loss is not None
        curve = run.loss.known
        values = np.log(np.maximum(curve.values, 1e-12)) if len(curve) and curve.values.min() > 0 else curve.values
        period = run.facts.steps_per_epoch or _period(values, self.repeats)
        if period is None:
            raise Undecided("the length of an epoch is not known, and the loss shows none")
        if period < SHORTEST:
            raise Undecided(f"an epoch has {period} steps, too few to see its inside")
        if len(values) < 4 * period:
            raise Undecided("fewer than four epochs were recorded")
        rest = _detrended(values, period)[period // 2 :]  # the first steps fall fast
        if run.rate is not None and _repeats_itself(run.rate, curve.steps, period):
            raise Undecided("the learning rate goes up and down with the epoch")
        again, near = _correlation(rest, period), _correlation(rest, 1)
        if again < max(self.repeats, 4 / len(rest) ** 0.5):
            return
        ordered = near >= self.smooth
        yield self.finding(
            "problem" if ordered else "hint",
            f"The loss repeats itself every {period} steps (correlation {number(again)} with the epoch before"
            + (f", {number(near)} with the step before): similar examples follow one another." if ordered else ")."),
            confidence=0.9 if ordered else 0.85,
            steps=(int(curve.steps[0]), int(curve.steps[-1])),
            numbers={"period": period, "correlation with the epoch before": again, "with the step before": near},
            curves=(curve,),
            title=None if ordered else "The data come in the same order in each epoch",
        )


def _detrended(values: Array, period: int) -> Array:
    """Less the mean over one period around, and divided by the spread over three; the ends are left out."""
    window = np.ones(period) / period
    mean = np.convolve(values, window, mode="valid")
    rest = values[period // 2 : period // 2 + len(mean)] - mean
    wide = np.ones(min(len(rest), 3 * period))
    power = np.convolve(rest**2, wide, mode="same") / np.convolve(np.ones_like(rest), wide, mode="same")
    return np.asarray(rest / np.sqrt(np.maximum(power[: len(rest)], 1e-30)))


def _correlation(rest: Array, lag: int) -> float:
    a, b = rest[:-lag], rest[lag:]
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0


def _repeats_itself(rate: Curve, steps: Array, period: int) -> bool:
    values = rate.at(steps)
    values = np.log(np.maximum(np.nan_to_num(values, nan=0.0), 1e-30))
    if np.ptp(values) < 1e-6 or len(values) < 3 * period:
        return False
    rest = values[period:] - values[:-period]
    inside = np.abs(np.diff(values))
    return bool(np.median(np.abs(rest)) < 0.05 * np.ptp(values) and inside.max() > 1e-3)


def _period(values: Array, least: float) -> int | None:
    """The lag from 8 on with the highest correlation, if it is a peak of its own."""
    count = len(values)
    longest = count // 3
    if longest < 2 * SHORTEST:
        return None
    width = max(3, count // 5)
    mean = np.convolve(values, np.ones(width) / width, mode="valid")
    rest = values[width // 2 : width // 2 + len(mean)] - mean
    size = 1 << (2 * len(rest)).bit_length()
    power = np.abs(np.fft.rfft(rest - rest.mean(), size)) ** 2
    lags = np.fft.irfft(power, size)[: longest + 1] / np.arange(len(rest), len(rest) - longest - 1, -1)
    lags = lags / max(lags[0], 1e-30)
    highest = float(lags[SHORTEST:].max())
    best = SHORTEST + int((lags[SHORTEST:] >= 0.9 * highest).argmax())  # multiples of a period are as high
    best += int(lags[best : best + best // 2].argmax())
    return best if lags[best] >= least and lags[best] - lags[best // 2] >= 0.3 else None
