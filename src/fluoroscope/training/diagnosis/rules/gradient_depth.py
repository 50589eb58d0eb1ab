"""Gradients from layer to layer: those that vanish on their way back, and those that grow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.results.record import Array
from fluoroscope.training.diagnosis.evidence import Evidence, Statistic
from fluoroscope.training.diagnosis.robust import logarithm, rank_correlation, row_medians, sureness
from fluoroscope.training.diagnosis.rule import Rule, Undecided, rule, threshold
from fluoroscope.training.diagnosis.wording import number, times

__all__ = ["GradientsGrowBackwards", "VanishingGradients", "early_medians"]

FEWEST = 3  # weights between which a ratio says something


def early_medians(found: Statistic) -> tuple[Statistic, Array]:
    """Rows with a gradient, and the median of each over the first half of the run; NaN where it is zero."""
    half = found.columns(slice(0, max(5, len(found.steps) // 2)))
    return found, row_medians(half.values)


@rule
class VanishingGradients(Rule):
    """Many layers get a gradient that is tiny beside that of the layer with the largest.

    Compared are medians over the first half of the run of each weight's gradient norm with the largest of all
    parameters, which has to come after them in the network: a ratio within one network, no absolute size. Adam and its
    kin rescale gradients; where the tiny ones move their weights as far as the others', it is a hint.
    """

    name = "vanishing-gradients"
    title = "Gradients vanish on their way back"
    follows = (
        "dead-units",
        "weights-collapse",
        "nan-origin",
        "learning-rate-high",
    )
    lasting = True
    source = "Hochreiter 1991; Bengio, Simard, Frasconi 1994; Glorot and Bengio 2010"
    needs = ("gradient/norm",)
    advice = (
        "ReLU-like activations instead of sigmoid or tanh, with He's initialization",
        "normalization layers or skip connections",
        "fewer layers",
    )
    ratio: float = threshold(1e-3, "gradient norm over the largest in the network, below which it has vanished", high=1)
    layers: float = threshold(0.25, "share of the weights that it takes", high=1)

    def find(self, run: Evidence) -> Iterator[Finding]:
        """At most one finding."""
        found = run.statistic("gradient/norm")
        assert found is not None
        names, values, weight = np.array(found.names), early_medians(found)[1], found.is_weight
        if (weight & np.isfinite(values)).sum() < FEWEST:
            raise Undecided(f"fewer than {FEWEST} weights have a gradient")
        largest = np.nanmax(values)
        once = np.array([np.nanmax(np.where(np.isfinite(v), v, 0.0)) > 0 for v in found.values])  # not cut off
        before = np.arange(len(values)) < int(np.nanargmax(values))  # in the network, so after it on the way back
        tiny = weight & (values < self.ratio * largest) & once & before
        if not largest > 0 or tiny.sum() < max(2, self.layers * weight.sum()):
            return
        worst = int(np.nanargmin(np.where(tiny, values, np.nan)))
        moves = _moves(run, names[tiny], names[weight & ~tiny])
        text = (
            f"In the first half of the run the gradient of {int(tiny.sum())} of {int(weight.sum())} weights is below "
            f"{number(self.ratio)} of the largest; {names[worst]} gets {number(values[worst])}, "
            f"{names[int(np.nanargmax(values))]} {number(largest)}."
        )
        if moves > 0.1:
            text += " The optimizer rescales it: these weights still move."
        curves = [found.curve(worst), found.curve(int(np.nanargmax(values)))]
        yield self.finding(
            "problem" if not moves > 0.1 else "hint",
            text,
            confidence=sureness(float(values[worst] / largest), self.ratio),
            layers=tuple(names[tiny]),
            steps=(int(found.steps[0]), int(found.steps[len(found.steps) // 2])),
            numbers={"smallest over largest": values[worst] / largest, "weights": float(tiny.sum()), "moves": moves},
            curves=curves,
            reference=self.ratio * float(largest),
            advice=self._advice(run),
        )

    def _advice(self, run: Evidence) -> tuple[str, ...]:
        """What the network does not have yet, as far as that is known."""
        activation, depth, shorter = self.advice
        if run.statistic("activation/dead") is not None and run.statistic("activation/saturated") is None:
            activation = "He's initialization, and a look at the units of each ReLU: where all are dead, nothing passes"
        if run.facts.normalized:
            depth = "skip connections"
        return activation, depth, shorter


def _moves(run: Evidence, tiny: Array, others: Array) -> float:
    """Median update-to-weight ratio of the ``tiny`` over that of the ``others``; NaN where it is not known."""
    ratio = run.statistic("update/ratio")
    if ratio is None:
        return float("nan")
    values = dict(zip(ratio.names, row_medians(ratio.values), strict=True))
    small, large = ([v for n in names if np.isfinite(v := values.get(n, np.nan))] for names in (tiny, others))
    if not small or not large or not np.median(large) > 0:
        return float("nan")
    return float(np.median(small) / np.median(large))


@rule
class GradientsGrowBackwards(Rule):
    """The gradient grows from layer to layer on its way back: the first layers get many times what the last get.

    Compared are the first and the last third of the weights in the order of the network, in the first half of the run
    or in its first three steps; the growth has to be steady (rank correlation with depth).
    """

    name = "gradients-grow-backwards"
    title = "Gradients grow on their way back"
    lasting = True
    source = "Bengio, Simard, Frasconi 1994; Yang et al. 2019, arXiv:1902.08129 (batch norm without skips)"
    needs = ("gradient/norm",)
    least = 10
    advice = ("skip connections", "He's initialization without gain", "clip the norm of the gradient")
    ratio: float = threshold(30.0, "first third over last third", low=1)
    steady: float = threshold(0.7, "rank correlation of gradient and depth", high=1)
    depth: float = threshold(6, "fewest weights")

    def find(self, run: Evidence) -> Iterator[Finding]:
        """At most one finding."""
        found = run.statistic("gradient/norm")
        assert found is not None
        found = found.rows(found.is_weight)
        values = early_medians(found)[1]
        good = np.isfinite(values) & (values > 0)
        if good.sum() < self.depth:
            raise Undecided(f"fewer than {self.depth:.0f} weights have a gradient")
        names, curves = np.array(found.names)[good], found.rows(good)
        third = max(1, len(names) // 3)
        start, half = (_growth(logarithm(v), third) for v in (row_medians(curves.values[:, :3]), values[good]))
        ratio, steady = max(start, half, key=lambda found: found[0] * (found[1] >= self.steady))
        if not ratio >= self.ratio or steady < self.steady:
            return
        when = "In the first three steps" if (ratio, steady) == start else "In the first half of the run"
        first, last = curves.curve(0), curves.curve(len(names) - 1)
        yield self.finding(
            "problem" if ratio >= 3 * self.ratio else "warning",
            f"{when} the first third of the weights gets {times(ratio)} the gradient of the last third, growing "
            f"steadily from layer to layer.",
            confidence=sureness(ratio, self.ratio),
            layers=tuple(names[:third]),
            steps=(int(found.steps[0]), int(found.steps[len(found.steps) // 2])),
            numbers={"first over last third": ratio, "rank correlation": steady},
            curves=(first, last),
        )


def _growth(logs: Array, third: int) -> tuple[float, float]:
    """First over last third of the norms, and how steadily they fall with depth; norms of normalization layers lie
    between those of others, so that four neighbours are averaged before.
    """
    if not np.isfinite(logs).all():
        return 0.0, 0.0
    width = min(4, third)
    smooth = np.convolve(logs, np.full(width, 1 / width), mode="valid")
    ratio = 10 ** float(np.median(logs[:third]) - np.median(logs[-third:]))
    return ratio, -rank_correlation(np.arange(len(smooth)), smooth)
