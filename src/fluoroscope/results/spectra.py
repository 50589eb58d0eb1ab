"""Spectra: singular values of many matrices, with what they are compared with."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fluoroscope.results.record import Array, Record, record, value
from fluoroscope.results.result import Result
from fluoroscope.results.tensor_summary import ExpertGrid

__all__ = ["SPECTRAL", "Spectra", "Spectrum"]

SPECTRAL = (
    "spectral_norm",
    "frobenius",
    "stable_rank",
    "effective_rank",
    "condition",
    "noise_edge",
    "above_edge",
    "alpha",
)


@record
class Spectrum(Record):
    """Singular values of one matrix, largest first.

    ``values`` (k,) are all of them where ``exact``, else the largest; ``errors`` (k,) then bound each: a singular
    value of the matrix lies within it. ``matrix`` is the matrix's size and ``unfolding`` how the tensor became it.
    ``reference`` (k,) are the values that a matrix of independent entries of the same size and spread would have
    (Marchenko-Pastur). ``statistics`` holds :data:`SPECTRAL`; NaN where it needs values that were not computed.
    """

    kind: ClassVar[str] = "spectrum"
    name: str = value()
    shape: tuple[int, ...] = value()
    dtype: str = value()
    role: str = value(default="")
    shared_with: tuple[str, ...] = value(default=())
    unfolding: str = value(default="")
    matrix: tuple[int, int] = value()
    values: Array = value()
    errors: Array = value()
    exact: bool = value(default=True)
    reference: Array = value()
    statistics: dict[str, float] = value(default_factory=dict)


@record
class Spectra(Result):
    """Spectra of many tensors; ``grids`` are tables of experts, where there are some."""

    kind: ClassVar[str] = "spectra"
    spectra: tuple[Spectrum, ...] = value()
    grids: tuple[ExpertGrid, ...] = value(default=())

    @property
    def values(self) -> Array:
        """Statistics (tensors, len(SPECTRAL)), one row per tensor in the order of ``spectra``."""
        return np.array([[s.statistics[n] for n in SPECTRAL] for s in self.spectra]).reshape(-1, len(SPECTRAL))

    def spectrum(self, name: str) -> Spectrum:
        """The spectrum of the tensor ``name``. Raises KeyError."""
        for found in self.spectra:
            if found.name == name or name in found.shared_with:
                return found
        raise KeyError(name)
