"""Signals before training: against the theory of wide networks and against autograd, and the verdicts."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs


def deep(gain: float, width: int = 300, depth: int = 30, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layer = nn.Linear(width, width, bias=False)
        nn.init.normal_(layer.weight, std=gain / math.sqrt(width))
        layers += [layer, activation()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def inputs(width: int = 300) -> torch.Tensor:
    return torch.randn(64, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("gain", "word"), [(1.0, "vanish"), (math.sqrt(2), None), (2.0, "explode")])
def test_rectifiers_by_the_theory_of_he(gain: float, word: str | None) -> None:
    """Each layer with ReLU multiplies both signals by gain / sqrt(2), on average over wide layers."""
    found = fs.Initialization()(deep(gain), inputs())
    spread, gradient = (found.statistics[q][:, 0] for q in ("activation/std", "gradient/std"))
    linear = [i for i, n in enumerate(found.names) if int(n) % 2 == 0][:-1]
    wanted = (gain / math.sqrt(2)) ** np.arange(len(linear))
    np.testing.assert_allclose(np.log(spread[linear] / spread[0]), np.log(wanted), atol=0.6)
    np.testing.assert_allclose(np.log(gradient[linear][::-1] / gradient[linear[-1]]), np.log(wanted), atol=0.6)
    for what in ("activations", "gradients"):
        assert (f"{what} {word}" in found.caption) == (word is not None), found.caption


def test_gradients_equal_autograd_with_a_known_projection() -> None:
    """In a linear network the expectation is known: E|W^T w|^2 = |W|_F^2, entry by entry of the layer's output."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6).double(), nn.Linear(6, 7).double())
    found = fs.Initialization(directions=400)(net, torch.randn(32, 5).double())
    wanted = math.sqrt(float(net[1].weight.detach().square().sum()) / 6)
    assert found.statistics["gradient/std"][0, 0] == pytest.approx(wanted, rel=0.02)
    assert found.statistics["gradient/std"][1, 0] == pytest.approx(1.0, rel=0.02)


def test_spread_equals_naive_float64_in_train_mode() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 2))
    x = torch.randn(8, 3, 6, 6) * 3 + 1
    found = fs.Initialization()(net, x)
    y = x
    for i, layer in enumerate(net):  # train mode: normalized by the batch
        y = layer(y.clone())
        values = y.detach().double()
        assert found.statistics["activation/std"][i, 0] == pytest.approx(float(values.std(correction=0)), rel=1e-5)
        assert found.statistics["activation/mean"][i, 0] == pytest.approx(float(values.mean()), rel=1e-4, abs=1e-6)
    assert found.statistics["activation/zero_share"][2, 0] == pytest.approx(0.5, abs=0.1)


def test_dead_layers_and_nan_are_told() -> None:
    net = deep(1.4, depth=3)
    nn.init.zeros_(net[2].weight)
    found = fs.Initialization()(net, inputs())
    assert "put out a constant, the first is 2" in found.caption
    assert "2 puts out a constant" in fs.Initialization()(nn.Sequential(*net[:3]), inputs()).caption
    nn.init.constant_(net[2].weight, math.inf)
    assert "NaN or infinity first after 2" in fs.Initialization()(net, inputs()).caption


def test_tokens_and_detached_parts() -> None:
    """The tape begins at the first layer, whatever the input is; what no gradient reaches is not recorded."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.side, self.out = nn.Embedding(20, 8), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            x = self.words(tokens)
            return self.out(x + self.side(x).detach())

    found = fs.Initialization()(Net(), torch.randint(0, 20, (4, 6)))
    assert found.names == ("words", "side", "out")
    assert found.recorded["gradient/std"][:, 0].tolist() == [True, False, True]


def test_its_page_files_it_before_training():
    """A history of one step is no training: the phase of the method decides where it stands."""
    result = fs.Initialization()(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(8, 4))
    text = result.to_html().split('id="fs-document">')[1].split("</script>")[0]
    assert [s["id"] for s in json.loads(text)["sections"]] == ["part-before"]
