"""HSIC attribution: how strongly the score depends on whether a part of the input is there."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fluoroscope.methods.base import method, option
from fluoroscope.methods.perturbation.sampling import Ask, Estimate, Example, Sampler, SegmentSampling
from fluoroscope.results import Array

__all__ = ["HSIC"]

BLOCK = 128


@method
class HSIC(SegmentSampling):
    r"""HSIC: the dependence between a feature's presence and the score, of any form, measured by kernels.

    .. math:: \mathcal H_i = \mathbb E\big[\tilde k(z_i, z_i')\, l(y, y')\big], \qquad
              \tilde k(z, z') = 2 (z - \tfrac12)(z' - \tfrac12), \qquad l(y, y') = e^{-(y - y')^2 / 2\sigma^2}

    z in {0, 1}^M says which features are kept, each with probability one half; y is the score. k is the Dirac kernel
    with its known mean taken off, l has the median distance of the scores as its width. H is an eighth of the squared
    distance between the embeddings of the score with and without the feature: 0 where, and only where, the score does
    not depend on it.

    Source: Novello, Fel and Vigouroux, *Making Sense of Dependence*, 2022, equation 6 and section 3.2. It differs:
    masks are independent instead of a Latin hypercube, and the estimator is the unbiased one (a U-statistic), so that
    its standard error is known; features without effect scatter about 0 on both sides.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), (N, T), (N, D) or (N, L), K after N
    for K targets, at the grid's resolution or painted on the positions of superpixels; without a unit, at most 1/4, and
    without a sign. ``errors`` are standard errors of the U-statistic. Cost: up to ``samples`` forwards for each
    example.

    Raises:
        OptionError: no such segments, a baseline that does not fit.
        InputError: an example has nothing that could be left out (an empty text).
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output.
    """

    name: ClassVar[str] = "hsic"
    title: ClassVar[str] = "HSIC"
    source: ClassVar[str] = "Novello et al., Making Sense of Dependence, 2022, eq. 6"

    samples: int = option(
        1000, "most variants of each example that are run; all pairs of them are compared", low=8, high=8000
    )

    def reading(self) -> tuple[bool, str]:
        """Dependence has no sign."""
        return False, "HSIC"

    def sampler(self, example: Example) -> Sampler:
        """Masks until the error is small enough."""
        masks, scores = np.empty((0, example.count), bool), np.empty((0, len(example.scores)))
        found = Estimate(np.empty(0), np.empty(0))
        for size in self.blocks(self.samples, BLOCK):
            drawn = example.coins(size)
            answers = yield Ask(drawn)
            masks, scores = np.concatenate([masks, drawn.numpy()]), np.concatenate([scores, answers])
            found = dependence(masks, scores)
            if self.enough(found):
                break
        return found


def dependence(masks: Array, scores: Array) -> Estimate:
    """HSIC and standard errors (K, M) for masks (S, M) and scores (S, K)."""
    signs = masks - 0.5
    pairs = [_u_statistic(signs, y) for y in scores.T]
    return Estimate(np.stack([v for v, _ in pairs]), np.stack([e for _, e in pairs]))


def _u_statistic(signs: Array, scores: Array) -> tuple[Array, Array]:
    """The unbiased estimate and its standard error.

    With h the pairs' terms and h1 a sample's mean over the others, the variance of a mean over pairs is
    4 (n - 2) Var(h1) + 2 Var(h), over n (n - 1); the scatter of h1 that comes from averaging over n - 1 others only is
    taken off.
    """
    n = len(scores)
    near = _nearness(scores)
    rows = 2 * signs * (near @ signs) / (n - 3)
    value = rows.mean(0)
    every = (near**2).sum() / 4 / (n * (n - 3)) - value**2  # (2 z z')^2 is 1/4 for every pair
    first = np.maximum(rows.var(0, ddof=1) - np.maximum(every, 0) / (n - 1), 0)
    variance = (4 * (n - 2) * first + 2 * np.maximum(every, 0)) / (n * (n - 1))
    return value, np.sqrt(variance)


def _nearness(scores: Array) -> Array:
    """The l of all pairs (S, S), means taken off so that every row's sum is 0 (U-centring); the width is the median
    distance.
    """
    n = len(scores)
    far = np.abs(scores[:, None] - scores)
    apart = far[np.triu_indices(n, 1)]
    width = float(np.median(apart)) or float(np.sqrt((apart**2).mean())) or 1.0
    near: Array = np.exp(-(far**2) / (2 * width**2))
    np.fill_diagonal(near, 0.0)
    rows = near.sum(0) / (n - 2)
    near += near.sum() / ((n - 1) * (n - 2)) - rows - rows[:, None]
    np.fill_diagonal(near, 0.0)
    return near
