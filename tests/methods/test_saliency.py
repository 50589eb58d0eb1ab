"""Saliency against finite differences in float64, and completeness on a linear network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import NumericalError, OptionError
from tests.contract.networks import images, network


def reference(model: nn.Module, x: torch.Tensor, target: int) -> np.ndarray:
    """The gradient by central differences, one input value at a time."""
    model, x = model.double().eval(), x.double()
    slopes = torch.zeros_like(x)
    with torch.no_grad():
        for index in np.ndindex(*x.shape):
            up, down = x.clone(), x.clone()
            up[index] += 1e-5
            down[index] -= 1e-5
            slopes[index] = (model(up)[index[0], target] - model(down)[index[0], target]) / 2e-5
    return slopes.numpy()


def test_equals_its_formula() -> None:
    x = images(2, (6, 5))
    slopes = reference(network(), x, 3)
    signed = fs.Saliency(reduce="none")(network().double(), x.double(), target=3)
    np.testing.assert_allclose(signed.values, slopes, rtol=1e-5, atol=1e-9)
    assert signed.signed
    assert signed.axes == ("N", "C", "H", "W")
    largest = fs.Saliency()(network().double(), x.double(), target=3)
    np.testing.assert_allclose(largest.values, np.abs(slopes).max(1), rtol=1e-5, atol=1e-9)
    length = fs.Saliency(reduce="norm")(network().double(), x.double(), target=3)
    np.testing.assert_allclose(length.values, np.sqrt((slopes**2).sum(1)), rtol=1e-5, atol=1e-9)


def test_is_the_weights_of_a_linear_network() -> None:
    model = nn.Linear(7, 3)
    found = fs.Saliency()(model, torch.rand(4, 7), target=[0, 1, 2, 0])
    np.testing.assert_allclose(found.values, model.weight.detach().numpy()[[0, 1, 2, 0]], rtol=1e-6)
    assert found.axes == ("N", "D")
    assert found.signed


def test_logits_are_used_behind_a_softmax() -> None:
    model, x = nn.Linear(7, 3), torch.rand(2, 7)
    plain = fs.Saliency()(model, x, target=1)
    for last in (nn.Softmax(dim=1), nn.LogSoftmax(dim=1), nn.Sigmoid()):
        found = fs.Saliency()(nn.Sequential(model, last), x, target=1)
        np.testing.assert_allclose(found.values, plain.values, rtol=1e-6)
        assert "logits" in found.notes[0]


def test_targets_of_every_kind() -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(7, 3), torch.rand(2, 7)
    w = model.weight.detach().numpy()
    direction = torch.tensor([1.0, -1.0, 0.0])
    cases = {
        "mask": (torch.tensor([True, True, False]), w[0] + w[1]),
        "direction": (direction, w[0] - w[1]),
        "callable": (lambda out: out[:, 0] * 2, 2 * w[0]),
        "region": (lambda out: out.sum(1), w.sum(0)),
    }
    for name, (target, expected) in cases.items():
        np.testing.assert_allclose(fs.Saliency()(model, x, target=target).values[1], expected, rtol=1e-5, err_msg=name)
    several = fs.Saliency()(model, x, target=[[0, 2], [1, 2]])
    np.testing.assert_allclose(several.values, w[np.array([[0, 2], [1, 2]])], rtol=1e-6)


def test_a_backbone_under_no_grad_is_no_obstacle() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.back, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                y = self.back(x)
            return self.head(y)

    model = Frozen()
    expected = (model.head.weight @ model.back.weight)[1].detach().numpy()
    np.testing.assert_allclose(fs.Saliency()(model, torch.rand(1, 4), target=1).values[0], expected, rtol=1e-5)


def test_token_numbers_are_explained_at_their_embedding() -> None:
    model = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 2))
    weight = model[2].weight.detach().numpy()[0].reshape(3, 4)
    found = fs.Saliency(reduce="norm")(model, torch.tensor([[1, 2, 3], [4, 4, 4]]), target=0)
    np.testing.assert_allclose(found.values, np.tile(np.linalg.norm(weight, axis=1), (2, 1)), rtol=1e-6)
    assert found.axes == ("N", "L")
    assert not found.signed
    assert "embedding '0'" in found.notes[0]
    with pytest.raises(OptionError, match="'max' or 'norm'"):
        fs.Saliency(reduce="none")(model, torch.tensor([[1, 2, 3]]), target=0)


def test_token_numbers_without_an_embedding_have_no_gradient() -> None:
    class Codes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.fc(ids.float())

    with pytest.raises(NumericalError, match="whole numbers"):
        fs.Saliency()(Codes(), torch.tensor([[1, 2, 3]]), target=0)
