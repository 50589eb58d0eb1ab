"""Does the picture tell the truth? How often an attribution's peak falls on the digit, where the truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from fluoroscope.demo.scenes import Scenes
from fluoroscope.errors import FluoroscopeError
from fluoroscope.methods.base import Method
from fluoroscope.methods.registry import methods
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.subject import Subject
from fluoroscope.results import Attribution, Scorecard
from fluoroscope.results.record import Array

__all__ = ["Located", "attribution_methods", "locate", "scorecard"]

COLUMNS = ("peak on the digit", "evidence on the digit")


@dataclass(frozen=True)
class Located:
    """One method's outcome per scene: ``peak`` (N,) whether the peak is on the digit, ``mass`` (N,) the share of
    evidence there.
    """

    title: str
    peak: Array
    mass: Array


def attribution_methods(subject: Subject) -> list[Method]:
    """Every registered method of attribution that applies, with its default options; none is left out by its
    results.
    """
    made = [cls() for cls in methods().values() if issubclass(cls.returns, Attribution) and "loss" not in cls.needs]
    return [m for m in made if m.check(subject) is None]


def locate(method: Method, model: nn.Module | Subject, inputs: Inputs, scenes: Scenes) -> Located:
    """Run a method for the true class of each scene and compare it with the digit's box.

    The peak is the middle of the cell with the largest value (Zhang et al., *Top-down Neural Attention*, 2016: the
    pointing game); evidence is the sum of positive values, after enlarging the map to the scene. A map without any
    positive value counts as a miss.
    """
    result: Attribution = method(model, inputs, target=scenes.labels)
    height, width = scenes.images.shape[2:]
    single = result.replace(data=np.stack([result.map(n) for n in range(len(scenes))]), axes=("N", "H", "W"))
    full = np.clip(single.resized(height, width), 0, None)
    rows, columns = np.unravel_index(full.reshape(len(full), -1).argmax(1), (height, width))
    total = full.sum((1, 2))
    mass = np.divide((full * scenes.masks).sum((1, 2)), total, out=np.zeros_like(total), where=total > 0)
    return Located(result.title, scenes.hits(rows, columns) & (total > 0), mass)


def scorecard(found: list[Located | tuple[str, FluoroscopeError]], scenes: Scenes) -> Scorecard:
    """The table of :class:`Located`, with standard errors over scenes and what a random place reaches."""
    done = [f for f in found if isinstance(f, Located)]
    failed = [f for f in found if not isinstance(f, Located)]
    table = np.array([[f.peak.mean(), f.mass.mean()] for f in done]).reshape(-1, 2)
    errors = np.array([[_standard_error(f.peak), _standard_error(f.mass)] for f in done]).reshape(-1, 2)
    return Scorecard(
        title="Is the picture true?",
        caption=f"on {len(scenes)} scenes that the network never saw and reads rightly; the digit's place is known, "
        f"the network was never told it. A random place is on the digit in {scenes.chance:.0%} of cases.",
        rows=tuple(f.title for f in done) + tuple(title for title, _ in failed),
        columns=COLUMNS,
        table=np.concatenate([table, np.full((len(failed), 2), np.nan)]),
        errors=np.concatenate([errors, np.full((len(failed), 2), np.nan)]),
        units=("share", "share"),
        better=("high", "high"),
        reference=(scenes.chance, scenes.chance),
        verdicts=tuple(_verdict(f, scenes.chance) for f in done) + tuple(f"failed: {e.what}" for _, e in failed),
    )


def _standard_error(values: Array) -> Any:
    """Of the mean; of a share by Agresti and Coull's rule, so that a share of 100 % does not look certain."""
    if values.dtype == bool:
        count = len(values) + 4
        share = (values.sum() + 2) / count
        return np.sqrt(share * (1 - share) / count)
    return values.std() / np.sqrt(len(values))


def _verdict(found: Located, chance: float) -> str:
    """One plain sentence. "Points at" needs nine in ten; twice chance, beyond two standard errors, is better than
    chance.
    """
    rate, error = float(found.peak.mean()), float(_standard_error(found.peak))
    if rate >= 0.9:
        return f"points at the digit: its peak is on it in {rate:.0%} of scenes"
    if rate - 2 * error > chance:
        return f"better than chance, but its peak misses the digit in {1 - rate:.0%} of scenes"
    return "no better than a random place"
