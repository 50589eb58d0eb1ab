"""One tensor as a record: read once, block by block, whatever its size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fluoroscope.methods.weights.duplicates import Duplicates, dead_rows
from fluoroscope.methods.weights.filter_order import orders
from fluoroscope.methods.weights.magnitude_counts import MagnitudeCounts
from fluoroscope.methods.weights.pyramid import Pyramid
from fluoroscope.methods.weights.tally import Tally
from fluoroscope.model.weights import Weight
from fluoroscope.results import Array, TensorRecord
from fluoroscope.results.pyramid import coarsest_step, finer_steps, levels_within, reduced

__all__ = ["NEAR_ZERO", "Look", "form_of", "planned"]

NEAR_ZERO = 1e-3  # of the root mean square
FILTER_ENTRIES = 1 << 17
FIRST_LAYER = 1 << 20  # entries of filters with at most four channels, which are looked at in any number
BLOCK = 1 << 17  # entries at a time: what is made of them stays in the processor's cache
MARGIN = 1 << 14  # norms of rows or columns that are kept one by one
MANY = 512  # tensors, beyond which their pictures and margins get small


def form_of(weight: Weight) -> str:
    """Filters where they are few enough to be looked at, else a matrix, or a vector."""
    shape = weight.shape
    small = weight.size <= FILTER_ENTRIES or (len(shape) == 4 and shape[1] <= 4 and weight.size <= FIRST_LAYER)
    if len(shape) == 4 and shape[2] * shape[3] > 1 and small and weight.size:
        return "filters"
    return "matrix" if len(shape) > 1 else "vector"


def planned(weights: Sequence[Weight], side: int, budget: int) -> list[list[tuple[int, int]]]:
    """Steps of the levels of each tensor's picture, so that all finer levels together have ``budget`` cells at most."""
    many = len(weights)
    side = side if many <= MANY else max(8, min(side, int((budget / many) ** 0.5)))
    steps = [_steps(w, side) for w in weights]
    costs = [
        [0.0, *(float(-(-w.rows // d) * -(-w.columns // a)) for d, a in s[1:])]
        for w, s in zip(weights, steps, strict=True)
    ]
    return [s[:n] for s, n in zip(steps, levels_within(costs, budget), strict=True)]


def _steps(weight: Weight, side: int) -> list[tuple[int, int]]:
    form = form_of(weight)
    if form == "matrix" and weight.size:
        return finer_steps(weight.rows, weight.columns, side)
    return [(1, coarsest_step(weight.size, side * side) if form == "vector" else 1)]


@dataclass(frozen=True)
class Look:
    """How a tensor is summarized: bars of its histograms, cosine of duplicates, the longest margin, the seed."""

    bins: int = 64
    alike: float = 0.999
    margin: int = MARGIN
    seed: int = 0

    def at(self, weight: Weight, steps: list[tuple[int, int]]) -> TensorRecord:
        """The record of ``weight`` with pictures at ``steps``."""
        tally, twins = Tally(weight.rows, weight.columns), Duplicates(weight, self.alike, self.seed)
        counts, pyramid, lost = MagnitudeCounts(np.float32), None, 0
        form = form_of(weight)
        whole = weight.flat(0, weight.size).reshape(weight.shape) if form == "filters" else None
        for row, column, values in weight.blocks(BLOCK, steps[-1][0]):
            if pyramid is None:
                counts = MagnitudeCounts(values.dtype)
                pyramid = Pyramid(weight.rows, weight.columns, steps, values.dtype)
            missing = counts.add(values)
            lost += missing
            tally.add(row, column, values, missing)
            twins.add(row, column, values, missing)
            if form != "filters":
                pyramid.add(row, column, values)
        pictures = (
            [whole]
            if whole is not None
            else pyramid.levels()
            if pyramid
            else [np.zeros((weight.rows, weight.columns), np.float32)]
        )
        return self._record(weight, form, steps, pictures, tally, counts, twins, lost)

    def _record(
        self,
        weight: Weight,
        form: Any,
        steps: Any,
        pictures: list[Array],
        tally: Tally,
        counts: Any,
        twins: Any,
        lost: int,
    ) -> TensorRecord:
        picture = pictures[0][0] if form == "vector" and pictures[0].ndim > 1 else pictures[0]
        edges, bars, log_edges, log_bars = self._histograms(tally, counts)
        statistics = {
            **tally.statistics,
            **_near_zero(tally, counts),
            "nonfinite": float(lost),
            "zeros": float(counts.zeros),
        }
        extra = (
            self._rows(weight, tally, twins, pictures[0] if form == "filters" else None)
            if len(weight.shape) > 1
            else {}
        )
        for name, key in (("dead", "dead"), ("duplicates", "duplicates")):
            if key in extra:
                statistics[name] = float(len(extra[key]))
        return TensorRecord(
            name=weight.name,
            shape=weight.shape,
            dtype=weight.dtype,
            role=weight.role,
            shared_with=weight.shared_with,
            statistics=statistics,
            edges=edges,
            counts=bars,
            log_edges=log_edges,
            log_counts=log_bars,
            picture=picture,
            form=form,
            reduced=steps[0] != (1, 1),
            levels=tuple(pictures[1:]),
            steps=tuple(steps),
            peak=tally.peak if tally.count else (),
            **extra,
        )

    def _histograms(self, tally: Tally, counts: MagnitudeCounts) -> tuple[Array, Array, Array, Array]:
        if not tally.count:
            edges, nothing = np.linspace(-1, 1, self.bins + 1), np.zeros(self.bins, dtype=np.int64)
            return edges, nothing, edges, nothing
        largest = tally.largest or 1.0
        return (*counts.linear(largest, self.bins), *counts.logarithmic(largest, self.bins))

    def _rows(self, weight: Weight, tally: Tally, twins: Duplicates, filters: Array | None) -> dict[str, Any]:
        """Norms of rows and columns, rows that are dead or repeated, and orders of filters."""
        found: dict[str, Any] = {}
        if tally.column_squares is not None:
            found["column_norms"] = self._margin(np.sqrt(tally.column_squares))
        if tally.row_squares is None:
            return found
        norms = np.sqrt(tally.row_squares)
        found["row_norms"] = self._margin(norms)
        found["dead"] = dead_rows(norms)
        found["duplicates"], found["likeness"] = twins.found(norms, found["dead"])
        if filters is not None:
            found["orders"] = orders(filters.reshape(len(filters), -1).astype(np.float64), norms)
        return found

    def _margin(self, norms: Array) -> Array:
        """Norms as they are, or where there are very many the largest of each few."""
        step = coarsest_step(len(norms), self.margin)
        return norms if step == 1 else reduced(norms[:, None], step, 1)[:, 0]


def _near_zero(tally: Tally, counts: MagnitudeCounts) -> dict[str, float]:
    if not tally.count:
        return {"zero_share": float("nan"), "zero_threshold": float("nan")}
    below, threshold = counts.below(NEAR_ZERO * (tally.squares / tally.count) ** 0.5)
    return {"zero_share": below / tally.count, "zero_threshold": threshold}
