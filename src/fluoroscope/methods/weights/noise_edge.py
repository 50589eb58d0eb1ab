"""Marchenko-Pastur: the singular values of a matrix of independent entries, as a reference for learned ones."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["noise_edges", "noise_values"]

GRID = 1 << 13


def noise_edges(rows: int, columns: int, spread: float) -> tuple[float, float]:
    """Smallest and largest singular value, in the limit of large sizes: spread |sqrt(m) - sqrt(n)| and
    spread (sqrt(m) + sqrt(n)).
    """
    return spread * abs(rows**0.5 - columns**0.5), spread * (rows**0.5 + columns**0.5)


def noise_values(rows: int, columns: int, spread: float, count: int) -> Any:
    """The ``count`` largest of the min(rows, columns) singular values expected, largest first.

    Quantiles of the density sqrt((b - l)(l - a)) / (2 pi y l), where y is the ratio of the sides and l the eigenvalue
    of W W^T by the longer side; along l = (a + b)/2 + (b - a)/2 cos t the integrand has no singularity.
    """
    short, long = sorted((rows, columns))
    ratio = short / long
    low, high = (1 - ratio**0.5) ** 2, (1 + ratio**0.5) ** 2
    turn = (np.arange(GRID) + 0.5) * np.pi / GRID
    along = (low + high) / 2 + (high - low) / 2 * np.cos(turn)
    mass = ((high - low) / 2 * np.sin(turn)) ** 2 / (2 * np.pi * ratio * along)
    share = np.cumsum(mass)
    wanted = (np.arange(count) + 0.5) / short
    return spread * np.sqrt(long * np.interp(wanted, (share - mass / 2) / share[-1], along))
