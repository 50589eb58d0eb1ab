"""How heavy the tail of a spectrum is: the exponent of a power law fitted to its largest eigenvalues."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["tail_exponent"]

FEWEST = 20
TAIL = 8


def tail_exponent(eigenvalues: Any) -> float:
    """Exponent a of a density l^-a above the cut that fits best; NaN for fewer than 20 eigenvalues above zero.

    For each cut the maximum-likelihood exponent 1 + n / sum(log(l / cut)); the cut whose fit has the smallest
    Kolmogorov-Smirnov distance is taken (Clauset, Shalizi and Newman, 2009). On weights: Martin and Mahoney, 2021.
    """
    found = np.sort(np.asarray(eigenvalues, dtype=float))
    found = found[found > 1e-12 * found.max(initial=0.0)]
    if len(found) < FEWEST:
        return float("nan")
    logs, best = np.log(found), (np.inf, float("nan"))
    for cut in range(len(found) - TAIL):
        tail = logs[cut:] - logs[cut]
        total = tail.sum()
        if total <= 0:
            continue
        exponent = 1 + len(tail) / total
        fitted = 1 - np.exp(-(exponent - 1) * tail)
        steps = np.arange(len(tail) + 1) / len(tail)
        distance = max(np.abs(fitted - steps[:-1]).max(), np.abs(fitted - steps[1:]).max())
        best = min(best, (float(distance), float(exponent)))
    return best[1]
