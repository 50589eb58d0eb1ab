"""Does the picture tell the truth? How often an attribution's peak falls on the digit, where the truth is known."""

from __future__ import annotations

from dataclasses import fields

from fluoroscope.demo.scenes import Scenes
from fluoroscope.methods.base import Method
from fluoroscope.methods.registry import methods
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.subject import Subject
from fluoroscope.results import Attribution, Scorecard
from fluoroscope.trust.localization import Localization

__all__ = ["attribution_methods", "localisation", "methods_of_many_passes"]

MANY_PASSES = {"samples", "steps", "chunk", "count", "window", "quadrature"}
"""Options of methods that send each example through the network dozens or thousands of times."""


def attribution_methods(subject: Subject) -> list[Method]:
    """Every registered method of attribution that applies and needs a few passes per scene, whatever its results."""
    classes = [c for c in _attributions() if not _needs_many_passes(c)]
    return [m for m in (c() for c in classes) if m.check(subject) is None]


def methods_of_many_passes() -> list[str]:
    """Titles of the methods that are left out because they would take minutes."""
    return [c.title for c in _attributions() if _needs_many_passes(c)]


def _attributions() -> list[type[Method]]:
    return [c for c in methods().values() if issubclass(c.returns, Attribution) and "loss" not in c.needs]


def _needs_many_passes(cls: type[Method]) -> bool:
    return bool(MANY_PASSES & {f.name for f in fields(cls)})


def localisation(subject: Subject, inputs: Inputs, scenes: Scenes) -> Scorecard:
    """The pointing game for every method, for the true class of each scene; methods that fail say why."""
    check = Localization(thing="digit", controls=False)
    card = check(attribution_methods(subject), subject, inputs, scenes.masks, target=scenes.labels)
    return card.replace(
        title="Is the picture true?",
        caption=f"On {len(scenes)} scenes that the network never saw and reads rightly; the digit's place is known, "
        f"the network was never told it. A random place is on the digit in {scenes.chance:.0%} of cases. Not checked "
        f"here, because they need many passes per scene: {', '.join(methods_of_many_passes())}.",
    )
