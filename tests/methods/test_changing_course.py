"""Networks whose layers run more or less often from call to call: nothing is taken from what an earlier call saw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs


class Looped(nn.Module):
    """One block that runs ``steps`` times, or as often as the input says."""

    def __init__(self, steps: int | None) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.Tanh())
        self.fc, self.steps = nn.Linear(6, 4), steps
        self.double().eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        for _ in range(self.steps or (1 if x.mean() < 0 else 3)):
            y = self.block(y)
        return self.fc((y * y).mean((2, 3)))


def ablated(network: Looped, x: torch.Tensor, steps: int) -> np.ndarray[Any, Any]:
    """Ablation-CAM at the last of the block's calls, channel by channel."""
    with torch.no_grad():
        y = network.first(x)
        for _ in range(steps):
            y = network.block(y)
        score = network.fc((y * y).mean((2, 3)))[:, 1]
        total = torch.zeros_like(y[:, 0])
        for k in range(y.shape[1]):
            less = y.clone()
            less[:, k] = 0
            total += (score - network.fc((less * less).mean((2, 3)))[:, 1]).view(-1, 1, 1) * y[:, k]
    return total.relu().numpy()


@pytest.mark.parametrize("said", [True, False], ids=["attribute", "input"])
def test_a_layer_that_runs_more_often_than_in_the_call_before(said: bool) -> None:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double().abs()
    network = Looped(1 if said else None)
    fs.AblationCAM(layer="block")(network, x if said else -x, target=1)
    network.steps = 3 if said else None
    found = fs.AblationCAM(layer="block")(network, x, target=1)
    np.testing.assert_allclose(found.values, ablated(network, x, 3), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("said", [True, False], ids=["attribute", "input"])
def test_biases_of_every_call_of_this_input(said: bool) -> None:
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double().abs()
    network = Looped(1 if said else None)
    fs.FullGrad()(network, x if said else -x, target=1)
    network.steps = 3 if said else None
    found, fresh = fs.FullGrad()(network, x, target=1), fs.FullGrad()(Looped(3), x, target=1)
    np.testing.assert_array_equal(found.values, fresh.values)
    assert "5 layers with biases" in found.caption


@pytest.mark.parametrize("said", [True, False], ids=["attribute", "input"])
def test_maps_of_the_last_call_of_this_input(said: bool) -> None:
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double().abs()
    network = Looped(1 if said else None)
    fs.Activations(layer="block")(network, x if said else -x)
    network.steps = 3 if said else None
    found = fs.Activations(layer="block")(network, x)
    fresh = fs.Activations(layer="block")(Looped(3), x)
    np.testing.assert_array_equal(found.maps["block"], fresh.maps["block"])


class Words(nn.Module):
    """A text, its positions looked up before its words or after them."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.first, self.places, self.words, self.fc = first, nn.Embedding(6, 8), nn.Embedding(20, 8), nn.Linear(8, 3)
        self.double().eval()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        at = torch.arange(tokens.shape[1])[None]
        y = self.places(at) + self.words(tokens) if self.first else self.words(tokens) + self.places(at)
        return self.fc(y.tanh().mean(1))


@pytest.mark.parametrize("tokens", [[[0, 1, 2, 3, 4]], [[7, 3, 3, 19, 0], [1, 2, 3, 4, 5]]], ids=["as places", "two"])
@pytest.mark.parametrize("method", [fs.InputXGradient(), fs.IntegratedGradients()], ids=lambda m: m.name)
def test_words_are_explained_whenever_positions_are_looked_up(tokens: list[list[int]], method: Any) -> None:
    x = torch.tensor(tokens)
    found, expected = method(Words(True), x, target=1), method(Words(False), x, target=1)
    assert (found.meta["layer"], expected.meta["layer"]) == ("words", "words")
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-12)


class Pair(nn.Module):
    """Two texts through one embedding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.words, self.one, self.two = nn.Embedding(20, 8), nn.Linear(8, 3), nn.Linear(8, 3)
        self.double().eval()

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.of(self.words(a), self.words(b))

    def of(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.one(a.tanh().mean(1)) + 5 * self.two(b.tanh().mean(1))


@pytest.mark.parametrize("which", [None, 0, 1])
def test_the_chosen_one_of_two_texts_that_share_an_embedding(which: int | None) -> None:
    network, texts = Pair(), torch.randint(20, (2, 2, 5), generator=torch.Generator().manual_seed(4))
    taken = [network.words(t).detach().requires_grad_() for t in texts]
    gradients = torch.autograd.grad(network.of(*taken)[:, 1].sum(), taken)
    found = fs.Saliency(input=which)(network, tuple(texts), target=1)
    expected = gradients[which or 0].abs().amax(2)
    np.testing.assert_allclose(found.values, expected.numpy(), rtol=1e-9)
