"""Weight maps: what the parameters of a network look like, no data needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from fluoroscope.methods.base import method, option
from fluoroscope.methods.weights.experts import expert_of, fused_layer, grids
from fluoroscope.methods.weights.looking import WeightMethod
from fluoroscope.methods.weights.summary import MANY, MARGIN, Look, planned
from fluoroscope.model.weights import Weight
from fluoroscope.results import ExpertGrid, TensorRecord, TensorSummary

__all__ = ["WeightMaps", "expert_grids"]


@method
class WeightMaps(WeightMethod):
    """Weight maps: every parameter tensor with exact statistics, its histograms and pictures of its values.

    ``WeightMaps()(network)``, or ``WeightMaps()("model.safetensors")`` for weights without a network: a file, the
    ``.safetensors.index.json`` of many, or their folder. Files are read piece by piece, each tensor once, so that
    memory does not grow with them.

    Convolutions are shown as filters where they are few enough to be looked at, larger ones and dense layers as
    matrices (outputs x inputs), one-dimensional tensors as they are. A matrix larger than ``side`` is shown at several
    resolutions: cells of 2^i x 2^j entries, each cell its entry of largest magnitude, so that an outlier stays visible
    at every zoom; finer pictures are kept up to ``zoom`` cells altogether. Norms of rows and columns stand beside it.

    ``zero_share`` is the share of entries below a thousandth of the tensor's root mean square, rounded down to the
    grid of the histogram (steps of 1/128 of a power of two); ``zero_threshold`` is that magnitude. A row (a filter, a
    unit) is dead where its norm is at most a millionth of the rows' median norm, a duplicate where its cosine with an
    earlier row is at least ``alike``; duplicates are sought among at most 8,192 rows of at least 8 entries, in large
    matrices first by random sums. Experts of a mixture, recognised by their names, get a table of layers by
    experts. Tied tensors appear once; NaN and infinities are counted and kept in the pictures.

    Source: Krizhevsky et al., *ImageNet Classification with Deep CNNs*, 2012, figure 3, for filter grids.

    Returns a :class:`~fluoroscope.results.TensorSummary`; values in the units of the weights.

    Raises:
        NotApplicable: the network has no parameters, or they have no values.
        OptionError: no tensor's name fits ``match``.
        ModelError: a file is truncated, corrupt, or promises what it does not hold.
    """

    name: ClassVar[str] = "weights"
    title: ClassVar[str] = "Weights"
    in_report: ClassVar[bool] = True
    family: ClassVar[str] = "weights"
    phase: ClassVar[Any] = "before"
    returns: ClassVar[type[TensorSummary]] = TensorSummary
    needs: ClassVar[Any] = frozenset()
    joins: ClassVar[bool] = False
    source: ClassVar[str] = "Krizhevsky et al., 2012, fig. 3"

    match: str = option("*", "which tensors, as a pattern of names: 'layer1.*', '*.weight'")
    side: int = option(256, "largest side of the coarsest picture, in cells", low=8, high=4096)
    zoom: int = option(1 << 22, "cells of all finer pictures together", low=0)
    bins: int = option(64, "bars of each histogram", low=2, high=4096)
    alike: float = option(0.999, "cosine from which a row is a duplicate", low=0.5, high=1.0)

    def look(
        self, weights: Sequence[Weight], note: Callable[[str], None], advance: Callable[[], None]
    ) -> TensorSummary:
        """One tensor after the other, so that memory holds a block of one at a time."""
        how = Look(self.bins, self.alike, MARGIN if len(weights) <= MANY else self.side, self.seed)
        made = []
        for weight, steps in zip(weights, planned(weights, self.side, self.zoom), strict=True):
            made.append(how.at(weight, steps))
            advance()
        tensors = tuple(made)
        size = sum(t.size for t in tensors)
        return TensorSummary(
            title=self.title,
            caption=f"{len(tensors):,} {'tensor' if len(tensors) == 1 else 'tensors'}, {size:,} values",
            tensors=tensors,
            grids=expert_grids(tensors),
        )


def expert_grids(tensors: Sequence[TensorRecord]) -> tuple[ExpertGrid, ...]:
    """Tables of layers by experts: one tensor for each expert, or one for all experts of a layer."""
    return grids(cell for t in tensors for cell in _cells(t))


def _cells(tensor: TensorRecord) -> Iterator[tuple[str, int, int, Mapping[str, float]]]:
    place = expert_of(tensor.name)
    if place is not None and tensor.statistics["l2"] == tensor.statistics["l2"]:
        found = tensor.statistics
        largest = max(-found["min"], found["max"])
        numbers = {"norm": found["l2"], "spread": found["std"], "largest magnitude": largest}
        yield place.pattern, place.layer, place.expert, numbers
    fused = fused_layer(tensor.name) if len(tensor.shape) == 3 and tensor.row_norms is not None else None
    if fused is not None and tensor.row_norms is not None and len(tensor.row_norms) == tensor.shape[0]:
        entries = max(1, int(np.prod(tensor.shape[1:], dtype=np.int64)))
        for expert, norm in enumerate(tensor.row_norms):
            numbers = {"norm": float(norm), "root mean square": float(norm) / entries**0.5}
            yield fused[0], fused[1], expert, numbers
