"""Learning rate: too high (the loss jumps, bounces or stays up while weights are rewritten) or too low."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.results.record import Array
from fluoroscope.training.diagnosis.evidence import Curve, Evidence
from fluoroscope.training.diagnosis.progress import Progress, knew_before, progress
from fluoroscope.training.diagnosis.robust import logarithm, median, spread, sureness
from fluoroscope.training.diagnosis.rule import Rule, Undecided, rule, threshold
from fluoroscope.training.diagnosis.series_names import words
from fluoroscope.training.diagnosis.wording import number, share, times

__all__ = ["LearningRateHigh", "LearningRateLow"]

MILDER = "a learning rate of a third to a tenth"
USUAL = (1e-3, 1e-2)
"""Norm of the update over norm of the weight in a training that goes well: typical, and at most."""


@rule
class LearningRateHigh(Rule):
    """Steps are so large that they cost what others gain.

    One of: the loss jumps to several times its first value in the first fifth and little is gained at the end; it ends
    at several times its first value and stays there, after steps that threw the weights far away; the weights are
    rewritten (norm of the update over norm of the weight) without gain; full-batch loss goes up and down from step to
    step; the largest curvature, where it was recorded, stays beyond what the optimizer bears: 2 (1 + momentum) / lr of
    gradient descent, 38 / lr of Adam's preconditioned curvature. At the edge itself trainings live
    well, so a margin is asked for.
    """

    name = "learning-rate-high"
    title = "The learning rate is too high"
    follows = ("accumulating-gradients",)
    lasting = True
    source = "Goodfellow, Bengio, Courville 2016, section 8.3; edge of stability: Cohen et al. 2021, arXiv:2103.00065"
    needs = ("loss",)
    advice = (
        MILDER,
        "warm-up over the first few percent of the steps",
        "clip the gradient",
    )
    jump: float = threshold(2.0, "largest loss of the first fifth over the first loss", low=1)
    around: float = threshold(1.1, "median of the five losses around it over the first loss", low=1)
    z: float = threshold(3.5, "robust z-score of that loss among those of the second half")
    gained: float = threshold(0.3, "share of the first loss that is gone at the end, below which nothing was gained")
    rewritten: float = threshold(0.03, "norm of the update over norm of the weight")
    thrown: float = threshold(
        0.05, "norm of the update over norm of the weight in an early step, before a loss stays up"
    )
    bounce: float = threshold(0.9, "share of steps at which the loss turns, over twenty steps", high=1)
    curvature: float = threshold(1.5, "curvature over the largest that the learning rate bears", low=1)

    def find(self, run: Evidence) -> Iterator[Finding]:
        """At most one finding, for the strongest sign."""
        assert run.loss is not None
        state = progress(run.loss)
        signs = (
            self._jumped(run, state),
            self._stays_up(run, state),
            self._rewritten(run, state),
            self._bounces(run),
            self._too_sharp(run),
        )
        found = [s for s in signs if s is not None]
        if found:
            strongest = max(found, key=lambda f: (f.severity == "problem", f.confidence))
            yield strongest.replace(advice=(_slower(run), *self.advice[1:]))

    def _jumped(self, run: Evidence, state: Progress) -> Finding | None:
        loss = run.loss
        assert loss is not None
        early = loss.known.values[: max(10, len(loss) // 5)]
        top = float(early.max()) if early.size else float("nan")
        factor = top / state.first if state.first > 0 else float("nan")
        noise = 1 + 2 * min(1.0, _noise(loss.known.values))  # the first loss is one batch's
        if not factor >= self.jump * noise or not state.gained < self.gained:
            return None
        place = int(early.argmax())
        around = median(loss.known.values[max(0, place - 2) : place + 3])  # one odd batch is alone among others
        if around < self.around * state.first or not _score(top, loss.known.values) >= self.z:
            return None
        step = int(loss.known.steps[place])
        return self.finding(
            "problem",
            f"The loss jumped from {number(state.first)} to {number(top)} at step {step}, and at the end is "
            f"{number(state.last)}.",
            confidence=sureness(factor, self.jump),
            steps=(int(loss.steps[0]), step),
            numbers={"highest over first loss": factor, "gained": state.gained},
            curves=(loss, run.update_ratio),
            reference=state.first,
        )

    def _stays_up(self, run: Evidence, state: Progress) -> Finding | None:
        """The last half is far above the first loss at every level, after early steps that moved the weights far."""
        loss, curve = run.loss, run.update_ratio
        late = state.levels[len(state.levels) // 2 :]
        if loss is None or curve is None or len(curve) < self.least or not state.first > 0:
            return None
        early = curve.known.values[: max(10, len(curve) // 5)]
        typical = max((median(early[i : i + 5]) for i in range(max(1, len(early) - 4))), default=float("nan"))
        lowest = float(np.min(late, initial=np.inf))
        if not lowest >= self.jump * state.first or not np.isfinite(late).all() or not typical >= self.thrown:
            return None
        return self.finding(
            "problem",
            f"Early steps changed a weight by {share(typical)} of its norm, usual is about 0.1 %; the loss was "
            f"{number(state.first)} at the start, and in the second half it stays above {number(lowest)}.",
            confidence=sureness(lowest / state.first, self.jump),
            layers=_most_rewritten(run, self.rewritten),
            steps=(int(loss.steps[0]), int(loss.steps[-1])),
            numbers={"lowest late over first loss": lowest / state.first, "early update over weight": typical},
            curves=(loss, curve),
            reference=state.first,
        )

    def _rewritten(self, run: Evidence, state: Progress) -> Finding | None:
        curve = run.update_ratio
        if curve is None or len(curve) < self.least:
            return None
        typical = median(curve.values[len(curve) // 10 :])
        if not typical >= self.rewritten or not state.gained < self.gained:
            return None
        return self.finding(
            "problem",
            f"A typical step changes a weight by {share(typical)} of its norm, usual is about 0.1 %, and the loss is "
            f"{number(state.last)} after {number(state.first)} at the start.",
            confidence=sureness(typical, self.rewritten),
            layers=_most_rewritten(run, self.rewritten),
            steps=(int(curve.steps[0]), int(curve.steps[-1])),
            numbers={"update over weight": typical, "gained": state.gained},
            curves=(curve, run.loss),
            reference=1e-3,
        )

    def _bounces(self, run: Evidence) -> Finding | None:
        loss = run.loss
        assert loss is not None
        values = loss.known.values
        changes = np.diff(values)
        if len(changes) < 40:
            return None
        turns = (changes[1:] * changes[:-1] < 0).astype(np.float64)
        rate = np.convolve(turns, np.ones(20) / 20, mode="valid")
        size = median(np.abs(changes[-20:])) / max(abs(median(values[-20:])), 1e-12)
        late = float(np.median(rate[-max(20, len(rate) // 3) :]))
        if late < self.bounce or size < 0.02:
            return None
        return self.finding(
            "warning",
            f"In the last third the loss goes up and down in turn at {share(late)} of the steps, by {share(size)} of "
            f"itself.",
            confidence=0.75,
            steps=(int(loss.steps[-len(rate) // 3]), int(loss.steps[-1])),
            numbers={"turns": late, "size": size},
            curves=(loss,),
        )

    def _too_sharp(self, run: Evidence) -> Finding | None:
        found = _recorded_curvature(run) or _logged_curvature(run)
        if found is None:
            return None
        curve, bears, words_of_limit = found
        ratio = curve.values / bears
        if not median(ratio) >= self.curvature:
            return None
        return self.finding(
            "warning",
            f"The largest curvature is {number(median(curve.values))}, {times(median(ratio))} what the optimizer bears "
            f"at this learning rate.",
            confidence=sureness(median(ratio), self.curvature),
            steps=(int(curve.steps[0]), int(curve.steps[-1])),
            numbers={f"curvature over {words_of_limit}": median(ratio)},
            curves=(curve, Curve(words_of_limit, curve.steps, bears)),
            reference=median(bears),
        )


def _slower(run: Evidence) -> str:
    """How much lower the learning rate should be. An update is in proportion to it, so the first step tells where that
    one moved the weights far beyond what is usual; later ones are of weights that were thrown already.
    """
    ratio = run.update_ratio
    first = float(ratio.known.values[0]) if ratio is not None and len(ratio.known) else 0.0
    if not first > 10 * max(USUAL):
        return MILDER
    low, high = (float(f"{first / usual:.0e}") for usual in reversed(USUAL))
    return (
        f"a learning rate {low:,.0f} to {high:,.0f} times lower, at which a step changes a weight by 0.1 to 1 % of its "
        f"norm: the first step changed it by {share(first)}"
    )


RECORDED = {f"{g}/{n}" for g in ("curvature", "preconditioned_curvature") for n in ("largest", "limit")} | {
    "curvature_residual/plain",
    "curvature_residual/preconditioned",
    "time/curvature",
}


def _recorded_curvature(run: Evidence) -> tuple[Curve, Array, str] | None:
    """Curvature and limit as the recorder wrote them: preconditioned where that is what the optimizer's limit is of."""
    for group, text in (
        ("preconditioned_curvature", "the optimizer's limit"),
        ("curvature", "2 (1 + momentum) / lr"),
    ):
        curve, limit = run.curve(f"{group}/largest"), run.curve(f"{group}/limit")
        if curve is not None and limit is not None and len(curve.known) >= 3 and len(limit.known):
            bears = limit.known.at(curve.known.steps)
            if np.isfinite(bears).all():
                return curve.known, bears, text
    return None


