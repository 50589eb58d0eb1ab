"""KernelSHAP against Shapley values by their definition, and what mathematics guarantees of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import OptionError
from fluoroscope.methods.perturbation.kernel_shap import _plan, _System
from tests.methods.games import Game, covered, curved, everything, ones, shapley, tangled


def test_all_coalitions_give_the_exact_values() -> None:
    found = fs.KernelSHAP(samples=64)(Game(tangled), ones(6), target=0)
    expected = shapley(tangled, 6)
    np.testing.assert_allclose(found.values[0], expected, atol=1e-10)
    assert abs(expected[2]) > 0.1  # column 2 acts through interactions only
    assert not found.errors.any()
    assert found.meta["evaluations"] == 64
    assert found.axes == ("N", "D")


@pytest.mark.parametrize("samples", [20, 40, 60])
def test_efficiency_holds_for_any_number_of_samples(samples: int) -> None:
    found = fs.KernelSHAP(samples=samples)(Game(tangled), ones(6), target=0)
    whole, nothing = float(tangled(ones(6))), float(tangled(0 * ones(6)))
    assert found.values[0].sum() == pytest.approx(whole - nothing, abs=1e-10)
    assert found.errors.any()
    assert found.meta["evaluations"] <= samples


def test_symmetry_dummy_and_linearity() -> None:
    def even(z: torch.Tensor) -> torch.Tensor:
        return (z[:, 0] + z[:, 1]) ** 3 * z[:, 2]

    model = Game(tangled, lambda z: 2 * tangled(z) - even(z), even)
    found = fs.KernelSHAP()(model, ones(6), target=[[0, 1, 2]])
    one, both, other = found.values[0]
    assert found.axes == ("N", "K", "D")
    assert other[0] == pytest.approx(other[1], abs=1e-10)
    assert other[0] > 1
    np.testing.assert_allclose(other[3:], 0, atol=1e-10)
    np.testing.assert_allclose(both, 2 * one - other, atol=1e-10)


def test_a_sum_is_taken_apart_exactly_from_few_samples() -> None:
    torch.manual_seed(0)
    model, x, base = nn.Linear(20, 2).double(), torch.randn(2, 20).double(), torch.randn(20).double()
    found = fs.KernelSHAP(samples=60, baseline=base)(model, x, target=1)
    np.testing.assert_allclose(found.values, (model.weight[1] * (x - base)).detach().numpy(), atol=1e-9)
    np.testing.assert_allclose(found.errors, 0, atol=1e-9)


@pytest.mark.parametrize(("count", "samples"), [(9, 150), (8, 50)])
def test_standard_errors_hold_what_they_promise(count: int, samples: int) -> None:
    truth = shapley(curved, count)
    found = fs.KernelSHAP(samples=samples)(Game(curved), ones(count, 300), target=0)
    assert 0.92 <= covered(found.values, found.errors, truth) <= 0.975
    assert (np.abs(found.values.mean(0) - truth) < 4 * found.errors.mean(0) / np.sqrt(300)).all()
    assert 0.8 < found.values.std(0).mean() / found.errors.mean() < 1.2


def test_drawn_sizes_have_their_weight() -> None:
    """The middle size of an even number of features is its own complement, and counts once."""

    def middle(z: torch.Tensor) -> torch.Tensor:
        return 10.0 * (z.sum(1) == 3) * (z[:, 0] + 0.3 * z[:, 1]) + z[:, 2] * (z.sum(1) > 4)

    plan, everyone = _plan(6, 60, 60), torch.from_numpy(everything(6))
    assert plan.masks.sum(1).tolist().count(3) == 0
    scores = middle(everyone).numpy()[:, None]
    system = _System(6, scores[-1] - scores[0])
    system.complete(plan, middle(torch.from_numpy(plan.masks).double()).numpy()[:, None] - scores[0])
    drawn = everyone[everyone.sum(1) == 3]  # as if every coalition of the size that is left had been drawn once
    system.drawn(drawn.numpy() > 0, middle(drawn).numpy()[:, None], middle(1 - drawn).numpy()[:, None])
    np.testing.assert_allclose(system.solve().values[0], shapley(middle, 6), atol=1e-10)
    assert set(plan.draw(torch.Generator().manual_seed(0), 50).sum(1).tolist()) == {3}


def test_a_background_is_averaged_over() -> None:
    generator = torch.Generator().manual_seed(3)
    rows, x = torch.rand(5, 4, generator=generator).double(), torch.rand(1, 4, generator=generator).double()

    def product(z: torch.Tensor) -> torch.Tensor:
        return z[:, 0] * z[:, 1] + z[:, 2] ** 2 * z[:, 3]

    def game(masks: torch.Tensor) -> torch.Tensor:
        return torch.stack([product(torch.where(m > 0.5, x, rows)).mean() for m in masks])

    found = fs.KernelSHAP(background=rows)(Game(product), x, target=0)
    np.testing.assert_allclose(found.values[0], shapley(game, 4), atol=1e-10)
    assert found.values[0].sum() == pytest.approx(float(product(x) - product(rows).mean()), abs=1e-10)


def test_one_feature_gets_all() -> None:
    found = fs.KernelSHAP(segments=np.zeros(6, int))(Game(tangled), ones(6), target=0)
    np.testing.assert_allclose(found.values[0], float(tangled(ones(6)) - tangled(0 * ones(6))))


def test_too_few_samples_are_told() -> None:
    with pytest.raises(OptionError, match="too few samples"):
        fs.KernelSHAP(samples=30)(nn.Linear(100, 2), torch.rand(1, 100))
    with pytest.raises(OptionError, match="background"):
        fs.KernelSHAP(background=torch.rand(5, 3))(nn.Linear(4, 2), torch.rand(1, 4))
