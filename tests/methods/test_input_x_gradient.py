"""Input x gradient against its formula, and exact where a network is linear."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import InputError, NumericalError
from tests.contract.networks import images, network
from tests.methods.small_networks import Two, Words, made, normal, plain_gradient


def test_equals_its_formula() -> None:
    model, x = network().double(), images(2, (6, 5)).double()
    found = fs.InputXGradient()(model, x, target=3)
    expected = x.numpy() * plain_gradient(lambda v: model.eval()(v)[:, 3], x)
    np.testing.assert_allclose(found.values, expected, rtol=1e-9)
    assert found.axes == ("N", "C", "H", "W")
    assert found.signed
    assert np.abs(found.values).max() > 1e-4


def test_adds_up_to_the_score_of_a_linear_network() -> None:
    model, x = nn.Linear(7, 3, bias=False).double(), normal(4, 7)
    found = fs.InputXGradient()(model, x, target=[[0, 2]] * 4)
    assert found.axes == ("N", "K", "D")
    np.testing.assert_allclose(found.values.sum(-1), model(x).detach().numpy()[:, [0, 2]], rtol=1e-9)
    np.testing.assert_allclose(found.scores, found.values.sum(-1), rtol=1e-9)


def test_tokens_have_one_number_each() -> None:
    model, ids = made(Words), torch.tensor([[1, 5, 2, 5], [0, 3, 3, 9]])
    found = fs.InputXGradient()(model, ids, target=1)
    vectors = model.embed(ids).detach()
    rest = model.place(torch.arange(4)).detach()
    expected = (vectors.numpy() * plain_gradient(lambda v: model.after(v + rest)[:, 1], vectors)).sum(-1)
    np.testing.assert_allclose(found.values, expected, rtol=1e-9)
    assert found.axes == ("N", "L")
    assert found.meta["layer"] == "embed"
    assert found.samples.features[1] == ("0", "3", "3", "9")
    assert any("embedding 'embed'" in n for n in found.notes)
    named = fs.InputXGradient(at="embed")(model, ids, target=1)
    np.testing.assert_array_equal(named.values, found.values)
    places = fs.InputXGradient(at="mix")(model, ids, target=1)
    assert places.values.shape == (2, 4)
    assert not np.allclose(places.values, found.values)


def test_several_inputs() -> None:
    model, a, b = made(Two), normal(2, 3), normal(2, 4, seed=1)
    first = fs.InputXGradient()(model, (a, b), target=1)
    second = fs.InputXGradient(input=1)(model, (a, b), target=1)
    named = fs.InputXGradient(input="b")(model, {"a": a, "b": b}, target=1)
    np.testing.assert_allclose(first.values, a.numpy() * plain_gradient(lambda v: model(v, b)[:, 1], a), rtol=1e-9)
    np.testing.assert_allclose(second.values, b.numpy() * plain_gradient(lambda v: model(a, v)[:, 1], b), rtol=1e-9)
    np.testing.assert_array_equal(second.values, named.values)
    with pytest.raises(InputError, match="no such input"):
        fs.InputXGradient(input=2)(model, (a, b), target=1)
    with pytest.raises(InputError, match="one of a, b"):
        fs.InputXGradient(input="c")(model, {"a": a, "b": b}, target=1)


def test_whole_numbers_without_an_embedding_are_told() -> None:
    class Codes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.fc(ids.float())

    with pytest.raises(NumericalError, match=r"no nn\.Embedding"):
        fs.InputXGradient()(Codes(), torch.tensor([[1, 2, 3]]), target=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_formats(dtype: torch.dtype) -> None:
    full = fs.InputXGradient()(network(), images(2), target=1).values
    half = fs.InputXGradient()(network().to(dtype), images(2), target=1)
    assert half.values.dtype == np.float32
    assert np.linalg.norm(half.values - full) < 0.15 * np.linalg.norm(full)  # a few rectifiers flip


def test_a_network_that_works_in_place_on_its_input() -> None:
    class Scales(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x.mul_(2))

    model, x = made(Scales), normal(2, 3)
    kept = x.clone()
    found = fs.InputXGradient()(model, x, target=0)
    np.testing.assert_allclose(found.values, 2 * x.numpy() * model.fc.weight.detach().numpy()[0], rtol=1e-9)
    assert torch.equal(x, kept)
