"""Sampling methods on pictures: early layers once for what masks have in common, and the values of whole forwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.model import masked
from fluoroscope.model.program import rowwise
from tests.contract.networks import differences, snapshot

METHODS = [
    fs.LIME(samples=150, count=16),
    fs.LIME(samples=150, count=16, segments="superpixels"),
    fs.KernelSHAP(samples=150, count=16),
    fs.ShapleySampling(samples=150, count=16),
    fs.HSIC(samples=150, count=16),
    fs.Sobol(samples=400, count=64),
]


class Deep(nn.Module):
    """A stem, two blocks with a shortcut, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.stem, self.norm = nn.Conv2d(3, 16, 5, 2, 2, bias=False), nn.BatchNorm2d(16)
        self.one, self.two, self.down = (
            nn.Conv2d(16, 16, 3, 1, 1),
            nn.Conv2d(16, 16, 3, 1, 1),
            nn.Conv2d(16, 24, 3, 2, 1),
        )
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(24, 4)
        nn.init.uniform_(self.norm.running_var, 0.5, 1.5)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.norm(self.stem(x)))
        y = self.two(self.relu(self.one(x)))
        y += x
        y = self.down(self.relu(y))
        return self.head(self.relu(y).mean((2, 3)))


def pictures(count: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(4))


def both(method: Any, monkeypatch: pytest.MonkeyPatch, x: torch.Tensor, **rest: Any) -> tuple[Any, Any]:
    """Results with what masks have in common computed once, and by whole forwards."""
    model = Deep()
    before = snapshot(model)
    found = method(model, x, **rest)
    assert differences(before, snapshot(model)) == []
    with monkeypatch.context() as patch:
        patch.setattr(masked, "FEWEST", 10**9)
        return found, method(model, x, **rest)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m.name}-{getattr(m, 'segments', '')}")
def test_values_are_those_of_whole_forwards(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found, expected = both(method, monkeypatch, pictures(), target=[[0, 3]])
    assert found.meta["share_of_forward"] < 0.9
    assert found.meta["forwards"] < 0.95 * expected.meta["forwards"]
    assert found.meta["evaluations"] == expected.meta["evaluations"]
    assert "share_of_forward" not in expected.meta
    scale = np.abs(expected.values).max()
    np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=1e-4 * scale)
    np.testing.assert_allclose(found.errors, expected.errors, rtol=0, atol=1e-4 * scale)


def test_in_double_precision_to_ten_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = Deep().double(), pictures().double()
    found = METHODS[0](model, x, target=1)
    assert found.meta["share_of_forward"] < 0.9
    monkeypatch.setattr(masked, "FEWEST", 10**9)
    expected = METHODS[0](model, x, target=1)
    np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=1e-10 * np.abs(expected.values).max())


def test_several_examples_and_a_target_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def margin(output: torch.Tensor) -> torch.Tensor:
        return output[:, 0] - output[:, 1]

    found, expected = both(METHODS[1], monkeypatch, pictures(3), target=margin)
    assert found.meta["share_of_forward"] < 0.9
    np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=1e-4 * np.abs(expected.values).max())


def test_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    method = fs.LIME(samples=150, count=16, precision="bfloat16")
    found, expected = both(method, monkeypatch, pictures(), target=0)
    exact, _ = both(METHODS[0], monkeypatch, pictures(), target=0)
    assert found.meta["share_of_forward"] < 0.9
    assert 0 < found.meta["precision_difference"] < 0.1
    size = np.abs(exact.values).max()
    assert np.abs(found.values - exact.values).max() < max(
        0.05 * size, 2 * np.abs(expected.values - exact.values).max()
    )


def test_a_planted_fault_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    _, expected = both(METHODS[0], monkeypatch, pictures(), target=0)
    sound = rowwise._Dense.__call__
    monkeypatch.setattr(rowwise._Dense, "__call__", lambda self, parts: sound(self, parts) * 1.01)
    found = METHODS[0](Deep(), pictures(), target=0)
    assert any("in common" in note for note in found.notes)
    assert "share_of_forward" not in found.meta
    np.testing.assert_array_equal(found.values, expected.values)


def test_memory_that_runs_out_means_whole_forwards(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    _, expected = both(METHODS[0], monkeypatch, pictures(), target=0)
    monkeypatch.setattr("fluoroscope.model.program.shared.computed", full)
    np.testing.assert_array_equal(METHODS[0](Deep(), pictures(), target=0).values, expected.values)


def test_very_many_features_are_not_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masked, "MOST_FEATURES", 15)
    found, expected = both(METHODS[0], monkeypatch, pictures(), target=0)
    assert "share_of_forward" not in found.meta
    np.testing.assert_array_equal(found.values, expected.values)
