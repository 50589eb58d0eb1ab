"""TensorHistory: statistics of many tensors over the steps of a training, layer by step."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fluoroscope.results.record import Array, Record, record, value
from fluoroscope.results.result import Result

__all__ = ["TensorHistory", "TensorHistograms"]


@record
class TensorHistograms(Record):
    """Signed histograms of one quantity: ``counts`` (L, S, B) of each tensor at each of ``steps`` (S,).

    ``edges`` (B + 1,) ascend and are the same for all; they are spaced evenly in the logarithm of the magnitude on both
    sides of zero. ``sampled`` is the share of entries that were looked at.
    """

    kind: ClassVar[str] = "tensor-histograms"
    steps: Array = value()
    edges: Array = value()
    counts: Array = value()
    sampled: float = value(default=1.0)


@record
class TensorHistory(Result):
    """Statistics of L tensors (or layers) at S steps, tensors in the order of the network.

    ``statistics`` maps a quantity (``"gradient/norm"``, ``"weight/norm"``, ``"update/norm"``, ``"update/ratio"``,
    ``"gradient/zero_share"``, ``"activation/dead"`` …) to an array (L, S); NaN where it was not recorded *or* is NaN,
    which ``recorded`` (same keys, boolean) tells apart. ``units`` says the unit of each quantity.
    """

    kind: ClassVar[str] = "tensor-history"
    names: tuple[str, ...] = value()
    steps: Array = value()
    statistics: dict[str, Array] = value()
    recorded: dict[str, Array] = value(default_factory=dict)
    units: dict[str, str] = value(default_factory=dict)
    histograms: dict[str, TensorHistograms] = value(default_factory=dict)
    layers: tuple[str, ...] = value(default=())

    @property
    def values(self) -> Array:
        """Quantities (Q, L, S) in the order of ``statistics``."""
        if not self.statistics:
            return np.zeros((0, len(self.names), len(self.steps)))
        return np.stack(list(self.statistics.values()))
