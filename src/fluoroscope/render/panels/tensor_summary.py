"""TensorSummary: a list of tensors with statistics, histogram and picture."""

from __future__ import annotations

from typing import Any

from fluoroscope.render.blobs import Blobs
from fluoroscope.render.panels.registry import Panel, builder, head
from fluoroscope.results import TensorRecord, TensorSummary

__all__ = ["tensor_summary_panel"]


@builder("tensor-summary")
def tensor_summary_panel(results: list[TensorSummary], blobs: Blobs) -> Panel:
    """One panel per result, tensors in the order of the network."""
    result = results[0]
    return {**head(result), "tensors": [_tensor(t, blobs) for t in result.tensors]}


def _tensor(tensor: TensorRecord, blobs: Blobs) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "size": tensor.size,
        "dtype": tensor.dtype,
        "role": tensor.role,
        "shared_with": list(tensor.shared_with),
        "statistics": {name: float(number) for name, number in tensor.statistics.items()},
        # histograms are small and needed at once for the list, so they are numbers, not blobs
        "edges": [float(e) for e in tensor.edges],
        "counts": [int(c) for c in tensor.counts],
        "form": tensor.form,
        "reduced": tensor.reduced,
        "picture": blobs.array(tensor.picture),
    }
