"""Findings: what a diagnosis found, each with its evidence and what to try."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np

from fluoroscope.results.history import Series
from fluoroscope.results.record import Array, Record, record, value
from fluoroscope.results.result import Result

__all__ = ["Finding", "Findings", "Severity"]

Severity = Literal["problem", "warning", "hint"]


@record
class Finding(Record):
    """One thing that was found: by which ``rule``, where (``layers``), when (``steps``, first and last).

    ``evidence`` says in one sentence what was seen, with the ``numbers`` it rests on; ``series`` are the curves that
    show it; ``reference`` the value that they are held against, NaN where there is none. ``advice`` is what to try,
    the likeliest first; ``source`` where the rule comes from. ``confidence``, 0 to 1, says how far
    the number lies beyond its threshold; it is no probability.
    """

    kind: ClassVar[str] = "finding"
    rule: str = value()
    title: str = value()
    severity: Severity = value(default="warning")
    confidence: float = value(default=1.0)
    layers: tuple[str, ...] = value(default=())
    steps: tuple[int, ...] = value(default=())
    evidence: str = value(default="")
    numbers: dict[str, float] = value(default_factory=dict)
    series: dict[str, Series] = value(default_factory=dict)
    reference: float = value(default=float("nan"))
    advice: tuple[str, ...] = value(default=())
    source: str = value(default="")


@record
class Findings(Result):
    """What a diagnosis found, worst first. ``checked`` names every rule that was applied, ``skipped`` says why others
    could not be.
    """

    kind: ClassVar[str] = "findings"
    items: tuple[Finding, ...] = value(default=())
    checked: tuple[str, ...] = value(default=())
    skipped: dict[str, str] = value(default_factory=dict)

    @property
    def values(self) -> Array:
        """Confidence of each finding (F,)."""
        return np.array([f.confidence for f in self.items], dtype=np.float64)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def of(self, rule: str) -> tuple[Finding, ...]:
        """The findings of one rule."""
        return tuple(f for f in self.items if f.rule == rule)
