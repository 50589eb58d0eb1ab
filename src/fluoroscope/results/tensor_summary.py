"""TensorSummary: statistics and a faithful picture of each of many tensors."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from fluoroscope.results.record import Array, Record, record, value
from fluoroscope.results.result import Result

__all__ = ["Comparison", "ExpertGrid", "TensorRecord", "TensorSummary"]

STATISTICS = ("mean", "std", "min", "max", "l2", "zero_share", "nonfinite")


@record
class TensorRecord(Record):
    """One tensor: exact statistics over all entries, signed histograms, norms of rows and columns, and pictures.

    ``statistics`` holds :data:`STATISTICS`; NaN and infinities are left out of all but ``nonfinite``, their count.
    ``zero_share`` counts magnitudes below ``statistics["zero_threshold"]``, where that is there.
    ``counts`` (B,) between ``edges`` (B + 1,) is the histogram over all finite entries; ``log_counts`` between
    ``log_edges`` is the same with bars of equal ratio on both sides of zero. A bar holds its edge nearer to zero.

    ``picture`` shows the values themselves: ``"filters"`` is (filters, channels, height, width), ``"matrix"`` is
    (rows, columns), ``"vector"`` is (entries,). Where a tensor is larger than its picture, ``reduced`` is true and
    every cell shows the entry of largest magnitude among those it stands for, so that an outlier stays visible.
    ``levels`` are finer pictures of a matrix, coarse to fine, made by the same rule; ``steps`` says how many entries
    (down, across) a cell of the picture and of each level stands for.

    ``row_norms`` (rows,) and ``column_norms`` (columns,) are L2 norms of the tensor as a matrix, its first axis down;
    ``peak`` is the place (row, column) of the entry of largest magnitude. ``dead`` lists rows whose norm is nothing,
    ``duplicates`` (n, 2) rows and an earlier row that each repeats, ``likeness`` (n,) their cosine. ``orders`` are
    orders of the rows by name: ``"norm"``, ``"similar"``.
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
    log_edges: Array | None = value(default=None)
    log_counts: Array | None = value(default=None)
    picture: Array = value()
    form: Literal["filters", "matrix", "vector"] = value(default="vector")
    reduced: bool = value(default=False)
    levels: tuple[Array, ...] = value(default=())
    steps: tuple[tuple[int, int], ...] = value(default=())
    row_norms: Array | None = value(default=None)
    column_norms: Array | None = value(default=None)
    peak: tuple[int, ...] = value(default=())
    dead: Array | None = value(default=None)
    duplicates: Array | None = value(default=None)
    likeness: Array | None = value(default=None)
    orders: dict[str, Array] = value(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(np.prod(self.shape, dtype=np.int64))


@record
class ExpertGrid(Record):
    """A quantity for every layer and every expert of a mixture: ``tables`` maps its name to an array (layers, experts).

    ``pattern`` is the name of the tensors with ``{layer}`` and ``{expert}`` in it; NaN where there is no such tensor.
    """

    kind: ClassVar[str] = "expert-grid"
    pattern: str = value()
    layers: tuple[int, ...] = value()
    experts: tuple[int, ...] = value()
    tables: dict[str, Array] = value()


@record
class Comparison(Record):
    """What two sets of weights have in common and what not: names ``missing`` in the second, ``extra`` in it, and
    ``reshaped`` ones with both shapes. ``before`` and ``after`` name the two.
    """

    kind: ClassVar[str] = "comparison"
    before: str = value()
    after: str = value()
    missing: tuple[str, ...] = value(default=())
    extra: tuple[str, ...] = value(default=())
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = value(default=())
    unchanged: tuple[str, ...] = value(default=())


@record
class TensorSummary(Result):
    """A table of tensors, for example all weights of a network; shared tensors appear once.

    ``grids`` are tables of experts, where there are some. With ``comparison`` the tensors are differences, after minus
    before, and their statistics also have ``l2_before``, ``l2_after``, ``relative`` (norm of the difference by that
    of before) and ``cosine``.
    """

    kind: ClassVar[str] = "tensor-summary"
    tensors: tuple[TensorRecord, ...] = value()
    grids: tuple[ExpertGrid, ...] = value(default=())
    comparison: Comparison | None = value(default=None)

    @property
    def values(self) -> Array:
        """Statistics (tensors, len(STATISTICS)), one row per tensor in the order of ``tensors``."""
        return np.array([[t.statistics[s] for s in STATISTICS] for t in self.tensors]).reshape(-1, len(STATISTICS))

    def tensor(self, name: str) -> TensorRecord:
        """The record of the tensor ``name``. Raises KeyError."""
        return next((t for t in self.tensors if t.name == name or name in t.shared_with), None) or _missing(name)


def _missing(name: str) -> TensorRecord:
    raise KeyError(name)
