"""The usual checks at once, at a cost that can be waited for, and what they say in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from fluoroscope.arguments import checked
from fluoroscope.errors import FluoroscopeError, OptionError
from fluoroscope.model.subject import Subject
from fluoroscope.model.targets import TargetLike
from fluoroscope.results import Attribution, Scorecard
from fluoroscope.trust.baselines import hiding
from fluoroscope.trust.check import Check, Measure, scorecard
from fluoroscope.trust.deletion import Deletion, Insertion
from fluoroscope.trust.localization import Localization
from fluoroscope.trust.randomization import Randomization
from fluoroscope.trust.road import ROAD
from fluoroscope.trust.sensitivity_n import SensitivityN
from fluoroscope.trust.trial import Trial

__all__ = ["check_trust", "usual_checks", "with_verdict"]

TITLE = "Is the picture true?"
NOT_CLAIMED = (
    "A map that passes depends on what the network learned and names what moves its score. That it is complete, that a "
    "person would agree, or that the network is right, is not claimed."
)


def usual_checks(continuous: bool, masks: bool, *, hidden: str, seed: int = 0, batch_size: int = 32) -> list[Check]:
    """The checks that fit: pictures and series also with gaps filled in, known objects where there are masks.
    ``hidden`` is what deletion and insertion put in the place of what they take away.
    """
    common: dict[str, Any] = {"seed": seed, "batch_size": batch_size}
    return [
        Randomization(shares=(0.25, 1.0), independent=False, **common),
        Deletion(baseline=hidden, steps=12, **common),
        Insertion(baseline=hidden, steps=12, **common),
        *([ROAD(shares=(0.2, 0.5, 0.8), **common)] if continuous else []),
        SensitivityN(sizes=(0.2,), **common),
        *([Localization(**common)] if masks else []),
    ]


@checked
def check_trust(
    methods: Any,
    model: nn.Module | Subject,
    inputs: Any,
    masks: Any = None,
    *,
    target: TargetLike = "predicted",
    checks: Sequence[Check] | None = None,
    seed: int = 0,
    batch_size: int = 32,
) -> Scorecard:
    """Check methods of attribution on a network and inputs: one table of all measures, and a verdict for each method.

    Without ``checks`` these run: randomization of all weights, deletion, insertion, ROAD (pictures and series),
    sensitivity-n, and with ``masks`` (N, H, W) localization. Deletion and insertion take a blurred input (the mean of
    rows) for what is taken away, or mean or zero where more than half of the score stays with it. Each method runs once
    for all of them and once more on the randomized copy; the forwards of sensitivity-n are shared. A check that does
    not apply is left out with a note.

    Raises:
        OptionError: no method named, or one that gives no attribution.
        InputError: masks that do not fit the inputs.
        FluoroscopeError: every method failed, or every check; it is the first one's error.
    """
    given: Any = list(checks or ())
    wrong = next((c for c in given if not isinstance(c, Check)), None)
    if wrong is not None:
        raise OptionError("this is no check", got=repr(wrong), expected="checks such as fs.Deletion()")
    given = batch_size
    if not isinstance(given, int) or given < 1:
        raise OptionError("batch_size is out of range", got=given, expected="a whole number of at least 1")
    trial = Trial.of(methods, model, inputs, masks, target, seed=seed, batch_size=batch_size)
    chosen = checks
    if chosen is None:
        common: dict[str, Any] = {"hidden": hiding(trial), "seed": seed, "batch_size": batch_size}
        chosen = usual_checks(trial.places.continuous, masks is not None, **common)
    if not chosen:
        raise OptionError("no check was named", got="an empty list", expected="checks such as fs.Deletion()")
    found: list[Measure] = []
    said: dict[str, list[tuple[str, str]]] = {row: [] for row in trial.maps}
    errors: list[FluoroscopeError] = []
    for check in chosen:
        try:
            columns = _measured(check, trial)
        except FluoroscopeError as error:
            errors.append(error)
            trial.note(f"{check.title} was left out: {error.what}" + (f" ({error.got})" if error.got else ""))
            continue
        for row, words in said.items():
            beside = check.standing(row, columns, trial)
            words.append((check.title, check.verdict(row, columns, trial)) if beside is None else (beside, check.title))
        found += columns
    if not found:
        raise errors[0]
    settings = {"checks": {c.title: c.settings() for c in chosen}}
    verdicts = {row: _sentences(words, [c.title for c in chosen]) for row, words in said.items()}
    return scorecard(trial, found, verdicts, TITLE, NOT_CLAIMED, settings=settings, source="see each check")


def _sentences(words: list[tuple[str, str]], titles: list[str]) -> str:
    """Verdicts of single checks first, then what is the case beside the controls, grouped by what is said."""
    alone = [f"{title}: {text}" for title, text in words if title in titles]
    beside: dict[str, list[str]] = {}
    for standing, title in words:
        if standing not in titles:
            beside.setdefault(standing, []).append(title)
    grouped = [
        f"{said} by {' and '.join(names) if len(names) < 3 else _listed(names)}" for said, names in beside.items()
    ]
    return ". ".join(text[:1].upper() + text[1:] for text in [*alone, "; ".join(grouped)] if text) + "."


def _listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1]


def _measured(check: Check, trial: Trial) -> list[Measure]:
    if check.needs_masks and trial.masks is None:
        raise OptionError(f"{check.title} needs masks", got="none", expected="bool (N, H, W): where the evidence is")
    return check.measures(trial)


@checked
def with_verdict(attribution: Attribution, card: Scorecard, row: str | None = None) -> Attribution:
    """The attribution with the verdict of a scorecard's row (the one of its title) in ``meta["verdict"]``, where pages
    show it.

    Raises:
        OptionError: the scorecard has no such row.
    """
    given: tuple[Any, Any] = (attribution, card)
    if not isinstance(given[0], Attribution) or not isinstance(given[1], Scorecard):
        raise OptionError(
            "a verdict goes from a scorecard to an attribution",
            got=f"{type(attribution).__name__} and {type(card).__name__}",
            expected="an Attribution and a Scorecard",
        )
    name = row if row is not None else attribution.title
    if name not in card.rows:
        raise OptionError("the scorecard has no such row", got=name, expected=", ".join(card.rows))
    return attribution.with_meta(verdict=card.verdicts[card.rows.index(name)])
