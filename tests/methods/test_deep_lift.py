"""DeepLIFT: the rescale rule by hand, completeness for every spelling, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import NotApplicable
from fluoroscope.model.rescale import RescaleRule
from tests.methods.small_networks import SPELLINGS, Bends, Two, Words, made, normal


def by_hand(model: Bends, x: torch.Tensor, r: torch.Tensor, target: int) -> np.ndarray:
    """Multipliers layer by layer; max pooling shares among the places of both maxima."""

    def ratio(function: Any, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return (function(u) - function(v)) / (u - v)

    with torch.no_grad():
        u1, v1 = model.a(x), model.a(r)
        (pu, iu), (pv, iv) = (F.max_pool2d(t.relu(), 2, return_indices=True) for t in (u1, v1))
        u2, v2 = model.b(pu), model.b(pv)
        size = u2.shape[-1] // 2
        m = model.fc.weight[target].view(1, 4, 2, 2).repeat_interleave(size, 2).repeat_interleave(size, 3) / size**2
        m = m * torch.where(u2.relu() == v2.relu(), (u2 > 0).double(), ratio(torch.tanh, u2.relu(), v2.relu()))
        m = F.conv_transpose2d(m * ratio(torch.relu, u2, v2), model.b.weight, padding=1)
        upper = torch.maximum(pu, pv)
        shared = F.max_unpool2d(m * (upper - pv), iu, 2) + F.max_unpool2d(m * (pu - upper), iv, 2)
        difference = u1.relu() - v1.relu()
        m = torch.where(difference == 0, torch.zeros_like(shared), shared / difference) * ratio(torch.relu, u1, v1)
        return (F.conv_transpose2d(m, model.a.weight, padding=1) * (x - r)).numpy()


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_equals_the_rule_by_hand(spelling: str) -> None:
    model, x = made(Bends, spelling), normal(2, 2, 8, 8)
    r = normal(2, 8, 8, seed=5)
    found = fs.DeepLIFT(baseline=r)(model, x, target=1)
    np.testing.assert_allclose(found.values, by_hand(model, x, r.expand_as(x), 1), rtol=1e-6, atol=1e-10)
    rise = (model(x) - model(r[None]))[:, 1].detach().numpy()
    np.testing.assert_allclose(found.values.reshape(2, -1).sum(1), rise, rtol=1e-9)
    assert found.meta["completeness_error"] < 1e-9
    assert np.abs(rise).min() > 1e-3


CURVES = [
    nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(), nn.PReLU(), nn.ELU(), nn.SELU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(),
    nn.Mish(), nn.Sigmoid(), nn.Tanh(), nn.Softplus(), nn.Hardswish(), nn.Softsign(),
    nn.Hardtanh(inplace=True), nn.SiLU(inplace=True),
]  # fmt: skip


@pytest.mark.parametrize("curve", CURVES, ids=str)
def test_is_complete_for_every_curve(curve: nn.Module) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), curve, nn.Linear(8, 8), curve, nn.Linear(8, 3)).double()
    x, r = normal(4, 5), normal(5, seed=2)
    found = fs.DeepLIFT(baseline=r)(model, x, target=[[0, 2]] * 4)
    rise = (model(x) - model(r[None]))[:, [0, 2]].detach().numpy()
    np.testing.assert_allclose(found.values.sum(-1), rise, rtol=1e-9)
    plain = fs.InputXGradient()(model, x, target=0).values.sum(-1)
    assert np.abs(plain - rise[:, 0]).max() > 1e-3  # a gradient is not complete here


def test_a_function_of_one_variable_gets_all_of_the_difference() -> None:
    class Curved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 1 / (1 + (torch.exp(x) + x.abs()) ** 2) + 0 * self.fc(x)

    model, x = made(Curved), normal(6, 1)
    found = fs.DeepLIFT(baseline=0.3)(model, x, target=0)
    expected = model(x) - model(torch.full_like(x, 0.3))
    np.testing.assert_allclose(found.values, expected.detach().numpy(), rtol=1e-8)


def test_equals_the_gradient_where_nothing_differs() -> None:
    model, x = made(Bends), normal(1, 2, 8, 8)
    found = fs.DeepLIFT(baseline=x[0])(model, x, target=1)
    assert not found.values.any()
    assert found.meta["completeness_error"] == 0


def test_probabilities_at_the_end_are_left_out() -> None:
    body = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    x = normal(3, 5)
    plain = fs.DeepLIFT()(body, x, target=1)
    for last in (nn.Softmax(1), nn.LogSoftmax(1), nn.Sigmoid()):
        found = fs.DeepLIFT()(nn.Sequential(body, last), x, target=1)
        np.testing.assert_allclose(found.values, plain.values, rtol=1e-9)


def test_networks_that_it_does_not_hold_for_are_refused() -> None:
    cases = {
        "mul": (made(Two), (normal(2, 3), normal(2, 4))),
        "layer_norm": (nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)).double(), normal(2, 3)),
        "softmax": (nn.Sequential(nn.Linear(3, 4), nn.Softmax(1), nn.Linear(4, 2)).double(), normal(2, 3)),
        "multi_head|scaled|attention|_native|mul|baddbmm": (_Attention().double(), normal(2, 5, 4)),
    }
    for name, (model, x) in cases.items():
        if name == "mul":  # linear in the first input alone
            assert fs.DeepLIFT()(model, x, target=0).meta["completeness_error"] < 1e-9
            continue
        with pytest.raises(NotApplicable, match=name):
            fs.DeepLIFT()(model, x, target=0)

    class Square(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.fc(x)
            return y * torch.sigmoid(y)

    with pytest.raises(NotApplicable, match="mul"):
        fs.DeepLIFT()(made(Square), normal(2, 3), target=0)


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend, self.fc = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.attend(x, x, x, need_weights=False)[0].mean(1))


def test_what_the_rule_misses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A nonlinear function that no list names keeps its slope; the sum then shows it."""
    monkeypatch.setattr("fluoroscope.model.rescale.ONE_VARIABLE", frozenset())
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    found = fs.DeepLIFT()(model, 3 * normal(3, 5), target=1)
    assert found.meta["completeness_error"] > 0.01
    assert any("do not add up" in n for n in found.notes)