def _logged_curvature(run: Evidence) -> tuple[Curve, Array, str] | None:
    """Curvature that the user logged, with the limit of gradient descent."""
    names = [n for n in run.history.series if words(n) & {"curvature", "sharpness"} and n not in RECORDED]
    if not names or run.rate is None or "adam" in (run.facts.optimizer or "").lower():
        return None
    curve = run.curve(names[0])
    if curve is None or len(curve.known) < 3:
        return None
    bears = 2 * (1 + run.facts.momentum) / np.maximum(run.rate.at(curve.known.steps), 1e-30)
    return curve.known, bears, "2 (1 + momentum) / lr"


def _most_rewritten(run: Evidence, least: float) -> tuple[str, ...]:
    """Weights whose typical update over weight is at least that, largest first."""
    found = run.statistic("update/ratio")
    if found is None:
        return ()
    sizes = {n: median(v) for n, v, weight in zip(found.names, found.values, found.is_weight, strict=True) if weight}
    return tuple(n for n in sorted(sizes, key=lambda n: -np.nan_to_num(sizes[n])) if sizes[n] >= least)


def _score(value: float, values: Array) -> float:
    """Robust z-score of the logarithm of a loss among those of the second half; infinite where these do not vary."""
    late = logarithm(values[len(values) // 2 :])
    wide = spread(late)
    if not (value > 0 and np.isfinite(wide)):
        return float("inf")
    return (float(np.log10(value)) - median(late)) / max(wide, 1e-12)


def _noise(values: Array) -> float:
    """Spread of the second half over its level."""
    late = values[len(values) // 2 :]
    level = abs(median(late))
    return spread(late) / level if level > 0 else 0.0


@rule
class LearningRateLow(Rule):
    """Weights hardly move at any time of the run, and the loss has hardly fallen."""

    name = "learning-rate-low"
    title = "The learning rate is too low"
    follows = (
        "vanishing-gradients",
        "schedule-ended",
        "clipping-always",
        "unchanged-parameters",
        "dead-units",
    )
    lasting = True
    source = "A. Karpathy, CS231n notes, ratio of weights to updates; Goodfellow, Bengio, Courville 2016, section 8.3"
    needs = ("loss", "update/ratio")
    least = 50
    advice = (
        "a learning rate ten times higher",
        "a range test: raise it from step to step and see where the loss falls fastest",
    )
    moved: float = threshold(1e-4, "update over weight that nine tenths of the steps stay below")
    gained: float = threshold(0.2, "share of the first loss that is gone at the end")

    def find(self, run: Evidence) -> Iterator[Finding]:
        """At most one finding."""
        assert run.loss is not None
        curve = run.update_ratio
        if curve is None:
            raise Undecided("no weight moved")
        state = progress(run.loss)
        most = float(np.quantile(curve.known.values, 0.9)) if len(curve.known) else float("nan")
        if not most > 0:
            raise Undecided("no weight moved")
        if most >= self.moved or state.gained >= self.gained:
            return
        meant = knew_before(state, run.facts.classes)  # a trained network is tuned with small steps
        yield self.finding(
            "hint" if meant else "problem",
            f"Nine of ten steps change a weight by less than {number(most)} of its norm, usual is about 0.001, and "
            f"{share(max(0.0, state.gained))} of the first loss is gone after {len(run.loss)} steps.",
            confidence=sureness(most, self.moved),
            steps=(int(curve.steps[0]), int(curve.steps[-1])),
            numbers={"update over weight": most, "gained": state.gained},
            curves=(run.loss, curve),
            reference=1e-3,
        )
