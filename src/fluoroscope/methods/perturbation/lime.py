"""LIME: a simple model that answers like the network in the neighbourhood of one example."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from fluoroscope.errors import OptionError
from fluoroscope.methods.base import method, option
from fluoroscope.methods.perturbation.sampling import Ask, CoalitionSampling, Estimate, Example, Sampler
from fluoroscope.methods.perturbation.surrogate import fitted_line, fitted_tree
from fluoroscope.results import Array

__all__ = ["LIME"]

COSINE_WIDTH, L2_WIDTH = 0.25, 0.75


@method
class LIME(CoalitionSampling):
    r"""LIME: the weights of a small model that was fitted to the network's answers around one example.

    .. math:: \hat\beta = \arg\min_{\beta} \sum_s \pi(z_s)\big(f(x_{z_s}) - \beta_0 - \beta^\top z_s\big)^2
              + \lambda \|\beta\|^2, \qquad \pi(z) = e^{-d(z, 1)^2 / 2\sigma^2}

    z in {0, 1}^M says which features of the example are kept; the first of the samples keeps all, in the others each
    feature is kept with probability one half. d is the cosine distance (or the Euclidean, ``"l2"``) to the whole
    example, and sigma^2 the square of ``kernel_width`` (a quarter; for ``"l2"`` three quarters of the root of M): the
    kernel of the authors' package, the root of the paper's. ``surrogate="tree"`` fits a regression tree and gives the
    variance of the score that the splits on each feature explain, in the score's unit squared, unsigned.

    Source: Ribeiro et al., *Why Should I Trust You?*, 2016, equation 1 and algorithm 1. It differs: all features stay
    in the model (the paper keeps the K best), the score is the logit, and superpixels are one choice of ``segments``
    among others. ``background`` (B, D): a replaced column gets a value that was drawn from that column of the data,
    which suits categories too; columns of one category share a number in ``segments``.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), (N, T), (N, D) or (N, L), K after N
    for K targets, at the grid's resolution or painted on the positions of superpixels, in units of the score;
    ``errors`` are standard errors: a sandwich estimate for the line, a jackknife over ten groups of samples for the
    tree. Cost: up to ``samples`` forwards for each example, whatever the number of targets.

    Raises:
        OptionError: no such segments, or a baseline or background that does not fit.
        InputError: an example has nothing that could be left out (an empty text).
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output (a table with missing values, a baseline that the network can't take).
    """

    name: ClassVar[str] = "lime"
    title: ClassVar[str] = "LIME"
    source: ClassVar[str] = "Ribeiro et al., Why Should I Trust You?, 2016, eq. 1"

    surrogate: str = option("linear", "the small model that is fitted", choices=("linear", "tree"))
    distance: str = option("cosine", "distance to the whole example", choices=("cosine", "l2"))
    kernel_width: float | None = option(None, "width of the kernel; 0.25, or 0.75 sqrt(features) for l2", low=1e-6)
    ridge: float = option(1.0, "penalty on the squared weights of the line", low=0.0)
    depth: int = option(3, "questions on a way through the tree, at most", low=1)

    averages: ClassVar[bool] = False

    def reading(self) -> tuple[bool, str]:
        """Weights of the line are signed; what a tree explains is not."""
        return (True, "score") if self.surrogate == "linear" else (False, "score²")

    def sampler(self, example: Example) -> Sampler:
        """Draw, ask, fit; again with more while the standard error is too large."""
        masks, scores = np.empty((0, example.count), bool), np.empty((0, len(example.scores)))
        found = Estimate(np.zeros((0, 0)), np.zeros((0, 0)))
        for size in self.blocks(self.samples):
            drawn = example.coins(size)
            if not len(masks):
                drawn[0] = True
            answers = yield Ask(drawn, self._drawn(example, len(drawn)))
            masks, scores = np.concatenate([masks, drawn.numpy()]), np.concatenate([scores, answers])
            found = self.fit(masks, scores)
            if self.enough(found):
                break
        return found

    def fit(self, masks: Array, scores: Array) -> Estimate:
        """The surrogate's values and standard errors (K, M) for masks (S, M) and the scores (S, K) they had."""
        weights, scores = self.weights(masks), scores - scores[:1]  # so that equal scores leave nothing to rounding
        if self.surrogate == "tree":
            return Estimate(*fitted_tree(masks, scores, weights, self.depth))
        return Estimate(*fitted_line(masks, scores, weights, self.ridge))

    def weights(self, masks: Array) -> Array:
        """How much each sample (S, M) counts."""
        kept, count = masks.sum(1), masks.shape[1]
        if self.distance == "cosine":
            far, width = 1 - np.sqrt(kept / count), COSINE_WIDTH
        else:
            far, width = np.sqrt(count - kept), L2_WIDTH * np.sqrt(count)
        width = self.kernel_width or width
        return np.asarray(np.exp(-(far**2) / (2 * width**2)))

    def _drawn(self, example: Example, count: int) -> torch.Tensor | None:
        """Replacements (count, D): every feature's columns from a row of the background of its own."""
        rows = example.background
        if rows is None:
            return None
        if rows.ndim != 2:
            raise OptionError(
                "LIME draws from a background for tables only", got=f"shape {tuple(rows.shape)}", expected="(B, D)"
            )
        chosen = torch.randint(len(rows), (count, example.count), generator=example.random).to(rows.device)
        return rows[chosen[:, example.features.labels], torch.arange(rows.shape[1], device=rows.device)]
