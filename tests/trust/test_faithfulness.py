"""Sensitivity-n and infidelity: exact on linear networks, at chance for random maps, and against plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import OptionError
from tests.trust.networks import Backwards, Noise, PatchNet, bright


@pytest.mark.parametrize("score", ["logit"])
def test_the_gradient_of_a_linear_network_is_perfect(score: str) -> None:
    torch.manual_seed(0)
    rows, model = torch.rand(5, 9, dtype=torch.float64), nn.Linear(9, 3).double()
    card = fs.SensitivityN(score=score, sizes=(0.2, 0.5))("saliency", model, rows)
    np.testing.assert_allclose(card.table[0], 1, atol=1e-6)
    assert np.abs(card.table[1]).max() < 0.6  # the random map
    card = fs.Infidelity(score=score)("saliency", model, rows)
    np.testing.assert_allclose(card.table[0], 0, atol=1e-10)
    unscaled = fs.Infidelity(score=score, scaled=False)("saliency", model, rows)
    np.testing.assert_allclose(unscaled.table[0], 0, atol=1e-10)


def test_the_signed_gradient_of_a_picture_is_perfect() -> None:
    model, x = PatchNet(), bright(3)
    card = fs.SensitivityN(baseline="zero")(fs.Saliency(reduce="none"), model, x, target=1)
    np.testing.assert_allclose(card.table[0], 1, atol=1e-6)
    assert card.verdicts[0].startswith("better than a random map and an edge detector: its values add up")
    card = fs.Infidelity(baseline="blur")(fs.Saliency(reduce="none"), model, x, target=1)
    np.testing.assert_allclose(card.table[0], 0, atol=1e-9)


def test_backwards_and_random_maps_are_told_apart() -> None:
    model, x = PatchNet(), bright(10)
    card = fs.SensitivityN(baseline="zero")([fs.Saliency(), Backwards(), Noise()], model, x, target=1)
    assert card.rows[:3] == ("Saliency", "Backwards", "Noise")
    assert (card.table[1] < -0.3).all()
    assert card.verdicts[1].startswith("worse than a random map")
    assert card.verdicts[2].startswith("no better than a random map")
    assert np.abs(card.table[2]).max() < 0.25


def test_infidelity_equals_its_formula() -> None:
    """The network's own falls, region by region, against the optimally scaled sums of the map."""
    model, x = PatchNet(), bright(3)
    check = fs.Infidelity(subsets=20, baseline="zero", controls=False)
    card = check(["saliency", Noise()], model, x, target=1)
    from fluoroscope.model.inputs import Inputs
    from fluoroscope.trust.places import Places

    found = fs.Saliency()(model, x, target=1)
    places = Places.of(Inputs((x,), {}, len(x)), found)
    expected = []
    for n in range(3):
        marks = check._regions(n, places)
        assert 0.01 < marks.mean() < 0.3
        with torch.no_grad():
            whole = model(x[n : n + 1])[0, 1].item()
            lost = [whole - model(x[n : n + 1] * torch.tensor(~m))[0, 1].item() for m in marks]
        said = [float(found.values[n][m].sum()) for m in marks]
        beta = sum(s * f for s, f in zip(said, lost, strict=True)) / sum(s * s for s in said)
        expected.append(np.mean([(beta * s - f) ** 2 for s, f in zip(said, lost, strict=True)]))
    assert min(expected) > 1e-6
    assert card.table[0, 0] == pytest.approx(np.mean(expected), rel=1e-5)
    assert card.table[0, 1] < card.table[1, 1] <= 1


def test_sets_have_their_size_and_belong_to_the_example() -> None:
    blocks = np.arange(20)
    check = fs.SensitivityN(subsets=30)
    sets = check._sets(4, 0.25, blocks)
    assert (sets.sum(1) == 5).all()
    assert len(np.unique(sets, axis=0)) > 20
    assert np.array_equal(sets, check._sets(4, 0.25, blocks))
    assert not np.array_equal(sets, check._sets(5, 0.25, blocks))


def test_sizes_are_shares() -> None:
    with pytest.raises(OptionError, match="share of the parts"):
        fs.SensitivityN(sizes=(0.2, 3))("saliency", nn.Linear(4, 2), torch.rand(2, 4))


def test_other_inputs_follow_their_example() -> None:
    """A network of two inputs: the second is not changed, and stays with its example."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([1.0, -2.0, 3.0, 0.5], dtype=torch.float64))

        def forward(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
            score = (x * self.weight).sum(1) * scale[:, 0]
            return torch.stack([score, -score], 1)

    x = torch.rand(6, 4, dtype=torch.float64)
    scale = torch.arange(1.0, 7.0, dtype=torch.float64)[:, None]
    card = fs.Infidelity(batch_size=4, scaled=False)("saliency", Two(), (x, scale), target=0)
    np.testing.assert_allclose(card.table[0, 0], 0, atol=1e-9)
