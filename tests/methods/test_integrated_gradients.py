"""Integrated gradients where the integral is known, against a plain fine sum, and for what adaptivity promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import OptionError
from fluoroscope.methods.gradient.quadrature import RULES, Panels, blocks
from tests.methods.small_networks import SPELLINGS, Bends, Two, Words, made, normal, plain_gradient


class Formula(nn.Module):
    """Any function of rows (N, D) -> (N,)."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function, self.one = function, nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.function(x) * self.one)[:, None]


def reference(model: nn.Module, x: torch.Tensor, baseline: torch.Tensor, target: int, steps: int = 1500) -> np.ndarray:
    """The middle of ``steps`` equal steps, a sum and nothing else."""
    total = np.zeros(x.shape)
    for start in range(0, steps, 500):
        t = ((torch.arange(start, min(start + 500, steps)) + 0.5) / steps).double().view(-1, *[1] * (x.ndim - 1))
        for n in range(len(x)):
            points = baseline[n] + t * (x[n] - baseline[n])
            total[n] += plain_gradient(lambda v: model(v)[:, target], points).sum(0)
    return total / steps * (x - baseline).numpy()


def test_exact_where_the_integral_is_known() -> None:
    x = torch.tensor([[2.0, 3.0], [-1.0, 0.5]], dtype=torch.float64)
    cases = {
        "product": (lambda v: v[:, 0] * v[:, 1], lambda a, b: (a * b / 2, a * b / 2)),
        "polynomial": (
            lambda v: v[:, 0] ** 3 * v[:, 1] + v[:, 1] ** 2,
            lambda a, b: (0.75 * a**3 * b, 0.25 * a**3 * b + b**2),
        ),
        "sixth": (lambda v: v[:, 0] ** 6 + 2 * v[:, 1], lambda a, b: (a**6, 2 * b)),
    }
    for name, (function, answer) in cases.items():
        found = fs.IntegratedGradients()(Formula(function), x, target=0)
        expected = [answer(float(a), float(b)) for a, b in x]
        np.testing.assert_allclose(found.values, expected, rtol=1e-9, err_msg=name)
        assert found.meta["evaluations_per_example"] == [5, 5]


def test_one_rectifier_that_bends_between_the_points() -> None:
    """f = max(x - 0.3, 0) + 2 y from (0, 0) to (1, 1): x contributes 0.7, y 2; completeness alone does not say so."""
    model = Formula(lambda v: (v[:, 0] - 0.3).relu() + 2 * v[:, 1])
    x = torch.ones(1, 2, dtype=torch.float64)
    np.testing.assert_allclose(fs.IntegratedGradients()(model, x, target=0).values, [[0.7, 2.0]], atol=0.03)
    fine = fs.IntegratedGradients(tolerance=1e-4)(model, x, target=0)
    np.testing.assert_allclose(fine.values, [[0.7, 2.0]], atol=1e-3)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_comes_as_near_as_asked(spelling: str) -> None:
    model, x = made(Bends, spelling), normal(2, 2, 8, 8)
    expected = reference(model, x, torch.zeros_like(x), 1)
    rise = (model(x) - model(x * 0))[:, 1].detach().numpy()
    far = []
    for tolerance in (0.1, 0.01, 0.001):
        found = fs.IntegratedGradients(tolerance=tolerance)(model, x, target=1)
        np.testing.assert_allclose(found.values.reshape(2, -1).sum(1), rise, rtol=tolerance)
        assert found.meta["completeness_error"] <= tolerance
        far.append(np.linalg.norm(found.values - expected) / np.linalg.norm(expected))
        assert found.meta["map_error"] / 3 <= far[-1] <= found.meta["map_error"] * 1.2
        assert far[-1] <= 50 * tolerance
    assert far[-1] < far[0] < 0.3


