"""Spectra: singular values of many matrices, with ranks and what noise would have."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluoroscope.render.blobs import Blobs
from fluoroscope.render.panels.experts import expert_grids
from fluoroscope.render.panels.registry import Panel, builder, head
from fluoroscope.results import Spectra, Spectrum

__all__ = ["spectra_panel"]

MOST = 512
"""Singular values of one matrix on a page: all of the first ones, then evenly spaced ranks."""


@builder("spectra")
def spectra_panel(results: list[Spectra], blobs: Blobs) -> Panel:
    """One panel per result, matrices in the order of the network."""
    result = results[0]
    return {
        **head(result),
        "spectra": [_spectrum(s, blobs) for s in result.spectra],
        "grids": expert_grids(result.grids, blobs),
    }


def _spectrum(spectrum: Spectrum, blobs: Blobs) -> dict[str, Any]:
    count = len(spectrum.values)
    ranks = np.arange(count)
    if count > MOST:
        ranks = np.unique(
            np.concatenate([ranks[: MOST // 4], np.linspace(0, count - 1, 3 * MOST // 4).round().astype(int)])
        )
    return {
        "name": spectrum.name,
        "shape": list(spectrum.shape),
        "matrix": list(spectrum.matrix),
        "dtype": spectrum.dtype,
        "role": spectrum.role,
        "unfolding": spectrum.unfolding,
        "shared_with": list(spectrum.shared_with),
        "exact": spectrum.exact,
        "statistics": {name: float(number) for name, number in spectrum.statistics.items()},
        "ranks": blobs.array(ranks.astype(np.float32) + 1),
        "values": blobs.array(spectrum.values[ranks], exact=True),
        "errors": blobs.array(spectrum.errors[ranks], exact=True),
        "reference": blobs.array(spectrum.reference[ranks], exact=True),
    }
