"""Kept input tapes: gradients by programs are those of the network, whatever it is made of, and of no other network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs
from fluoroscope.model.program.kernels import Convolution
from tests.contract.networks import differences, snapshot
from tests.model.test_kept_tapes import kept, made, own, pictures, runs, through_data, warm

pytestmark = pytest.mark.usefixtures("small_programs")

SALIENCY = fs.Saliency(reduce="none")


class Body(nn.Module):
    """A stem, something in between, a head."""

    def __init__(self, between: nn.Module) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.between, self.fc = between, nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.between(F.relu(self.norm(self.stem(x))))
        return self.fc(y.mean((2, 3)))


class Doubled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(8, 4, 5, padding=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([F.relu(self.a(x)), self.b(x)], 1)


class Residual(nn.Module):
    def __init__(self, stride: int = 1, act: Callable[..., Any] = F.relu) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 8, 3, stride, 1), nn.BatchNorm2d(8)
        self.side = nn.Conv2d(8, 8, 1, stride) if stride > 1 else nn.Identity()
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.norm(self.conv(x)) + self.side(x))


KINDS: dict[str, Callable[[], nn.Module]] = {
    "residual": Residual,
    "stride": lambda: Residual(2),
    "silu": lambda: Residual(1, F.silu),
    "relu6": lambda: nn.Sequential(nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU6()),
    "hardtanh": lambda: nn.Sequential(nn.Conv2d(8, 8, 3), nn.Hardtanh(-0.3, 0.4)),
    "depthwise": lambda: nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU(), nn.Conv2d(8, 8, 1)),
    "grouped": lambda: nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1, groups=2), nn.ReLU(inplace=True)),
    "dilated": lambda: nn.Sequential(nn.Conv2d(8, 8, 3, padding=2, dilation=2), nn.ReLU()),
    "uneven": lambda: nn.Sequential(
        nn.Conv2d(8, 8, (1, 5), padding=(0, 2)), nn.Conv2d(8, 8, (5, 1), (2, 1)), nn.ReLU()
    ),
    "wide padding": lambda: nn.Sequential(nn.Conv2d(8, 8, 3, padding=4), nn.ReLU()),
    "pools": lambda: nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.Conv2d(8, 8, 1), nn.AvgPool2d(2)),
    "doubled": Doubled,
    "gelu": lambda: nn.Sequential(nn.Conv2d(8, 8, 3), nn.GELU(), nn.Conv2d(8, 8, 3), nn.LeakyReLU(0.1)),
}


def body(kind: str) -> Body:
    torch.manual_seed(3)
    network = Body(KINDS[kind]())
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, -1, 1.5)
    return network.eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 2])
def test_gradients_are_those_of_float64(kind: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluoroscope.model.program.runner.Runner._rows", lambda self, itemsize: rows)
    network, x = body(kind), pictures(3)
    before = snapshot(network)
    warm(network, x, SALIENCY)
    found, count = runs(network, lambda: SALIENCY(network, x, target=[[0, 1]] * 3))
    assert ([k.refused for k in kept(network)], count) == ([None], 0)
    truth = own(copy.deepcopy(network).double(), x.double(), SALIENCY, target=[[0, 1]] * 3)
    np.testing.assert_allclose(found.values, truth.values, atol=1e-5 * np.abs(truth.values).max())
    np.testing.assert_allclose(found.scores, truth.scores, rtol=1e-4, atol=1e-5)
    assert differences(before, snapshot(network)) == []


@pytest.mark.parametrize(
    "method",
    [fs.InputXGradient(), fs.SmoothGrad(samples=6), fs.IntegratedGradients(quadrature="riemann-middle", points=9)],
)
def test_methods_of_many_gradients(method: Any) -> None:
    network, x = body("residual"), pictures(2)
    expected = own(network, x, method, target=1)
    for _ in range(3):
        found = method(network, x, target=1)
    assert any(k.program is not None for k in kept(network))
    np.testing.assert_allclose(found.values, expected.values, atol=2e-5 * np.abs(expected.values).max())
    assert (found.meta["forwards"], found.meta["backwards"]) == (expected.meta["forwards"], expected.meta["backwards"])


def test_a_changed_network_answers_itself() -> None:
    network, x = made(), pictures(2)
    warm(network, x, SALIENCY)
    old, count = runs(network, lambda: SALIENCY(network, x, target=1))
    assert count == 0
    through_data(network)
    expected = own(network, x, SALIENCY, target=1)
    np.testing.assert_allclose(SALIENCY(network, x, target=1).values, expected.values, rtol=1e-5, atol=1e-7)
    assert np.abs(old.values - expected.values).max() > 1e-3 * np.abs(old.values).max()


@pytest.mark.parametrize("how", ["detached", "straight", "dict", "branch"])
def test_what_a_program_can_not_be_right_for_is_refused(how: str) -> None:
    network, x = made(how), pictures(2)
    expected = own(network, x, SALIENCY, target=1)
    warm(network, x, SALIENCY)
    found, count = runs(network, lambda: SALIENCY(network, x, target=1))
    assert count == 1
    np.testing.assert_array_equal(found.values, expected.values)
    assert all(k.refused for k in kept(network))


@pytest.mark.parametrize("method", [fs.GuidedBackprop(), fs.Deconvnet(), fs.DeepLIFT()])
def test_methods_with_rules_of_their_own_run_the_network(method: Any) -> None:
    network, x = made(), pictures(2)
    warm(network, x, SALIENCY)
    expected = own(network, x, method, target=1)
    found, count = runs(network, lambda: method(network, x, target=1))
    assert count > 0
    np.testing.assert_array_equal(found.values, expected.values)


def test_a_wrong_slope_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Convolution.slope
    monkeypatch.setattr(Convolution, "slope", lambda *given: right(*given) * 1.2)
    network, x = made(), pictures(2)
    warm(network, x, SALIENCY)
    assert [k.refused for k in kept(network)] == ["the program did not give the network's answers"]
