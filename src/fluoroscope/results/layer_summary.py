"""LayerSummary: the table of a network's modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from fluoroscope.results.record import Array, Record, record, value
from fluoroscope.results.result import Result

__all__ = ["LayerRow", "LayerSummary"]


@record
class LayerRow(Record):
    """One module: where it sits, what it puts out for one batch, what it costs.

    ``parameters`` counts those of the module and all inside it, a tensor met before (a tied weight) counted where it is
    met first; ``own`` only those it holds itself. ``flops`` are 2 x multiply-adds of matrix products, convolutions and
    attention inside it over all its ``calls``; other arithmetic is not counted. ``bytes`` is the size of its output.
    ``uses`` names what can be done with the layer's output: maps, tokens, vectors, weights, attention.
    """

    kind: ClassVar[str] = "layer-row"
    name: str = value()
    type: str = value()
    depth: int = value(default=0)
    leaf: bool = value(default=True)
    output_shape: tuple[int, ...] | None = value(default=None)
    dtype: str = value(default="")
    parameters: int = value(default=0)
    own: int = value(default=0)
    trainable: int = value(default=0)
    flops: int = value(default=0)
    bytes: int = value(default=0)
    calls: int = value(default=0)
    uses: tuple[str, ...] = value(default=())
    shares: str = value(default="")


@record
class LayerSummary(Result):
    """All modules of a network in the order of definition, and the totals."""

    kind: ClassVar[str] = "layer-summary"
    rows: tuple[LayerRow, ...] = value()
    input_shapes: tuple[tuple[int, ...], ...] = value(default=())
    parameters: int = value(default=0)
    trainable: int = value(default=0)
    parameter_bytes: int = value(default=0)
    buffer_bytes: int = value(default=0)
    flops: int = value(default=0)

    @property
    def values(self) -> Array:
        """Integers (rows, 4): parameters, FLOPs, output bytes, calls."""
        return np.array([[r.parameters, r.flops, r.bytes, r.calls] for r in self.rows], dtype=np.int64).reshape(-1, 4)

    def row(self, name: str) -> LayerRow:
        """The row of the module ``name``. Raises KeyError."""
        for r in self.rows:
            if r.name == name:
                return r
        raise KeyError(name)

    def __iter__(self) -> Iterator[LayerRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)
