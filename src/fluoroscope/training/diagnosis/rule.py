"""The contract of a rule: what it is called, what it needs, its thresholds, and the findings it gives."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self, dataclass_transform

from fluoroscope.errors import OptionError, nearest
from fluoroscope.results import Finding, Series
from fluoroscope.results.findings import Severity
from fluoroscope.training.diagnosis.evidence import Curve, Evidence

__all__ = ["NOT_LEARNING", "Rule", "Undecided", "find_rules", "quantities", "rule", "rules", "threshold"]

CURVES = {
    "loss": "the training loss",
    "val_loss": "the validation loss",
    "accuracy": "the training accuracy",
    "val_accuracy": "the validation accuracy",
    "rate": "the learning rate",
}
"""What a rule can need besides statistics of tensors, as attributes of :class:`Evidence`."""

LEVELS = ("loss", "val_loss")
"""Curves whose level and course are judged."""

STATISTICS = (
    "gradient/norm",
    "gradient/mean",
    "weight/norm",
    "update/norm",
    "update/ratio",
    "activation/std",
    "activation/dead",
    "activation/saturated",
)
"""The statistics of tensors that rules look at."""


NOT_LEARNING = (
    "vanishing-gradients",
    "unchanged-parameters",
    "dead-units",
    "saturated-units",
    "learning-rate-low",
    "learning-rate-high",
    "schedule-ended",
    "clipping-always",
    "weights-collapse",
)
"""Rules that say why a loss does not fall; that it does not may follow from any of them."""


class Undecided(Exception):
    """Raised by a rule that can't say anything about this run; its text says why."""


def threshold(default: float, text: str, *, low: float = 0.0, high: float | None = None) -> Any:
    """A field that is a threshold of a rule: its default, what it means, and its bounds."""
    return field(default=default, metadata={"help": text, "low": low, "high": high})


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Base of all rules. The fields are thresholds; :meth:`find` gives the findings for one run.

    ``needs`` names curves (``"loss"``) and statistics of tensors (``"gradient/norm"``); where one is missing, or the
    run is shorter than ``least`` points of the first of them, the rule is skipped and says so.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    source: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    least: ClassVar[int] = 20
    advice: ClassVar[tuple[str, ...]] = ()
    follows: ClassVar[tuple[str, ...]] = ()  # rules whose findings may be the cause of this one's
    lasting: ClassVar[bool] = False  # "not yet" and "never" look alike in a young run: live, it has to last

    def __post_init__(self) -> None:
        for f in fields(self):
            value, low, high = getattr(self, f.name), f.metadata["low"], f.metadata["high"]
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not value >= low or (high is not None and value > high):
                bounds = f"at least {low}" if high is None else f"{low} to {high}"
                raise OptionError(
                    f"rule {self.name!r}: threshold {f.name!r} is out of range", got=value, expected=bounds
                )

    def find(self, run: Evidence) -> Iterator[Finding]:
        """The findings of this rule. Raises Undecided where it can't say anything."""
        raise NotImplementedError

    def missing(self, run: Evidence) -> str | None:
        """Why the rule can't be applied to this run; None where it can."""
        for i, need in enumerate(self.needs):
            if need in LEVELS and run.moving_target and need not in run.given:
                whose = f"the losses are those of {run.moving_target}, and need not fall"
                return f"{whose}; {need}=NAME names one to judge by"
            found = getattr(run, need) if need in CURVES else run.statistic(need)
            if found is None:
                what = CURVES.get(need, f"{need} of tensors")
                return f"{what} can't be read" if run.lost(need) else f"{what} was not recorded"
            count = len(found.steps)
            if i == 0 and count < self.least:
                return (
                    f"{CURVES.get(need, need)} has {count} point{'s' * (count != 1)}, and the rule needs {self.least}"
                )
        return None

    def finding(
        self,
        severity: Severity,
        evidence: str,
        *,
        confidence: float = 0.8,
        layers: Sequence[str] = (),
        steps: Sequence[int] = (),
        numbers: Mapping[str, float] | None = None,
        curves: Sequence[Curve | None] = (),
        reference: float = float("nan"),
        advice: Sequence[str] | None = None,
        title: str | None = None,
    ) -> Finding:
        """A finding of this rule. A number that is not known, NaN, is no evidence and left out."""
        series: dict[str, Series] = {c.name: c.series() for c in curves if c is not None}
        return Finding(
            rule=self.name,
            title=title or self.title,
            severity=severity,
            confidence=float(confidence),
            layers=tuple(map(str, layers)),
            steps=tuple(int(s) for s in steps),
            evidence=evidence,
            numbers={k: float(v) for k, v in (numbers or {}).items() if v == v},
            series=series,
            reference=reference,
            advice=tuple(self.advice if advice is None else advice),
            source=self.source,
        )

    def replace(self, **changes: Any) -> Self:
        """The same rule with some thresholds changed."""
        return dataclasses.replace(self, **changes)


_RULES: dict[str, type[Rule]] = {}


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field, threshold))
def rule(cls: type[Any]) -> Any:
    """Class decorator: a frozen keyword-only dataclass of thresholds, entered into the registry under ``cls.name``."""
    made = dataclass(frozen=True, kw_only=True)(cls)
    if not made.name or _RULES.get(made.name, made).__qualname__ != made.__qualname__:
        raise TypeError(f"rule {made.__qualname__} has no name of its own: {made.name!r}")
    _RULES[made.name] = made
    return made


def rules() -> dict[str, type[Rule]]:
    """All rules by name."""
    import fluoroscope.training.diagnosis.rules as package

    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
    return dict(sorted(_RULES.items()))


def quantities() -> tuple[str, ...]:
    """The statistics of tensors that rules look at."""
    return STATISTICS


def find_rules(asked: str | type[Rule] | Rule | Iterable[str | type[Rule] | Rule] | None) -> list[Rule]:
    """The rules asked for, all where none are. Raises OptionError for a name that is not known."""
    known = rules()
    if isinstance(asked, (str, Rule, type)):
        asked = [asked]
    if asked is None:
        return [cls() for cls in known.values()]
    if not isinstance(asked, Iterable):
        raise OptionError("rules are given by their names", got=repr(asked), expected=f"a list of {', '.join(known)}")
    return [_one(a, known) for a in asked]


def _one(asked: str | type[Rule] | Rule, known: Mapping[str, type[Rule]]) -> Rule:
    if isinstance(asked, Rule):
        return asked
    if isinstance(asked, type) and issubclass(asked, Rule):
        return asked()
    if asked not in known:
        raise OptionError(
            "no rule of that name", got=asked, expected=", ".join(known), nearest=nearest(str(asked), known)
        )
    return known[asked]()
