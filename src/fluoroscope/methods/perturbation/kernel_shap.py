"""KernelSHAP: Shapley values as the solution of one weighted least-squares problem."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import ClassVar

import numpy as np
import torch

from fluoroscope.methods.base import method
from fluoroscope.methods.perturbation.sampling import (
    Ask,
    CoalitionSampling,
    Estimate,
    Example,
    Sampler,
    all_coalitions,
    too_few,
)
from fluoroscope.results import Array

__all__ = ["KernelSHAP"]

FIRST = 20  # coalitions for each feature that may be asked completely where pairs could do with fewer


@method
class KernelSHAP(CoalitionSampling):
    r"""KernelSHAP: each feature's share of the difference between the score of the example and that of the baseline.

    .. math:: \min_\phi \sum_{z} \mu(z) \big(v(z) - v(0) - z^\top \phi\big)^2 \;\text{ s.t. }\;
              \mathbf 1^\top \phi = v(1) - v(0), \qquad \mu(z) \propto \frac{M - 1}{\binom{M}{|z|} |z| (M - |z|)}

    v(z) is the score with the features in z kept. With 2^M <= ``samples`` all coalitions are asked and the result is
    the exact Shapley values. Otherwise the smallest and largest coalitions are asked completely as long as the budget
    has room for their weight, and the others are drawn by mu in pairs of a coalition and its complement. The constraint
    (efficiency) holds exactly in every case. The regression is done in float64.

    Source: Lundberg and Lee, *A Unified Approach to Interpreting Model Predictions*, 2017, theorem 2; pairs, solution
    and its asymptotic covariance: Covert and Lee, *Improving KernelSHAP*, 2021, equations 7 to 9 and section 4.2. It
    differs: complete coalition sizes are no longer random, so only the drawn ones contribute to the standard error.
    With few pairs the values have a bias of the order of 1 / samples (a ratio of two estimates), which the standard
    error does not hold.

    ``background`` (B, D): v is averaged over its rows, the value of a table in which the other columns are unknown; it
    costs B forwards for each sample. Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W),
    (N, T), (N, D) or (N, L), K after N for K targets, at the grid's resolution or painted on the positions of
    superpixels, in units of the score; ``errors`` are standard errors, 0 where the values are exact.

    Raises:
        OptionError: too few samples for the number of features, no such segments, a baseline that does not fit.
        InputError: an example has nothing that could be left out (an empty text).
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output (a table with missing values, a baseline that the network can't take).
    """

    name: ClassVar[str] = "kernel-shap"
    title: ClassVar[str] = "KernelSHAP"
    source: ClassVar[str] = "Lundberg and Lee, 2017, theorem 2; Covert and Lee, Improving KernelSHAP, 2021, sec. 4.2"

    def sampler(self, example: Example) -> Sampler:
        """Ends first, then complete sizes, then pairs until the error is small enough or the samples are spent."""
        count = example.count
        ends = yield Ask(torch.tensor([[False], [True]]).expand(2, count))
        if count == 1:
            return Estimate((ends[1:] - ends[:1]).T, np.zeros((len(example.scores), 1)))
        plan = _plan(count, self.samples - 2, FIRST * count if self.stop_error is not None else self.samples)
        if plan.left and len(plan.masks) // 2 + plan.pairs < count + 1:
            raise too_few(self.title, self.samples, 2 * count + 6, count)
        system = _System(count, ends[1] - ends[0])
        if len(plan.masks):
            system.complete(plan, (yield Ask(torch.from_numpy(plan.masks))) - ends[0])
        if not plan.left:
            return system.solve()
        for size in self.blocks(plan.pairs):
            drawn = plan.draw(example.random, size)
            answers = (yield Ask(torch.from_numpy(np.concatenate([drawn, ~drawn])))) - ends[0]
            system.drawn(drawn, answers[:size], answers[size:])
            if system.ready and self.enough(system.solve()):
                break
        return system.solve()


@dataclass(frozen=True)
class _Plan:
    """Which coalitions are asked completely, ``masks`` with their ``weights`` mu, and which sizes are drawn from."""

    masks: Array
    weights: Array
    sizes: Array
    chances: Array
    left: float
    pairs: int

    def draw(self, random: torch.Generator, count: int) -> Array:
        """Coalitions (count, M) by mu among the sizes that are left; each stands for itself and its complement."""
        features = self.masks.shape[1]
        chosen = self.sizes[torch.multinomial(torch.from_numpy(self.chances), count, True, generator=random).numpy()]
        order = torch.rand(count, features, generator=random).argsort(1).argsort(1).numpy()
        return np.asarray(order < chosen[:, None])


def _plan(count: int, budget: int, room: int) -> _Plan:
    """Complete sizes within ``room`` coalitions, pairs for the rest of the budget."""
    room = min(room, budget)
    sizes = np.arange(1, count // 2 + 1)
    shares = np.array([(2 if 2 * s != count else 1) / (s * (count - s)) for s in sizes])
    shares /= shares.sum()
    sets = [comb(count, int(s)) * (2 if 2 * s != count else 1) for s in sizes]
    if sum(sets) <= room:
        masks = all_coalitions(count)[1:-1]
        kept = masks.sum(1)
        weights = 1 / (kept * (count - kept) * np.array([comb(count, int(k)) for k in kept]))
        return _Plan(masks, weights / weights.sum(), sizes, shares, 0.0, 0)
    full, left, spent = 0, 1.0, 0
    while full < len(sizes) - 1 and (room - spent) * shares[full] / left >= sets[full]:
        spent, left, full = spent + sets[full], left - shares[full], full + 1
    masks = np.concatenate([np.empty((0, count), bool), *(_of_size(count, int(s)) for s in sizes[:full])])
    weights = np.concatenate([np.empty(0), *(np.full(sets[i], shares[i] / sets[i]) for i in range(full))])
    return _Plan(masks, weights, sizes[full:], shares[full:], left, (budget - spent) // 2)


def _of_size(count: int, size: int) -> Array:
    """All coalitions of a size and their complements."""
    chosen = np.array(list(combinations(range(count), size)))
    masks = np.zeros((len(chosen), count), dtype=bool)
    np.put_along_axis(masks, chosen, True, axis=1)
    return np.concatenate([masks, ~masks])


class _System:
    """The normal equations, from complete sizes (exact) and drawn pairs (a mean), and their solution."""

    def __init__(self, count: int, total: Array) -> None:
        self.total, self.count = total, count
        self.matrix, self.right = np.zeros((count, count)), np.zeros((count, len(total)))
        self.left, self.known = 1.0, 0
        self.masks = np.empty((0, count), dtype=bool)
        self.scores = np.empty((2, 0, len(total)))

    def complete(self, plan: _Plan, scores: Array) -> None:
        """Coalitions with their weights and scores above the baseline's."""
        weighted = plan.masks * plan.weights[:, None]
        self.matrix += weighted.T @ plan.masks
        self.right += weighted.T @ scores
        self.left, self.known = plan.left, len(plan.masks) // 2

    def drawn(self, masks: Array, scores: Array, opposite: Array) -> None:
        """Coalitions, their scores above the baseline's, and those of their complements."""
        self.masks = np.concatenate([self.masks, masks])
        self.scores = np.concatenate([self.scores, np.stack([scores, opposite])], axis=1)

    @property
    def ready(self) -> bool:
        """Whether there are more equations than unknowns."""
        return self.known + len(self.masks) > self.count

    def solve(self) -> Estimate:
        """Values and standard errors (K, M)."""
        matrix, right = self.matrix, self.right
        z, other = self.masks.astype(np.float64), 1.0 - self.masks
        if len(z):
            share = self.left / (2 * len(z))
            matrix = matrix + share * (z.T @ z + other.T @ other)
            right = right + share * (z.T @ self.scores[0] + other.T @ self.scores[1])
        inverse = np.linalg.pinv(matrix, hermitian=True)
        ones = inverse.sum(1)
        free = inverse @ right
        values = free - np.outer(ones, free.sum(0) - self.total) / ones.sum()
        return Estimate(values.T, self._errors(inverse - np.outer(ones, ones) / ones.sum(), z, other, values).T)

    def _errors(self, project: Array, z: Array, other: Array, values: Array) -> Array:
        """Spread of the mean of the pairs' pulls on the solution; the complete sizes have none.

        A pair that draws the solution to itself hides a part of its own pull, its leverage, which is put back (HC3).
        """
        if not len(z):
            return np.zeros_like(values)
        rest, opposite = self.scores[0] - z @ values, self.scores[1] - other @ values
        pulls = (z @ project)[:, :, None] * rest[:, None] + (other @ project)[:, :, None] * opposite[:, None]
        leverage = ((z @ project) * z + (other @ project) * other).sum(1) * self.left / (2 * len(z))
        pulls /= np.maximum(1 - leverage, 1e-3)[:, None, None]
        variance = (self.left / 2) ** 2 * pulls.var(0) / len(z)
        return np.asarray(np.sqrt(variance))
