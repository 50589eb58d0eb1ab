"""TensorSummary: statistics and a faithful picture of each of many tensors."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from fluoroscope.results.record import Array, Record, record, value
from fluoroscope.results.result import Result

__all__ = ["TensorRecord", "TensorSummary"]

STATISTICS = ("mean", "std", "min", "max", "l2", "zero_share", "nonfinite")


@record
class TensorRecord(Record):
    """One tensor: exact statistics over all entries, a signed histogram, and a picture.

    ``statistics`` holds :data:`STATISTICS`; NaN and infinities are left out of all but ``nonfinite``, their count.
    ``counts`` (B,) between ``edges`` (B + 1,) is the histogram over all finite entries.
    ``picture`` shows the values themselves: ``"filters"`` is (filters, channels, height, width), ``"matrix"`` is
    (rows, columns), ``"vector"`` is (entries,). Where a tensor is larger than its picture, ``reduced`` is true and
    every cell shows the entry of largest magnitude among those it stands for, so that an outlier stays visible.
    """

    kind: ClassVar[str] = "tensor"
    name: str = value()
    shape: tuple[int, ...] = value()
    dtype: str = value()
    role: str = value(default="")
    shared_with: tuple[str, ...] = value(default=())
    statistics: dict[str, float] = value(default_factory=dict)
    edges: Array = value()
    counts: Array = value()
    picture: Array = value()
    form: Literal["filters", "matrix", "vector"] = value(default="vector")
    reduced: bool = value(default=False)

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(np.prod(self.shape, dtype=np.int64))


@record
class TensorSummary(Result):
    """A table of tensors, for example all weights of a network; shared tensors appear once."""

    kind: ClassVar[str] = "tensor-summary"
    tensors: tuple[TensorRecord, ...] = value()

    @property
    def values(self) -> Array:
        """Statistics (tensors, len(STATISTICS)), one row per tensor in the order of ``tensors``."""
        return np.array([[t.statistics[s] for s in STATISTICS] for t in self.tensors]).reshape(-1, len(STATISTICS))

    def tensor(self, name: str) -> TensorRecord:
        """The record of the tensor ``name``. Raises KeyError."""
        return next((t for t in self.tensors if t.name == name or name in t.shared_with), None) or _missing(name)


def _missing(name: str) -> TensorRecord:
    raise KeyError(name)
