"""Check: one question to the maps of several methods, answered by a table."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, dataclass_transform

import numpy as np
from torch import nn

from fluoroscope.arguments import checked
from fluoroscope.errors import OptionError
from fluoroscope.methods.base import versions
from fluoroscope.model.subject import Subject, fingerprint
from fluoroscope.model.targets import TargetLike
from fluoroscope.options import check_options, option, plain
from fluoroscope.results import Array, Scorecard
from fluoroscope.trust.trial import Trial

__all__ = ["Check", "Measure", "advantage", "check", "gaps", "mean", "scorecard", "standard_error"]

STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
"""Two-sided 95 % quantiles of Student's t for 1 to 10 degrees of freedom."""


@dataclass(frozen=True)
class Measure:
    """A column: ``values`` (N,) per row, one number per example; ``reference`` is what chance reaches, NaN where there
    is no such number.
    """

    name: str
    values: Mapping[str, Array]
    unit: str = ""
    better: str = ""
    reference: float = float("nan")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
def check(cls: type[Any]) -> Any:
    """Class decorator: a frozen keyword-only dataclass of options."""
    return checked(dataclass(frozen=True, kw_only=True)(cls))


@dataclass(frozen=True, kw_only=True)
class Check:
    """Base of all checks. Call one with methods of attribution, a network and inputs; it returns a
    :class:`~fluoroscope.results.Scorecard`. Subclasses write :meth:`measures` and :meth:`verdict`.
    """

    title: ClassVar[str] = ""
    source: ClassVar[str] = ""
    not_claimed: ClassVar[str] = ""
    needs_masks: ClassVar[bool] = False

    controls: bool = option(True, "also score random maps and an edge detector")
    batch_size: int = option(32, "changed inputs per batch; halves by itself when memory runs out", low=1)
    seed: int = option(0, "seed of everything random", low=0)

    def __post_init__(self) -> None:
        check_options(self)

    @checked
    def __call__(
        self,
        methods: Any,
        model: nn.Module | Subject,
        inputs: Any,
        masks: Any = None,
        *,
        target: TargetLike = "predicted",
    ) -> Scorecard:
        """Check ``methods`` (names, classes or methods with options, one or several) on ``inputs``.

        ``masks`` (N, H, W) marks where the evidence is known to be; only checks of localisation need them.

        Raises:
            OptionError: no method named, one that gives no attribution, or no masks where they are needed.
            InputError: masks that do not fit.
            FluoroscopeError: no method at all could be run; it is the first one's error.
        """
        if self.needs_masks and masks is None:
            raise OptionError(
                f"{self.title} needs masks",
                got="none",
                expected="bool (N, H, W): where the evidence is",
                remedy="call it with masks: check(methods, model, inputs, masks)",
            )
        trial = Trial.of(methods, model, inputs, masks, target, seed=self.seed, batch_size=self.batch_size)
        found = self.measures(trial)
        said = {row: self.verdict(row, found, trial) for row in trial.maps}
        return scorecard(trial, found, said, self.title, self.not_claimed, settings=self.settings(), source=self.source)

    def measures(self, trial: Trial) -> list[Measure]:
        """The columns."""
        raise NotImplementedError

    def verdict(self, row: str, found: Sequence[Measure], trial: Trial) -> str:
        """One plain sentence on method ``row``."""
        raise NotImplementedError

    def standing(self, row: str, found: Sequence[Measure], trial: Trial) -> str | None:
        """How method ``row`` does beside the controls, where that is what the verdict says; else None."""
        return None

    @classmethod
    def options(cls) -> list[dataclasses.Field[Any]]:
        """The fields, which are the options."""
        return list(fields(cls))

    def settings(self) -> dict[str, Any]:
        """The options and their values, as plain values."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}


def scorecard(
    trial: Trial,
    found: Sequence[Measure],
    said: Mapping[str, str],
    title: str,
    not_claimed: str,
    *,
    settings: dict[str, Any],
    source: str,
) -> Scorecard:
    """The columns as one table: methods, then controls, then methods that failed."""
    scored = dict.fromkeys(row for measure in found for row in measure.values)
    rows = [*trial.maps, *(r for r in scored if r not in trial.maps), *trial.errors]
    nothing = np.full(1, np.nan)
    cells = [[np.asarray(m.values.get(row, nothing)) for m in found] for row in rows]
    failed = {row: f"failed: {error.what}" for row, error in trial.errors.items()}
    count = trial.inputs.count
    return Scorecard(
        title=title,
        caption=f"On {count} {'input' if count == 1 else 'inputs'}. {not_claimed}",
        rows=tuple(rows),
        columns=tuple(m.name for m in found),
        table=np.array([[mean(c) for c in line] for line in cells]).reshape(len(rows), len(found)),
        errors=np.array([[standard_error(c) for c in line] for line in cells]).reshape(len(rows), len(found)),
        units=tuple(m.unit for m in found),
        better=tuple(m.better for m in found),
        reference=tuple(float(m.reference) for m in found),
        verdicts=tuple({**said, **failed}.get(row, "a control: it asks no network") for row in rows),
        meta=_provenance(trial, settings, source),
    )


def _provenance(trial: Trial, settings: dict[str, Any], source: str) -> dict[str, Any]:
    return {
        "options": settings,
        "methods": {row: {"method": m.name, "options": m.settings()} for row, m in trial.methods.items()},
        "model": trial.subject.title,
        "fingerprint": fingerprint(trial.subject.module),
        "device": str(trial.subject.device),
        "dtype": str(trial.subject.dtype).removeprefix("torch."),
        "seed": trial.seed,
        "seconds": round(time.perf_counter() - trial.started, 4),
        "forwards": trial.forwards,
        "backwards": trial.backwards,
        "versions": versions(),
        "source": source,
        **trial.facts,
        "notes": list(trial.notes),
    }


def mean(values: Array) -> float:
    """Of what is finite; NaN where nothing is."""
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if kept.size else float("nan")


def standard_error(values: Array) -> float:
    """Of the mean over examples; of a share by Agresti and Coull's rule, so that 100 % does not look certain. NaN where
    one example says nothing about the others.
    """
    if values.dtype == bool:
        count = len(values) + 4
        rate = (values.sum() + 2) / count
        return float(np.sqrt(rate * (1 - rate) / count))
    kept = values[np.isfinite(values)]
    return float(kept.std(ddof=1) / np.sqrt(len(kept))) if len(kept) > 1 else float("nan")


def advantage(measure: Measure, row: str, other: str) -> int | None:
    """1 where ``row`` does better than ``other`` on the same examples, -1 where worse, 0 where they can't be told
    apart (paired t-test at 5 %); None where there are fewer than two examples.
    """
    found = gaps(measure, row, other)
    if len(found) < 2:
        return None
    freedom = len(found) - 1
    bound = STUDENT[freedom - 1] if freedom <= len(STUDENT) else 1.96 + 2.6 / freedom
    doubt = bound * found.std(ddof=1) / np.sqrt(len(found))
    return int(np.sign(found.mean())) if abs(found.mean()) > doubt else 0


def gaps(measure: Measure, row: str, other: str) -> Array:
    """By how much ``row`` does better than ``other``, on each example on which both have a number."""
    way = -1.0 if measure.better == "low" else 1.0
    found = way * (np.asarray(measure.values[row], float) - np.asarray(measure.values[other], float))
    return np.asarray(found[np.isfinite(found)])
