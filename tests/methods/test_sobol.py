"""Sobol attribution on functions whose total indices are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import NotApplicable, OptionError
from fluoroscope.methods.perturbation.sobol import total_indices
from tests.methods.games import Game, covered, ones

A, B = 7.0, 0.1


def ishigami(x: torch.Tensor) -> torch.Tensor:
    return torch.sin(x[:, 0]) + A * torch.sin(x[:, 1]) ** 2 + B * x[:, 2] ** 4 * torch.sin(x[:, 0])


def ishigami_indices() -> np.ndarray:
    """Total indices in closed form (Ishigami and Homma, 1990)."""
    first = 0.5 * (1 + B * np.pi**4 / 5) ** 2
    second, together = A**2 / 8, B**2 * np.pi**8 * (1 / 18 - 1 / 50)
    return np.array([first + together, second, together]) / (first + second + together)


def test_known_indices() -> None:
    x = torch.full((1, 3), torch.pi, dtype=torch.float64)  # masks from 0 to 1 sweep every input from -pi to pi
    found = fs.Sobol(samples=40_000, baseline=-np.pi)(Game(ishigami), x, target=0)
    truth = ishigami_indices()
    np.testing.assert_allclose(truth, [0.5576, 0.4424, 0.2437], atol=1e-4)
    np.testing.assert_allclose(found.values[0], truth, atol=0.01)
    assert found.errors.max() < 0.02
    assert not found.signed


def test_a_product_and_a_column_without_effect() -> None:
    """For m0 m1 each total index is 4/7: E[m^2] Var(m) over Var(m0 m1), (1/3)(1/12) / (7/144)."""
    found = fs.Sobol(samples=20_000)(Game(lambda z: z[:, 0] * z[:, 1]), ones(3), target=0)
    np.testing.assert_allclose(found.values[0], [4 / 7, 4 / 7, 0], atol=0.01)
    assert found.values[0, 2] == 0


def test_standard_errors_are_not_too_small() -> None:
    """They are meant for independent points; the sequence does better, so that more than 95 % are covered."""
    x = torch.full((200, 3), torch.pi, dtype=torch.float64)
    found = fs.Sobol(samples=800, baseline=-np.pi)(Game(ishigami), x, target=0)
    assert covered(found.values, found.errors, ishigami_indices()) >= 0.95
    assert found.values.std(0).mean() > 0.05 * found.errors.mean()


def test_standard_errors_hold_for_independent_points() -> None:
    """The formula itself, fed with plain random points."""
    random, found = np.random.default_rng(1), []
    for _ in range(300):
        a, b = random.random((2, 200, 3))
        rows = np.concatenate([a[:, None], np.where(np.eye(3, dtype=bool), b[:, None], a[:, None])], 1)
        scores = ishigami(torch.from_numpy((rows * 2 - 1) * np.pi).reshape(-1, 3)).numpy().reshape(200, 4, 1)
        found.append(total_indices(scores))
    values, errors = np.stack([f.values[0] for f in found]), np.stack([f.errors[0] for f in found])
    assert 0.92 <= covered(values, errors, ishigami_indices()) <= 0.975


def test_half_of_a_feature_is_half_of_the_picture() -> None:
    """A linear score of a picture: indices go with the squares of the cells' sums."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 1, bias=False)).double()
    x = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    found = fs.Sobol(samples=20_000, count=4, baseline=0.5)(model, x, target=0)
    effects = (model[1].weight.detach().reshape(4, 4) * (x[0, 0] - 0.5)).reshape(2, 2, 2, 2).sum((1, 3)).numpy()
    np.testing.assert_allclose(found.values[0], effects**2 / (effects**2).sum(), atol=0.01)
    assert found.axes == ("N", "H", "W")


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(OptionError, match="too few samples"):
        fs.Sobol(samples=100)(nn.Linear(50, 2), torch.rand(1, 50))
    with pytest.raises(NotApplicable, match="tokens"):
        fs.Sobol()(nn.Sequential(nn.Embedding(5, 2), nn.Flatten()), torch.tensor([[1, 2]]))
