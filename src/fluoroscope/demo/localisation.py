"""Does the picture tell the truth? How often an attribution's peak falls on the digit, where the truth is known."""

from __future__ import annotations

from fluoroscope.demo.scenes import Scenes
from fluoroscope.methods.base import Method
from fluoroscope.methods.registry import methods
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.subject import Subject
from fluoroscope.results import Attribution, Scorecard
from fluoroscope.trust.localization import Localization

__all__ = ["attribution_methods", "localisation"]


def attribution_methods(subject: Subject) -> list[Method]:
    """Every registered method of attribution that applies, with its default options; none is left out by its
    results.
    """
    made = [cls() for cls in methods().values() if issubclass(cls.returns, Attribution) and "loss" not in cls.needs]
    return [m for m in made if m.check(subject) is None]


def localisation(subject: Subject, inputs: Inputs, scenes: Scenes) -> Scorecard:
    """The pointing game for every method, for the true class of each scene; methods that fail say why."""
    check = Localization(thing="digit", controls=False)
    card = check(attribution_methods(subject), subject, inputs, scenes.masks, target=scenes.labels)
    return card.replace(
        title="Is the picture true?",
        caption=f"On {len(scenes)} scenes that the network never saw and reads rightly; the digit's place is known, "
        f"the network was never told it. A random place is on the digit in {scenes.chance:.0%} of cases.",
    )