def test_adds_points_only_where_an_example_needs_them() -> None:
    model = Formula(lambda v: torch.sigmoid(60 * (v[:, 0] - 0.1)) + v[:, 1] ** 2)
    x = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    found = fs.IntegratedGradients(tolerance=1e-4)(model, x, target=0)
    hard, easy = found.meta["evaluations_per_example"]
    assert easy == 5
    assert 5 < hard < 120  # equal steps of the same finest width would be hundreds
    step = 1 / (1 + np.exp(-54)) - 1 / (1 + np.exp(6))
    np.testing.assert_allclose(found.values, [[step, 1.0], [0.0, 1.0]], atol=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_fixed_rules(rule: str) -> None:
    model, x = made(Bends), normal(2, 2, 8, 8)
    weights = {
        "riemann-left": (np.arange(20) / 20, np.full(20, 1 / 20)),
        "riemann-middle": ((np.arange(20) + 0.5) / 20, np.full(20, 1 / 20)),
        "riemann-right": (np.arange(1, 21) / 20, np.full(20, 1 / 20)),
        "trapezoid": (np.arange(20) / 19, np.array([0.5, *[1] * 18, 0.5]) / 19),
        "gauss-legendre": tuple(v / 2 + s for v, s in zip(np.polynomial.legendre.leggauss(20), (0.5, 0), strict=True)),
    }[rule]
    expected = (
        sum(w * plain_gradient(lambda v: model(v)[:, 1], x * t) for t, w in zip(*weights, strict=True)) * x.numpy()
    )
    found = fs.IntegratedGradients(quadrature=rule, points=20)(model, x, target=1)
    np.testing.assert_allclose(found.values, expected, rtol=1e-8, atol=1e-14)
    rise = (model(x) - model(x * 0))[:, 1].detach().numpy()
    error = np.abs(expected.reshape(2, -1).sum(1) - rise) / np.abs(rise)
    np.testing.assert_allclose(found.meta["completeness_error_per_example"], error, rtol=1e-6)
    assert found.meta["evaluations"] == 2 * 22


def test_baselines_of_every_kind() -> None:
    model, x = made(Bends), normal(3, 2, 8, 8)
    whole = torch.stack([torch.full((2, 8, 8), 0.2 * n, dtype=torch.float64) for n in range(3)])
    cases = {
        "number": (0.5, torch.full_like(x, 0.5)),
        "mean": ("mean", x.mean((2, 3), keepdim=True).expand_as(x)),
        "one": (whole[1], whole[1].expand_as(x)),
        "each": (whole, whole),
        "array": (whole.numpy(), whole),
    }
    for name, (baseline, expected) in cases.items():
        found = fs.IntegratedGradients(baseline=baseline, tolerance=1e-3, batch_size=2)(model, x, target=1)
        rise = (model(x) - model(expected))[:, 1].detach().numpy()
        np.testing.assert_allclose(found.values.reshape(3, -1).sum(1), rise, rtol=2e-3, err_msg=name)
        distance = np.abs(found.values - reference(model, x, expected, 1, 250)).max()
        assert distance < 0.05 * np.abs(found.values).max(), name
    constant = torch.full((1, 2, 8, 8), 0.7, dtype=torch.float64)
    assert np.abs(fs.IntegratedGradients(baseline="blur")(model, constant, target=1).values).max() < 1e-14
    blurred = fs.IntegratedGradients(baseline="blur")(model, x, target=1)
    assert blurred.meta["completeness_error"] < 0.01
    with pytest.raises(OptionError, match="no such baseline"):
        fs.IntegratedGradients(baseline="black")
    with pytest.raises(OptionError, match="baseline does not fit"):
        fs.IntegratedGradients(baseline=torch.zeros(2, 8, 7))(model, x, target=1)
    with pytest.raises(OptionError, match="for images and series"):
        fs.IntegratedGradients(baseline="mean")(nn.Linear(3, 2), torch.rand(2, 3), target=1)


def test_tokens_against_other_tokens() -> None:
    model, ids = made(Words), torch.tensor([[1, 5, 2, 5], [0, 3, 3, 9]])
    padding = torch.zeros(4, dtype=torch.long)
    found = fs.IntegratedGradients(baseline=padding, tolerance=1e-4)(model, ids, target=1)
    rise = (model(ids) - model(padding.expand(2, -1)))[:, 1].detach().numpy()
    np.testing.assert_allclose(found.values.sum(1), rise, rtol=1e-4)
    assert found.values[1, 0] == 0  # the same token there
    assert found.axes == ("N", "L")
    rest = model.place(torch.arange(4)).detach()
    vectors, begin = model.embed(ids).detach(), model.embed(padding).detach()[None].expand(2, -1, -1)
    tail = Formula(lambda v: model.after(v + rest)[:, 1])
    np.testing.assert_allclose(found.values, reference(tail, vectors, begin, 0, 1000).sum(-1), atol=1e-5)


def test_several_targets_and_inputs() -> None:
    model, a, b = made(Two), normal(2, 3), normal(2, 4, seed=1)
    found = fs.IntegratedGradients(input=1)(model, (a, b), target=[[0, 1], [1, 0]])
    expected = model(a, b) - model(a, b * 0)
    rises = torch.stack([expected[0], expected[1].flip(0)]).detach().numpy()
    assert found.axes == ("N", "K", "D")
    np.testing.assert_allclose(found.values.sum(-1), rises, rtol=1e-9)
    one = fs.IntegratedGradients(input=1)(model, (a, b), target=[1, 0])
    np.testing.assert_allclose(found.values[:, 1], np.stack([one.values[0], one.values[1]]), rtol=1e-9)


def test_memory_is_bounded_by_the_batch_size() -> None:
    sizes: list[int] = []

    class Watched(Bends):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(len(x))
            if len(x) > 6:
                raise RuntimeError("DefaultCPUAllocator: not enough memory")
            return super().forward(x)

    model, x = made(Watched), normal(3, 2, 8, 8)
    small = fs.IntegratedGradients(batch_size=4)(model, x, target=1)
    assert max(sizes) == 4
    cut = fs.IntegratedGradients(batch_size=16)(model, x, target=1)
    np.testing.assert_allclose(cut.values, small.values, rtol=1e-9)
    assert any("memory ran out" in n for n in cut.notes)


def test_what_is_not_reached_is_told() -> None:
    model = Formula(lambda v: torch.sin(200 * v[:, 0]) + 0.01 * v[:, 0])
    found = fs.IntegratedGradients(max_evaluations=13)(model, torch.ones(1, 1, dtype=torch.float64), target=0)
    assert found.meta["completeness_error"] > 0.01
    assert any("above the tolerance" in n for n in found.notes)
    assert found.meta["evaluations"] <= 13


def test_equal_input_and_baseline_and_constant_networks() -> None:
    model, x = made(Bends), normal(1, 2, 8, 8)
    same = fs.IntegratedGradients(baseline=x[0])(model, x, target=1)
    assert not same.values.any()
    assert same.meta["completeness_error"] == 0
    assert same.meta["evaluations"] == 5


def test_half_formats() -> None:
    model, x = made(Bends), normal(2, 2, 8, 8)
    full = fs.IntegratedGradients()(model, x, target=1).values
    for dtype in (torch.bfloat16, torch.float16):
        found = fs.IntegratedGradients()(made(Bends).to(dtype), x, target=1)
        assert np.isfinite(found.values).all()
        assert np.linalg.norm(found.values - full) < 0.3 * np.linalg.norm(full)


def test_the_error_is_that_of_the_rule_itself() -> None:
    """The weights are known from the points alone: nothing is adjusted so that the sum comes out right."""
    model = Formula(lambda v: torch.sigmoid(25 * (v[:, 0] - 0.37)) + v[:, 1] ** 2)
    x = torch.ones(1, 2, dtype=torch.float64)
    asked: list[float] = []
    learn = Panels.learn

    def heard(self: Panels, t: float, score: Any, slope: Any) -> None:
        asked.append(t)
        learn(self, t, score, slope)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Panels, "learn", heard)
        found = fs.IntegratedGradients(tolerance=0.02)(model, x, target=0)
    points = np.sort(asked)
    slopes = plain_gradient(lambda v: model(v)[:, 0], torch.from_numpy(points)[:, None] * x)
    trapezoid = np.trapezoid(slopes, points, axis=0)
    rise = float((model(x) - model(0 * x)).detach())
    np.testing.assert_allclose(found.values[0], trapezoid, rtol=1e-12)
    error = abs(trapezoid.sum() - rise) / rise
    assert error > 1e-5
    assert found.meta["completeness_error"] == pytest.approx(error, rel=1e-6)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_rules_of_panels_that_are_halved_unevenly(level: int) -> None:
    """Each rule integrates the polynomials that it is exact for, whatever panels are halved; the points add up to 1."""
    panels = Panels(0.01)
    panels.split |= {(0.0, 0.25), (0.125, 0.25), (0.5, 0.75)}
    power = (1, 3, 5)[level] if level < 2 else 3
    for t in panels.points:
        panels.learn(t, np.array([t ** (power + 1)]), np.array([(power + 1) * t**power]))
    found = list(blocks(panels.split, level))
    assert sum(b - a for (a, b), _ in found) == 1
    errors = panels._errors(level)[1][:, 0]
    exact = [abs(e) < 1e-12 for e, (_, depth) in zip(errors, found, strict=True) if (1, 3, 5)[depth] >= power]
    assert all(exact)
    assert exact or level == 0
    np.testing.assert_allclose(panels.weights().sum(0), 1)
    assert set(panels.points) == {0, 0.125, 0.1875, 0.25, 0.5, 0.625, 0.75, 1}


