"""What the level of a loss tells: labels that have nothing to do with the inputs, and a softmax too many."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fluoroscope.results import Finding
from fluoroscope.training.diagnosis.evidence import Evidence
from fluoroscope.training.diagnosis.progress import Progress, progress
from fluoroscope.training.diagnosis.robust import median, rank_correlation
from fluoroscope.training.diagnosis.rule import NOT_LEARNING, Rule, Undecided, rule, threshold
from fluoroscope.training.diagnosis.wording import number, share

__all__ = ["ChanceLevel", "DoubleSoftmax"]

GUESSED = 20  # classes up to which ln K is told from the loss alone; beyond, some ln K is near any loss


@rule
class ChanceLevel(Rule):
    """The loss stays at ln K, that of an answer which knows nothing, in training or on validation data.

    Without the number of classes, a loss that begins and stays within 1 % of ln K for some K up to 20 is a warning.
    """

    name = "chance-level"
    title = "The loss stays at chance"
    follows = (
        *NOT_LEARNING,
        "initialization",
        "gradients-grow-backwards",
    )
    lasting = True
    source = "A. Karpathy, A recipe for training neural networks (verify the loss at initialization)"
    needs = ("loss",)
    least = 50
    advice = (
        "look at a few inputs with their labels, after every transform and shuffle",
        "train on one batch: its loss must come to zero",
        "if one batch is learned, the labels carry no signal; if not, look at the learning rate and the gradient",
    )
    near: float = threshold(0.03, "distance from ln K as a share of it", high=1)

    def find(self, run: Evidence) -> Iterator[Finding]:
        """One finding for training or one for validation."""
        assert run.loss is not None
        state = progress(run.loss)
        classes = run.facts.classes or _guess(state)
        if classes is None or classes < 2:
            raise Undecided("the number of classes is not known")
        chance = math.log(classes)
        if state.best >= (1 - self.near) * chance:
            yield from self._training(run, state, classes, chance)
        else:
            yield from self._validation(run, state, classes, chance)

    def _training(self, run: Evidence, state: Progress, classes: int, chance: float) -> Iterator[Finding]:
        late = state.levels[len(state.levels) // 2 :]
        if not np.isfinite(late).all() or (late > (1 + 2 * self.near) * chance).any():
            return
        if _leaves(state, chance):
            raise Undecided("the loss has begun to leave chance")
        assert run.loss is not None
        moved = median(run.update_ratio.values) if run.update_ratio is not None else float("nan")
        known = run.facts.classes is not None
        moving = not moved < 1e-5
        text = (
            f"After {len(run.loss)} steps the loss is {number(state.last)}; ln {classes} = {number(chance)} is chance."
        )
        text += "" if moving else " The weights hardly moved."
        yield self.finding(
            "problem" if known and moving else "warning",
            text,
            confidence=0.95 if known and moving else 0.7,
            steps=(int(run.loss.steps[0]), int(run.loss.steps[-1])),
            numbers={"loss": state.last, "ln K": chance, "update over weight": moved},
            curves=(run.loss, run.val_loss),
            reference=chance,
        )

    def _validation(self, run: Evidence, state: Progress, classes: int, chance: float) -> Iterator[Finding]:
        curve = None if run.val_loss is None else run.val_loss.known
        if curve is None or len(curve) < 4 or run.facts.classes is None:
            return
        lowest = float(curve.values.min())
        if lowest < (1 - self.near) * chance or state.last > 0.8 * chance:
            return
        yield self.finding(
            "problem",
            f"The training loss fell to {number(state.last)} and validation was never better than {number(lowest)}; "
            f"ln {classes} = {number(chance)} is chance: training is learned by heart.",
            confidence=0.95,
            steps=(int(curve.steps[0]), int(curve.steps[-1])),
            numbers={"lowest validation loss": lowest, "ln K": chance, "training loss": state.last},
            curves=(run.loss, curve),
            reference=chance,
            advice=(
                "look at training and validation labels side by side: is the order of classes the same?",
                "look for labels that were shuffled apart from their inputs",
            ),
            title="Validation never beats chance",
        )


def _leaves(state: Progress, chance: float) -> bool:
    """Whether the loss goes down steadily in the second half and ends below ``chance`` beyond its noise: recurrent and
    deep networks often wait there before they learn.
    """
    late, errors = (v[len(v) // 2 :] for v in (state.levels, state.errors))
    steady = rank_correlation(np.arange(len(late)), late)
    return bool(steady <= -0.6 and state.last < chance - 3 * float(np.median(errors)) / 2**0.5)


def _guess(state: Progress) -> int | None:
    """The number of classes whose ln K the loss never leaves."""
    if not (state.first > 0 and math.isfinite(state.last)):
        return None
    classes = round(math.exp(min(state.last, 5.0)))
    if not 2 <= classes <= GUESSED:
        return None
    levels = np.append(state.levels, state.first)
    return classes if (np.abs(levels / math.log(classes) - 1) < 0.01).all() else None


@rule
class DoubleSoftmax(Rule):
    """The loss comes to rest on the floor that a second softmax gives it.

    A softmax of probabilities is at best softmax(1, 0, …, 0), so the cross-entropy never falls below
    ln(e + K - 1) - 1, and a sure wrong answer costs 1 more: loss = floor + error rate.
    """

    name = "double-softmax"
    title = "The loss looks like that of a softmax applied twice"
    lasting = True
    source = "follows from cross-entropy of softmax(p) with p in [0, 1]"
    needs = ("loss",)
    least = 60
    advice = (
        "give the loss the logits: CrossEntropyLoss has the softmax in it",
        "no softmax in the network's last layer",
    )
    close: float = threshold(0.06, "distance in nats from floor + error rate")

    def find(self, run: Evidence) -> Iterator[Finding]:
        """At most one finding."""
        assert run.loss is not None
        classes = run.facts.classes
        if classes is None or classes < 2:
            raise Undecided("the number of classes is not known")
        if run.accuracy is None and run.val_accuracy is None:
            raise Undecided("no accuracy was recorded")
        state = progress(run.loss)
        floor = math.log(math.e + classes - 1) - 1
        lowest = float(run.loss.known.values.min()) if len(run.loss.known) else float("nan")
        right = _late_accuracy(run)
        expected = floor + 1 - right
        if not (lowest >= floor - 1e-3 and right >= 0.6 and abs(state.last - expected) <= self.close):
            return
        yield self.finding(
            "problem" if right >= 0.8 else "warning",
            f"The loss ends at {number(state.last)} and was never below {number(lowest)} although {share(right)} of "
            f"the answers are right; a softmax of a softmax over {classes} classes can't go below {number(floor)}, and "
            f"is expected at {number(expected)}.",
            confidence=0.9,
            steps=(int(run.loss.steps[0]), int(run.loss.steps[-1])),
            numbers={"loss": state.last, "floor": floor, "accuracy": right},
            curves=(run.loss, run.accuracy or run.val_accuracy),
            reference=floor,
        )


def _late_accuracy(run: Evidence) -> float:
    curve = run.accuracy or run.val_accuracy
    assert curve is not None
    values = curve.known.values
    return float(np.mean(values[-max(1, len(values) // 5) :])) if values.size else float("nan")
