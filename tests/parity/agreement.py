"""How two libraries' numbers are compared."""

from __future__ import annotations

from typing import Any

import numpy as np


def agree(ours: Any, theirs: Any, tolerance: float = 1e-5) -> None:
    """Assert that (N, ...) values agree within ``tolerance`` of each example's largest, and are not all zero."""
    a, b = (np.asarray(v, dtype=np.float64) for v in (ours, theirs))
    assert a.shape == b.shape
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    assert b.any(), "zeros would agree with anything that is broken in the same way"
    largest = np.abs(b).max(axis=1)
    worst = np.abs(a - b).max(axis=1) - tolerance * largest
    assert (worst <= 0).all(), (
        f"difference {np.abs(a - b).max(axis=1) / np.maximum(largest, 1e-30)} of the largest value"
    )
