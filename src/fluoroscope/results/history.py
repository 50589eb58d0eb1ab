"""History: quantities over the steps of a training."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fluoroscope.results.record import Array, Record, record, value
from fluoroscope.results.result import Result

__all__ = ["History", "Series"]


@record
class Series(Record):
    """One quantity: ``values[i]`` was seen at ``steps[i]``. NaN and infinity are kept, never dropped."""

    kind: ClassVar[str] = "series"
    steps: Array = value()
    values: Array = value()
    unit: str = value(default="")
    group: str = value(default="")

    def extended(self, steps: Array, values: Array) -> Series:
        """The series with later points added."""
        return self.replace(steps=np.concatenate([self.steps, steps]), values=np.concatenate([self.values, values]))


@record
class History(Result):
    """Named series of one run; those with the same ``group`` belong on one pair of axes."""

    kind: ClassVar[str] = "history"
    series: dict[str, Series] = value()
    axis: str = value(default="step")

    @property
    def values(self) -> Array:
        """Last value of each series (S,), in the order of ``series``."""
        return np.array([s.values[-1] if len(s.values) else np.nan for s in self.series.values()])
