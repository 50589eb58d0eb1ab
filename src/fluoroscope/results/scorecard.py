"""Scorecard: how well things did, one row each, with their uncertainty."""

from __future__ import annotations

from typing import ClassVar

from fluoroscope.results.record import Array, record, value
from fluoroscope.results.result import Result

__all__ = ["Scorecard"]


@record
class Scorecard(Result):
    """Numbers by ``rows`` (for example methods) and ``columns`` (measures).

    ``table`` is (rows, columns); ``errors`` the standard error of each entry or None; ``units`` one per column
    (``"share"`` is drawn as a percentage); ``better`` says per column which way is good: ``"high"``, ``"low"`` or
    ``""``; ``reference`` per column is what chance or a control reaches, NaN where there is none; ``verdicts`` has a
    plain sentence per row.
    """

    kind: ClassVar[str] = "scorecard"
    rows: tuple[str, ...] = value()
    columns: tuple[str, ...] = value()
    table: Array = value()
    errors: Array | None = value(default=None)
    units: tuple[str, ...] = value(default=())
    better: tuple[str, ...] = value(default=())
    reference: tuple[float, ...] = value(default=())
    verdicts: tuple[str, ...] = value(default=())

    @property
    def values(self) -> Array:
        """The numbers (rows, columns)."""
        return self.table
