"""Expected gradients: exact for linear networks, otherwise the mean of integrated gradients over the baselines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import InputError
from tests.methods.small_networks import Words, made, normal


class Curve(nn.Module):
    """Rows (N, 3) through a hidden layer of tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(torch.tanh(2 * self.a(x)))


def test_exact_for_a_linear_network() -> None:
    model, x, data = nn.Linear(3, 2).double(), normal(2, 3), normal(5, 3, seed=1)
    found = fs.ExpectedGradients(baselines=data, samples=10)(model, x, target=1)
    expected = (x - data.mean(0)).numpy() * model.weight.detach().numpy()[1]
    np.testing.assert_allclose(found.values, expected, rtol=1e-9)  # shuffled rounds: each baseline twice


def test_is_the_mean_of_integrated_gradients() -> None:
    model, x, data = made(Curve), normal(2, 3), normal(6, 3, seed=1)
    each = [
        fs.IntegratedGradients(baseline=b, quadrature="gauss-legendre", points=60)(model, x, target=1).values
        for b in data
    ]
    truth = np.mean(each, axis=0)
    found = fs.ExpectedGradients(baselines=data, samples=600, batch_size=200)(model, x, target=1)
    lengths = np.linalg.norm(truth, axis=1)
    far = np.linalg.norm(found.values - truth, axis=1) / lengths
    assert (far < 3 * np.array(found.meta["standard_error_per_example"])).all()
    assert (far < 0.05).all()
    assert np.linalg.norm(truth - each[0]) > 0.2 * np.linalg.norm(truth)  # the baselines matter
    rise = (model(x) - model(data).mean(0))[:, 1].detach().numpy()
    np.testing.assert_allclose(found.values.sum(1), rise, atol=0.2 * np.abs(rise).max())


def test_stops_when_the_error_is_small() -> None:
    model, x, data = made(Curve), normal(2, 3), normal(6, 3, seed=1)
    found = fs.ExpectedGradients(baselines=data.numpy(), samples=8, stop_error=0.1)(model, x, target=1)
    assert found.meta["standard_error"] <= 0.1
    assert found.meta["samples"] > 16


def test_without_baselines_zero_is_taken_and_told() -> None:
    model, x = made(Curve), normal(1, 3)
    found = fs.ExpectedGradients(samples=400, batch_size=200)(model, x, target=1)
    assert any("no baselines were given" in n for n in found.notes)
    exact = fs.IntegratedGradients(tolerance=1e-4)(model, x, target=1).values
    assert np.linalg.norm(found.values - exact) < 0.05 * np.linalg.norm(exact)


def test_texts_as_baselines() -> None:
    model, ids = made(Words), torch.tensor([[1, 5, 2, 5], [0, 3, 3, 9]])
    data = torch.tensor([[1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]])
    found = fs.ExpectedGradients(baselines=data, samples=300, batch_size=100)(model, ids, target=1)
    rise = (model(ids) - model(data).mean(0))[:, 1].detach().numpy()
    np.testing.assert_allclose(found.values.sum(1), rise, atol=0.03)
    assert found.axes == ("N", "L")


def test_baselines_that_do_not_fit() -> None:
    with pytest.raises(InputError, match=r"\(M, 3\)"):
        fs.ExpectedGradients(baselines=torch.zeros(4, 2))(nn.Linear(3, 2), torch.rand(1, 3), target=0)