def test_a_score_that_jumps_ends_with_a_note_and_the_gradients_part() -> None:
    """A step between baseline and input: halving its panel would never end. The gradient's part is exact without it."""

    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([1.0, -2.0, 4.0], dtype=torch.float64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            score = x @ self.weight
            return torch.stack([score + 5 * (score > 0.7).to(score), -score], 1)

    x = torch.tensor([[1.0, 0.5, 0.4]], dtype=torch.float64)
    found = fs.IntegratedGradients()(Step(), x, target=0)
    np.testing.assert_allclose(found.values, x * torch.tensor([1.0, -2.0, 4.0]), atol=1e-9)
    assert found.meta["completeness_error"] == pytest.approx(5 / 6.6, rel=1e-6)
    assert any("the score jumps along the path" in note for note in found.notes)
    assert found.meta["evaluations"] < 60  # no more than finds the jump
    smooth = fs.IntegratedGradients()(Step(), x, target=1)
    assert not any("jumps" in note for note in smooth.notes)


def test_codes_in_a_table_jump_and_the_other_columns_are_still_right() -> None:
    """Whole numbers that are looked up jump several times on the way; the curved rest is as exact as without them."""

    class Codes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding.from_pretrained(torch.tensor([[0.3], [-1.0], [0.8], [2.0], [-0.5]]).double())
            self.weight = nn.Parameter(torch.tensor([1.5, -2.0], dtype=torch.float64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            score = (self.table(x[:, 0].long()) + (x[:, 1:] * self.weight).tanh()).sum(1)
            return torch.stack([score, -score], 1)

    x = torch.tensor([[4.0, 1.1, 0.7], [3.0, -0.4, 0.9]], dtype=torch.float64)
    found = fs.IntegratedGradients()(Codes(), x, target=0)
    exact = (x[:, 1:] * torch.tensor([1.5, -2.0])).tanh()  # each column alone, from 0 on
    np.testing.assert_allclose(found.values[:, 0], 0)
    np.testing.assert_allclose(found.values[:, 1:], exact, rtol=0.02)  # 1 % of the whole
    assert any("jumps along the path" in note for note in found.notes)
    assert found.meta["evaluations"] < 2 * 250  # of both
