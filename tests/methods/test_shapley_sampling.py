"""Shapley sampling against the definition, and what mathematics guarantees of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import OptionError
from fluoroscope.model.seeding import generator
from tests.methods.games import Game, covered, curved, ones, shapley, tangled


def test_all_coalitions_give_the_exact_values() -> None:
    found = fs.ShapleySampling(samples=64)(Game(tangled), ones(6), target=0)
    np.testing.assert_allclose(found.values[0], shapley(tangled, 6), atol=1e-12)
    assert not found.errors.any()


def test_equals_its_formula_order_by_order() -> None:
    """The same orders, one feature at a time; efficiency holds for each of them."""
    found = fs.ShapleySampling(samples=50, seed=4)(Game(tangled), ones(6), target=0)
    pairs = 48 // 10
    orders = torch.rand(pairs, 6, generator=generator(4, 0)).argsort(1).tolist()
    added = np.zeros((pairs, 6))
    for p, order in enumerate(orders):
        for way in (order, order[::-1]):
            z = torch.zeros(1, 6, dtype=torch.float64)
            for i in way:
                before = float(tangled(z))
                z[0, i] = 1
                added[p, i] += (float(tangled(z)) - before) / 2
    np.testing.assert_allclose(found.values[0], added.mean(0), atol=1e-12)
    np.testing.assert_allclose(found.errors[0], added.std(0, ddof=1) / 2, atol=1e-12)
    assert found.values[0].sum() == pytest.approx(float(tangled(ones(6)) - tangled(0 * ones(6))))
    assert found.errors[0, 3] == 0  # the column without effect adds nothing in any order
    assert found.meta["evaluations"] <= 50


def test_a_sum_is_taken_apart_exactly() -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(20, 2).double(), torch.randn(2, 20).double()
    found = fs.ShapleySampling(samples=100)(model, x, target=1)
    np.testing.assert_allclose(found.values, (model.weight[1] * x).detach().numpy(), atol=1e-12)


def test_standard_errors_hold_what_they_promise() -> None:
    found = fs.ShapleySampling(samples=200)(Game(curved), ones(8, 300), target=0)
    truth = shapley(curved, 8)
    assert 0.90 <= covered(found.values, found.errors, truth) <= 0.97  # 14 pairs: Student's t, 92.8 %
    assert (np.abs(found.values.mean(0) - truth) < 4 * found.errors.mean(0) / np.sqrt(300)).all()
    assert 0.85 < found.values.std(0).mean() / found.errors.mean() < 1.15


def test_reverse_orders_lessen_the_error() -> None:
    """On a game of pairs a pair of orders is exact: what one order overrates its reverse underrates."""

    def pairs(z: torch.Tensor) -> torch.Tensor:
        return z[:, :1].squeeze(1) * z[:, 1:].sum(1) + z[:, 3] * z[:, 7]

    found = fs.ShapleySampling(samples=80)(Game(pairs), ones(8), target=0)
    np.testing.assert_allclose(found.values[0], shapley(pairs, 8), atol=1e-12)
    np.testing.assert_allclose(found.errors, 0, atol=1e-12)


def test_agrees_with_kernel_shap() -> None:
    a = fs.ShapleySampling(samples=2000, seed=1)(Game(curved), ones(12), target=0)
    b = fs.KernelSHAP(samples=2000, seed=1)(Game(curved), ones(12), target=0)
    assert (np.abs(a.values - b.values) < 4 * np.hypot(a.errors, b.errors) + 1e-9).all()
    assert a.errors.max() > 1e-4


def test_too_few_samples_are_told() -> None:
    with pytest.raises(OptionError, match="at least 398"):
        fs.ShapleySampling(samples=200)(nn.Linear(100, 2), torch.rand(1, 100))
