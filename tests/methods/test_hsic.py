"""HSIC attribution against its population value by enumeration, and against the trace formula."""

from __future__ import annotations

import numpy as np
import torch

import fluoroscope as fs
from fluoroscope.methods.perturbation.hsic import dependence
from fluoroscope.model.seeding import generator
from tests.methods.games import Game, covered, everything, ones


def uneven(z: torch.Tensor) -> torch.Tensor:
    """Main effects, an interaction (3 with 4), and columns (2, 5) without effect; whole numbers, so that the median
    distance is the same in every sample.
    """
    return 2 * z[:, 0] + z[:, 1] + z[:, 3] * z[:, 4]


def population(width: float) -> np.ndarray:
    """E[k~ l] over all pairs of masks, where l's width is given."""
    z = everything(6)
    y = uneven(torch.from_numpy(z)).numpy()
    l_matrix = np.exp(-((y[:, None] - y) ** 2) / (2 * width**2))
    return np.array([(2 * np.outer(c, c) * l_matrix).mean() for c in (z - 0.5).T])


def median_distance() -> float:
    y = uneven(torch.from_numpy(everything(6))).numpy()
    far = np.sort(np.abs(y[:, None] - y).ravel())
    middle = len(far) // 2
    assert far[middle - 300] == far[middle + 300]
    return float(far[middle])


def test_standard_errors_hold_what_they_promise() -> None:
    found = fs.HSIC(samples=400)(Game(uneven), ones(6, 250), target=0)
    truth = population(median_distance())
    strong = truth > 0.01  # near 0 the estimate is skewed, as every estimate of a square is
    assert strong.sum() == 2
    assert 0.92 <= covered(found.values[:, strong], found.errors[:, strong], truth[strong]) <= 0.98
    assert covered(found.values[:, ~strong], found.errors[:, ~strong], truth[~strong]) >= 0.88
    assert (np.abs(found.values.mean(0) - truth) < 5 * found.errors.mean(0) / np.sqrt(250) + 0.01 * truth.max()).all()
    ratio = found.values.std(0) / found.errors.mean(0)
    assert ((ratio > 0.7) & (ratio < 1.2)).all()


def test_equals_the_unbiased_estimator_of_the_trace() -> None:
    """Song et al. (2012), equation 5, with both kernels centred, for the same masks."""
    found = fs.HSIC(samples=60, seed=3)(Game(uneven), ones(6), target=0)
    masks = (torch.rand(60, 6, generator=generator(3, 0)) < 0.5).double()
    y = uneven(masks).numpy()
    n, far = 60, np.abs(y[:, None] - y)
    width = np.median(far[np.triu_indices(n, 1)])
    l_matrix = np.exp(-(far**2) / (2 * width**2)) * (1 - np.eye(n))
    one = np.ones(n)
    for i, column in enumerate(masks.numpy().T):
        k = (column[:, None] == column).astype(float) * (1 - np.eye(n))  # the Dirac kernel itself
        trace = np.trace(k @ l_matrix)
        sums = (one @ k @ one) * (one @ l_matrix @ one) / ((n - 1) * (n - 2))
        cross = 2 / (n - 2) * (one @ k @ l_matrix @ one)
        assert abs(found.values[0, i] - (trace + sums - cross) / (n * (n - 3))) < 1e-12
    assert found.values[0, 0] > 0.02


def test_dependence_without_a_main_effect_is_seen() -> None:
    """The score's mean does not change with a column that only changes its spread."""

    def spread(z: torch.Tensor) -> torch.Tensor:
        return (1 + 3 * z[:, 0]) * (z[:, 1] + z[:, 2] - 1)

    found = fs.HSIC(samples=4000)(Game(spread), ones(4, 1), target=0)
    z = everything(4)
    y = spread(torch.from_numpy(z)).numpy()
    assert y[z[:, 0] == 1].mean() == y[z[:, 0] == 0].mean()
    assert found.values[0, 0] > 10 * found.errors[0, 0]
    assert abs(found.values[0, 3]) < 4 * found.errors[0, 3]


def test_scale_and_shift_of_the_score_do_not_matter() -> None:
    masks = np.random.default_rng(0).random((50, 4)) < 0.5
    scores = np.sin(masks @ np.arange(1.0, 5))[:, None]
    np.testing.assert_allclose(dependence(masks, 5 * scores - 3).values, dependence(masks, scores).values, atol=1e-12)
