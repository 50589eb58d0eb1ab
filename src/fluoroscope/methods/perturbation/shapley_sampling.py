"""Permutation Shapley values: what each feature adds when features come in, in random orders."""

from __future__ import annotations

from math import factorial
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

__all__ = ["ShapleySampling"]

PAIRS = 8


@method
class ShapleySampling(CoalitionSampling):
    r"""Shapley sampling: the mean of what a feature adds to the score when it joins those before it in a random order.

    .. math:: \phi_i = \mathbb E_\pi\big[v(P_i^\pi \cup \{i\}) - v(P_i^\pi)\big], \qquad
              \sum_i \phi_i = v(1) - v(0)

    Orders are drawn in antithetic pairs, an order and its reverse; each order adds up to the whole difference, so
    efficiency holds exactly. A pair costs 2 (M - 1) forwards besides those of the whole and the empty example. With 2^M
    <= ``samples`` all coalitions are asked and the exact values are summed up from them.

    Source: Castro, Gomez and Tejada, *Polynomial calculation of the Shapley value based on sampling*, 2009; pairs:
    Mitchell et al., *Sampling Permutations for Shapley Value Estimation*, 2022, section 3.1. The standard error is that
    of the mean over pairs, which are independent.

    ``background`` (B, D): v is averaged over its rows, the value of a table in which the other columns are unknown; it
    costs B forwards for each sample. Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W),
    (N, T), (N, D) or (N, L), K after N for K targets, at the grid's resolution or painted on the positions of
    superpixels, in units of the score; ``errors`` are standard errors, 0 where the values are exact.

    Raises:
        OptionError: too few samples for two pairs of orders, no such segments, a baseline that does not fit.
        InputError: an example has nothing that could be left out (an empty text).
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output (a table with missing values, a baseline that the network can't take).
    """

    name: ClassVar[str] = "shapley-sampling"
    title: ClassVar[str] = "Shapley sampling"
    source: ClassVar[str] = "Castro et al., 2009; Mitchell et al., Sampling Permutations, 2022, sec. 3.1"

    def sampler(self, example: Example) -> Sampler:
        """All coalitions where they are few; else pairs of orders until the error is small enough."""
        count = example.count
        if count < 63 and 2**count <= self.samples:
            values = exact((yield Ask(torch.from_numpy(all_coalitions(count)))), count)
            return Estimate(values, np.zeros_like(values))
        pairs = (self.samples - 2) // (2 * (count - 1))
        if pairs < 2:
            raise too_few(self.title, self.samples, 4 * (count - 1) + 2, count)
        added = np.empty((0, len(example.scores), count))
        found = Estimate(np.empty(0), np.empty(0))
        for size in self.blocks(pairs, PAIRS):
            orders = torch.rand(size, count, generator=example.random).argsort(1).numpy()
            both = np.stack([orders, orders[:, ::-1]], 1).reshape(2 * size, count)
            scores = yield Ask(torch.from_numpy(_steps(both)))
            added = np.concatenate([added, _added(both, scores).reshape(size, 2, -1, count).mean(1)])
            error = added.std(0, ddof=1) / np.sqrt(len(added)) if len(added) > 1 else np.full(added.shape[1:], np.inf)
            found = Estimate(added.mean(0), error)
            if self.enough(found):
                break
        return found


def exact(scores: Array, count: int) -> Array:
    """Shapley values (K, M) from the scores (2^M, K) of all coalitions, numbered in binary."""
    numbers = np.arange(2**count)
    sizes = all_coalitions(count).sum(1)
    values = np.empty((scores.shape[1], count))
    for i in range(count):
        without = numbers[(numbers >> i) & 1 == 0]
        size = sizes[without]
        weights = np.array([factorial(s) * factorial(count - 1 - s) / factorial(count) for s in range(count)])[size]
        values[:, i] = weights @ (scores[without | 1 << i] - scores[without])
    return values


def _steps(orders: Array) -> Array:
    """Coalitions (orders x (M + 1), M): from nothing, one feature of each order after the other, to everything."""
    rank = orders.argsort(1)
    steps = rank[:, None, :] < np.arange(orders.shape[1] + 1)[None, :, None]
    return np.asarray(steps.reshape(-1, orders.shape[1]))


def _added(orders: Array, scores: Array) -> Array:
    """What each feature added (orders, K, M), from the scores of the steps."""
    steps = np.diff(scores.reshape(len(orders), orders.shape[1] + 1, -1), axis=1)
    return np.take_along_axis(steps, orders.argsort(1)[:, :, None], axis=1).swapaxes(1, 2)
