"""What sampling methods share: equal variants run once, batches, stopping, and errors on results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.methods.perturbation.variants import Variants
from fluoroscope.model.fast_forward import FastForward
from fluoroscope.results import joined
from tests.contract.networks import images, network
from tests.methods.games import RUNS, Game, curved, ones, tangled

EVERY = [fs.LIME, fs.KernelSHAP, fs.ShapleySampling, fs.RISE, fs.Sobol, fs.HSIC]


@pytest.fixture(autouse=True)
def fresh() -> None:
    RUNS.clear()


@pytest.mark.parametrize("method", [fs.LIME, fs.KernelSHAP, fs.ShapleySampling, fs.HSIC])
def test_equal_variants_run_once(method: type) -> None:
    found = method(samples=3000)(Game(tangled), ones(6, 2), target=0)
    rows = torch.cat(RUNS[1:])  # the first run is that of the examples themselves
    assert len(rows) == 2 * 64
    assert len(torch.unique(rows, dim=0)) == 64
    assert found.meta["evaluations"] == 128
    assert found.meta["evaluations_per_example"] == [64, 64]


@pytest.mark.parametrize("method", EVERY)
def test_batch_size_bounds_what_runs_at_once(method: type) -> None:
    free = method(samples=300)(Game(curved), ones(9), target=0)
    assert max(map(len, RUNS)) > 50
    RUNS.clear()
    bound = method(samples=300, batch_size=7)(Game(curved), ones(9), target=0)
    assert max(map(len, RUNS)) == 7
    np.testing.assert_allclose(bound.values, free.values, atol=1e-12)
    np.testing.assert_allclose(bound.errors, free.errors, atol=1e-12)


@pytest.mark.parametrize("method", EVERY)
def test_many_targets_share_the_forwards(method: type) -> None:
    both = method(samples=300)(Game(curved, tangled), ones(9), target=[[0, 1]])
    spent = sum(map(len, RUNS))
    RUNS.clear()
    for k in (0, 1):
        one = method(samples=300)(Game(curved, tangled), ones(9), target=k)
        assert sum(map(len, RUNS)) == spent
        RUNS.clear()
        np.testing.assert_allclose(both.values[:, k], one.values, atol=1e-12)
        np.testing.assert_allclose(both.errors[:, k], one.errors, atol=1e-12)


@pytest.mark.parametrize("method", EVERY)
def test_it_stops_when_the_error_is_small_enough(method: type) -> None:
    found = method(samples=8000 if method is fs.HSIC else 60_000, stop_error=0.2)(Game(curved), ones(17, 2), target=0)
    errors, values = np.linalg.norm(found.errors, axis=1), np.linalg.norm(found.values, axis=1)
    assert found.meta["standard_error_per_example"] == pytest.approx((errors / values).tolist())
    assert 0 < found.meta["standard_error"] <= 0.2
    assert found.meta["evaluations"] < 15_000
    assert not any("were spent" in note for note in found.notes)
    capped = method(samples=100, stop_error=0.001)(Game(curved), ones(17), target=0)
    assert capped.meta["evaluations"] <= 100
    assert any("were spent" in note for note in capped.notes)


@pytest.mark.parametrize("method", EVERY)
def test_more_samples_make_smaller_errors(method: type) -> None:
    few = method(samples=400)(Game(curved), ones(14), target=0)
    many = method(samples=1600)(Game(curved), ones(14), target=0)
    assert 0.3 < np.linalg.norm(many.errors) / np.linalg.norm(few.errors) < 0.7


def test_out_of_memory_halves_what_runs_at_once() -> None:
    class Small(Game):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if len(x) > 20:
                raise torch.OutOfMemoryError("planted")
            return super().forward(x)

    found = fs.KernelSHAP(samples=200)(Small(curved), ones(9), target=0)
    plain = fs.KernelSHAP(samples=200)(Game(curved), ones(9), target=0)
    np.testing.assert_allclose(found.values, plain.values, atol=1e-12)
    assert any("memory ran out" in note for note in found.notes)


def test_errors_are_saved_joined_and_left_alone(tmp_path: Path) -> None:
    found = fs.KernelSHAP(samples=110, count=20)(network(), images(3), target=1)
    assert found.errors.shape == found.values.shape
    assert (found.errors > 0).any()
    opened = fs.open_result(found.save(tmp_path / "a"))
    np.testing.assert_array_equal(opened.errors, found.errors)
    two = joined([found, opened])
    assert two.errors.shape == two.values.shape == (6, *found.values.shape[1:])
    assert found.resized(24, 32).shape == (3, 24, 32)
    assert fs.Saliency()(network(), images(1), target=1).errors is None


def test_a_series_is_cut_into_windows() -> None:
    class Sums(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, 0].sum(1, keepdim=True) + 2 * x[:, 1].sum(1, keepdim=True)

    x = torch.rand(2, 2, 12)
    found = fs.KernelSHAP(count=4)(Sums(), x, target=0)
    assert found.axes == ("N", "T")
    assert found.size == (12,)
    expected = (x[:, 0] + 2 * x[:, 1]).reshape(2, 4, 3).sum(2)
    np.testing.assert_allclose(found.values, expected.numpy(), rtol=1e-4)


def test_one_of_several_inputs_is_chosen() -> None:
    class Two(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return (a.sum(1) * b.sum(1))[:, None]

    a, b = torch.rand(2, 3), torch.rand(2, 5)
    found = fs.KernelSHAP(input=1)(Two(), (a, b), target=0)
    np.testing.assert_allclose(found.values, (a.sum(1, keepdim=True) * b).numpy(), rtol=1e-4)


@pytest.mark.parametrize("method", EVERY)
def test_a_constant_score_gives_zeros(method: type) -> None:
    found = method(samples=300)(Game(lambda z: 0 * z[:, 0] + 7), ones(9), target=0)
    np.testing.assert_allclose(found.values, 0, atol=1e-12)
    np.testing.assert_allclose(found.errors, 0, atol=1e-12)
    assert found.meta["standard_error"] <= 1e-9 or not found.errors.any() or method is fs.LIME


def test_pictures_go_a_faster_way_that_answers_alike() -> None:
    """Convolutions are joined with what follows them; the masks and the values stay the same."""
    model, x = network(), images(2)
    fast = fs.KernelSHAP(samples=120, count=20)(model, x, target=1)
    usual = Variants._runner
    try:
        Variants._runner = lambda self, precision: self.study.scored
        plain = fs.KernelSHAP(samples=120, count=20)(model, x, target=1)
    finally:
        Variants._runner = usual
    np.testing.assert_allclose(fast.values, plain.values, atol=1e-5 * np.abs(plain.values).max())
    assert np.abs(plain.values).max() > 0


class Bare(nn.Module):
    """Convolutions without modules."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Parameter(torch.randn(8, 3, 3, 3)), nn.Parameter(torch.randn(4, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(nn.functional.conv2d(x, self.first).relu().mean((2, 3)), self.last)


def test_a_functional_network_goes_the_faster_way_too(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    usual = FastForward.__init__

    def seen(self: FastForward, *arguments: Any) -> None:
        usual(self, *arguments)
        made.append(self.kind)

    monkeypatch.setattr(FastForward, "__init__", seen)
    fs.LIME(samples=60, count=9)(Bare(), torch.rand(1, 3, 16, 16), target=1)
    assert made == ["program"]


def test_bfloat16_tells_what_it_changed() -> None:
    model, x = network(), images(2)
    exact = fs.KernelSHAP(samples=120, count=20)(model, x, target=1)
    rough = fs.KernelSHAP(samples=120, count=20, precision="bfloat16")(model, x, target=1)
    assert "precision_difference" not in exact.meta
    assert 0 < rough.meta["precision_difference"] < 0.05
    assert 0 < np.abs(rough.values - exact.values).max() < 0.2 * np.abs(exact.values).max()
    np.testing.assert_array_equal(rough.scores, exact.scores)
