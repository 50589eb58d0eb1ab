"""Surrogates: small models of a network's answers to masks, with standard errors of what they say of each feature."""

from __future__ import annotations

import numpy as np

from fluoroscope.results import Array

__all__ = ["fitted_line", "fitted_tree"]

GROUPS = 10


def fitted_line(masks: Array, scores: Array, weights: Array, ridge: float) -> tuple[Array, Array]:
    r"""Ridge regression with an intercept that is not penalized: weights (K, M) and their standard errors.

    .. math:: \hat\beta = H^{-1} \bar Z^\top W \bar Y, \quad H = \bar Z^\top W \bar Z + \lambda I, \quad
              \mathrm{Cov} = H^{-1} \Big(\sum_s w_s^2 e_s^2 \bar z_s \bar z_s^\top\Big) H^{-1} \frac{S}{S - M - 1}

    The bar takes off the weighted mean, e are the residuals. The covariance (White's sandwich) needs no model of the
    scatter, which is what the line leaves out and not noise.
    """
    shares = weights / weights.sum()
    z = masks - shares @ masks
    y = scores - shares @ scores
    hessian = (z * weights[:, None]).T @ z + ridge * np.eye(z.shape[1])
    inverse = np.linalg.pinv(hessian, hermitian=True)
    line = inverse @ (z * weights[:, None]).T @ y
    spread = (weights[:, None] * (y - z @ line)) ** 2
    rows = (z @ inverse) ** 2
    free = len(z) - z.shape[1] - 1
    variance = rows.T @ spread * (len(z) / free) if free > 0 else np.full_like(line, np.inf)
    return line.T, np.sqrt(variance).T


def fitted_tree(masks: Array, scores: Array, weights: Array, depth: int) -> tuple[Array, Array]:
    """A regression tree on masks: the weighted variance that splits on each feature explain (K, M), and standard errors
    from a jackknife that leaves out a tenth of the samples at a time.
    """
    groups = min(GROUPS, len(masks))

    def explained(kept: Array) -> Array:
        z, w = masks[kept].astype(np.float64), weights[kept] / weights[kept].sum()
        return np.stack([_explained(z, y, w, depth) for y in scores[kept].T])

    everything = np.arange(len(masks))
    parts = np.stack([explained(everything % groups != g) for g in range(groups)]) if groups > 1 else None
    whole = explained(everything >= 0)
    if parts is None:
        return whole, np.full_like(whole, np.inf)
    return whole, np.sqrt((groups - 1) / groups * ((parts - parts.mean(0)) ** 2).sum(0))


def _explained(masks: Array, scores: Array, weights: Array, depth: int) -> Array:
    """The variance explained by each feature's splits, chosen greedily, each node by its best feature."""
    found = np.zeros(masks.shape[1])
    nodes = [np.ones(len(masks), dtype=bool)]
    for _ in range(depth):
        below: list[Array] = []
        for node in nodes:
            gains = _gains(masks[node], scores[node], weights[node])
            best = int(np.argmax(gains))
            if gains[best] <= 1e-15:
                continue
            found[best] += gains[best]
            below += [node & (masks[:, best] > 0), node & (masks[:, best] == 0)]
        nodes = below
    return found


def _gains(masks: Array, scores: Array, weights: Array) -> Array:
    """By how much the weighted sum of squares falls when a node is split by each feature."""
    if not len(masks):
        return np.zeros(masks.shape[1])
    total = weights.sum()
    y = scores - weights @ scores / total
    kept, sums = weights @ masks, (weights * y) @ masks
    left = total - kept
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = sums**2 / kept + sums**2 / left  # the other side's sum is the negative: y has no mean
    return np.where((kept > 0) & (left > 0), gains, 0.0)