def test_tokens() -> None:
    model, ids = made(Words), torch.tensor([[1, 5, 2, 5], [0, 3, 3, 9]])
    found = fs.DeepLIFT(baseline=torch.zeros(4, dtype=torch.long))(model, ids, target=1)
    rise = (model(ids) - model(torch.zeros_like(ids)))[:, 1].detach().numpy()
    np.testing.assert_allclose(found.values.sum(1), rise, rtol=1e-9)
    assert found.axes == ("N", "L")


def test_pooling_of_overlapping_windows_in_one_to_three_dimensions() -> None:
    for rank, conv in ((1, nn.Conv1d), (2, nn.Conv2d), (3, nn.Conv3d)):
        pool = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[rank - 1](3, stride=2, padding=1)
        end = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)[rank - 1](2)
        torch.manual_seed(1)
        model = nn.Sequential(conv(1, 3, 3), nn.ReLU(), pool, nn.Tanh(), end, nn.Flatten(), nn.Linear(3 * 2**rank, 2))
        x = normal(2, 1, *[9] * rank)
        found = fs.DeepLIFT(baseline=0.1)(model.double(), x, target=1)
        rise = (model(x) - model(torch.full_like(x, 0.1)))[:, 1].detach().numpy()
        np.testing.assert_allclose(found.values.reshape(2, -1).sum(1), rise, rtol=1e-6)


def test_the_rule_names_what_it_replaced() -> None:
    with RescaleRule() as rule:
        made(Bends).requires_grad_(False)(normal(2, 2, 8, 8).requires_grad_())
    assert rule.handled == {"relu", "tanh", "max_pool2d"}
    assert not rule.refused
