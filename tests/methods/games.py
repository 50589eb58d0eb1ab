"""Games: small functions of which features are there, as networks, with their Shapley values by the definition."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, permutations, product
from math import comb

import numpy as np
import torch
from torch import nn


class Game(nn.Module):
    """A network on tables (N, D) whose scores are given functions of its columns; ``RUNS`` has the rows of each run."""

    def __init__(self, *functions: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros((), dtype=torch.float64))
        self.functions = functions

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        RUNS.append(x.detach().clone())
        return torch.stack([f(x) for f in self.functions], 1)


RUNS: list[torch.Tensor] = []
"""What games were given, run by run; tests clear it."""


def tangled(z: torch.Tensor) -> torch.Tensor:
    """Main effects, interactions of two and three, and a column (3) without effect."""
    return (
        2 * z[:, 0]
        - z[:, 1]
        + 1.5 * z[:, 0] * z[:, 2]
        - 3 * z[:, 1] * z[:, 2] * z[:, 4]
        + torch.sin(2 * z[:, 5] + z[:, 0])
    )


def curved(z: torch.Tensor) -> torch.Tensor:
    """Columns that all act together, unevenly."""
    weights = torch.linspace(0.5, 2, z.shape[1], dtype=z.dtype)
    return torch.tanh((z * weights).sum(1) - weights.sum() / 2) * 3 + z[:, 0] * z[:, 1]


def ones(count: int, rows: int = 1) -> torch.Tensor:
    """Examples whose masked variants are the masks themselves."""
    return torch.ones(rows, count, dtype=torch.float64)


def value(function: Callable[[torch.Tensor], torch.Tensor], *kept: int, of: int) -> float:
    """The function with only some columns 1."""
    z = torch.zeros(1, of, dtype=torch.float64)
    z[0, list(kept)] = 1
    return float(function(z))


def shapley(function: Callable[[torch.Tensor], torch.Tensor], count: int) -> np.ndarray:
    """The mean over all orders of what each column adds; of many columns as a sum over coalitions (Shapley, 1953)."""
    known: dict[frozenset[int], float] = {}

    def v(kept: frozenset[int]) -> float:
        if kept not in known:
            known[kept] = value(function, *kept, of=count)
        return known[kept]

    if count > 6:
        rest = [[j for j in range(count) if j != i] for i in range(count)]
        return np.array([
            sum(
                (v(frozenset(s) | {i}) - v(frozenset(s))) / count / comb(count - 1, size)
                for size in range(count)
                for s in combinations(rest[i], size)
            )
            for i in range(count)
        ])  # fmt: skip
    total, orders = np.zeros(count), list(permutations(range(count)))
    for order in orders:
        for place, i in enumerate(order):
            before = frozenset(order[:place])
            total[i] += v(before | {i}) - v(before)
    return total / len(orders)


def everything(count: int) -> np.ndarray:
    """All masks (2^count, count)."""
    return np.array(list(product([0.0, 1.0], repeat=count)))


def covered(values: np.ndarray, errors: np.ndarray, truth: np.ndarray) -> float:
    """The share of estimates whose 95 % interval holds the truth."""
    return float((np.abs(values - truth) <= 1.96 * errors).mean())
