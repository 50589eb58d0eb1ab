"""Singular values of a matrix that streams by: all of them where it is small, else the largest, with their errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fluoroscope.methods.weights.unfolding import Unfolding

__all__ = ["SingularValues", "all_values", "largest_values"]

AT_ONCE = 1 << 23  # entries of a matrix that is decomposed in memory
MORE = 16  # directions beyond those asked for
ROUNDS = 2  # of the Krylov space


@dataclass(frozen=True)
class SingularValues:
    """``values`` (k,) largest first; ``errors`` (k,): a singular value of the matrix lies within each."""

    values: Any
    errors: Any
    exact: bool


def all_values(matrix: Unfolding) -> SingularValues:
    """All singular values, in double precision: of the matrix itself, or of its triangular factor where it is long."""
    rows, columns = matrix.shape
    small = matrix.whole() if rows * columns <= AT_ONCE else matrix.triangle()
    values = np.linalg.svd(small, compute_uv=False)
    size = np.finfo(float).eps * max(rows, columns) * values.max(initial=0.0)
    return SingularValues(values, np.full(len(values), size), exact=True)


def largest_values(matrix: Unfolding, count: int, seed: int) -> SingularValues:
    """The ``count`` largest singular values, sought in a block Krylov space of a random start.

    Musco and Musco, *Randomized block Krylov methods*, 2015, algorithm 2, with two rounds; a range finder in the sense
    of Halko, Martinsson and Tropp, 2011. The rounds run in single precision, which only turns the space; the last two
    passes run in double. With u, s, v from the space, W^T u = s v holds, and r = |W v - s u| is measured: some singular
    value of W lies within r of s, and the i-th largest of W is at least the i-th largest s.
    """
    rows, columns = matrix.shape
    width = min(count + MORE, rows, columns)
    start = np.random.default_rng(seed).standard_normal((columns, width), dtype=np.float32)
    space = [_orthonormal(matrix.times(start))]
    for _ in range(ROUNDS):
        space.append(_orthonormal(matrix.times(_orthonormal(matrix.transposed_times(space[-1])))))
    basis = np.linalg.qr(np.concatenate(space, axis=1).astype(np.float64))[0]
    left, values, right = np.linalg.svd(matrix.transposed_times(basis).T, full_matrices=False)
    kept = min(count, width)
    rest = matrix.times(right[:kept].T) - (basis @ left[:, :kept]) * values[:kept]
    return SingularValues(values[:kept], np.linalg.norm(rest, axis=0), exact=False)


def _orthonormal(columns: Any) -> Any:
    scale = float(np.abs(columns).max(initial=0.0)) or 1.0  # so that nothing over- or underflows in single precision
    return np.linalg.qr(columns / scale)[0]
