"""The course of the loss: it rises, or it has stopped to fall."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.training.diagnosis.evidence import Evidence
from fluoroscope.training.diagnosis.progress import knew_before, progress
from fluoroscope.training.diagnosis.robust import rank_correlation, sureness
from fluoroscope.training.diagnosis.rule import NOT_LEARNING, Rule, rule, threshold
from fluoroscope.training.diagnosis.wording import number, share, times

__all__ = ["Diverging", "Plateau"]

STEADY = 5  # points of a validation loss from which a steady fall can be told


@rule
class Diverging(Rule):
    """The training loss ends above where it began and is still rising."""

    name = "diverging"
    title = "The loss rises"
    follows = (
        "learning-rate-high",
        "accumulating-gradients",
    )
    lasting = True
    source = "Goodfellow, Bengio, Courville 2016, section 8.3"
    needs = ("loss",)
    advice = (
        "a learning rate of a tenth",
        "check the sign of the loss",
        "check that the gradient is zeroed at each step",
    )
    ratio: float = threshold(1.2, "loss at the end over the first loss", low=1)
    steady: float = threshold(0.8, "rank correlation of loss and step in the second half", high=1)

    def find(self, run: Evidence) -> Iterator[Finding]:
        """At most one finding."""
        assert run.loss is not None
        state = progress(run.loss)
        late = state.levels[len(state.levels) // 2 :]
        if not state.first > 0 or not np.isfinite(late).all() or not state.last >= self.ratio * state.first:
            return
        steady = rank_correlation(np.arange(len(late)), late)
        if steady < self.steady:
            return
        factor = state.last / state.first
        yield self.finding(
            "problem",
            f"The loss was {number(state.first)} at the start, is {number(state.last)} at the end ({times(factor)}), "
            f"and rises.",
            confidence=sureness(factor, self.ratio),
            steps=(int(run.loss.steps[0]), int(run.loss.steps[-1])),
            numbers={"last over first loss": factor, "rank correlation": steady},
            curves=(run.loss,),
            reference=state.first,
        )


@rule
class Plateau(Rule):
    """The training loss has not fallen for a good part of the run, beyond its noise.

    A loss that is near zero has arrived, and gives no finding. Whether a plateau is the end or a saddle, the loss alone
    does not tell: it is a hint, and a warning only where nothing was learned. Accuracy says whether anything was, where
    it was recorded: a loss can fall without one answer more being right. Else the loss does: it never fell. Where the
    validation loss still falls, the plateau is the noise of single batches, and there is no finding.
    """

    name = "plateau"
    title = "The loss has stopped to fall"
    follows = (
        "chance-level",
        *NOT_LEARNING,
        "nan-origin",
        "gradients-grow-backwards",
        "exploding-gradients",
    )
    lasting = True
    source = "Prechelt 1998, Early stopping, but when?; Dauphin et al. 2014, arXiv:1406.2572 (saddles)"
    needs = ("loss",)
    least = 60
    advice = (
        "decay the learning rate: if the loss falls, it was noise",
        "raise it for some steps: if the loss falls afterwards, it was a saddle",
        "stop here, if validation says so too",
    )
    part: float = threshold(0.4, "share of the run without a gain", high=1)
    arrived: float = threshold(0.03, "loss over the first loss from which it counts as arrived")
    gained: float = threshold(0.05, "share of the first loss, below which nothing was ever gained")

    def find(self, run: Evidence) -> Iterator[Finding]:
        """At most one finding."""
        assert run.loss is not None
        state = progress(run.loss)
        levels, count = state.levels, len(state.levels)
        if not np.isfinite(levels).all() or state.last <= self.arrived * abs(state.first):
            return
        noise = float(np.median(state.errors)) + 0.01 * abs(state.best)
        since = next(i for i in range(count) if levels[i] - levels[i:].min() <= 2 * noise)
        stood = 1 - (since + 1) / count
        if stood < self.part or state.last > levels[since] + 4 * noise:
            return
        step = int(state.ends[since])
        if _validation_falls(run, step, self.gained):
            return
        never = (state.first - state.best) < self.gained * abs(state.first) and state.last > 0
        right, chance = _right(run), _chance(run)
        guessed = right is not None and right < 1.5 * chance
        learned = right is not None and right >= 1.5 * chance > 0
        learned |= knew_before(state, run.facts.classes)
        text = (
            f"Since step {step}, {share(stood)} of the run, the loss stays at {number(state.last)} "
            f"(first {number(state.first)})"
        )
        text += f", and {share(right or 0.0)} of the answers are right, no more than by chance." if guessed else "."
        yield self.finding(
            "warning" if guessed or (never and not learned) else "hint",
            text,
            confidence=sureness(stood, self.part, 0.4),
            steps=(step, int(run.loss.steps[-1])),
            numbers={"share of the run": stood, "loss": state.last, "gained": state.gained},
            curves=(run.loss, run.rate),
            reference=state.last,
            title="The loss never fell" if never else "The loss stands, and nothing was learned" if guessed else None,
        )


def _validation_falls(run: Evidence, step: int, least: float) -> bool:
    """Whether the validation loss, which is of the same examples each time, goes down steadily from ``step`` on."""
    if run.val_loss is None:
        return False
    rest = run.val_loss.known.part(step, np.inf)
    if len(rest) < STEADY or not rest.values[0] - rest.values[-1] >= least * abs(rest.values[0]):
        return False
    return rank_correlation(rest.steps, rest.values) <= -0.9


def _right(run: Evidence) -> float | None:
    """Accuracy in the last fifth of the run, on training batches where it was recorded there."""
    curve = run.accuracy or run.val_accuracy
    values = np.zeros(0) if curve is None else curve.known.values
    return float(np.mean(values[-max(1, len(values) // 5) :])) if len(values) else None


def _chance(run: Evidence) -> float:
    """Share of right answers by chance; zero where the number of classes is not known."""
    return 1 / run.facts.classes if run.facts.classes else 0.0
