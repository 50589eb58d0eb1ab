"""Agreement and steadiness of maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import NotApplicable
from tests.trust.networks import Backwards, FromInput, Noise, PatchNet, bright


def test_a_method_agrees_with_itself_and_not_with_noise() -> None:
    model, x = PatchNet(), bright(8)
    card = fs.Agreement()([fs.Saliency(), Backwards(), Noise(), fs.Saliency()], model, x, target=1)
    assert card.rows[:4] == ("Saliency", "Backwards", "Noise", "Saliency 2") == card.columns[:4]
    table = card.table[:4, :4]
    np.testing.assert_allclose(table, table.T, atol=1e-12)
    np.testing.assert_allclose(np.diag(table), 1)
    assert table[0, 3] == pytest.approx(1)
    assert table[0, 1] == pytest.approx(-1)
    assert abs(table[0, 2]) < 0.1
    assert card.verdicts[0] == "most like Saliency 2 (1.00), least like Backwards (-1.00)"


def test_overlap_of_the_strongest_places() -> None:
    card = fs.Agreement(by="overlap", share=0.25)([fs.Saliency(), Backwards()], PatchNet(), bright(3), target=1)
    assert card.table[0, 0] == 1
    assert card.table[0, 1] == 0
    assert card.reference[0] == pytest.approx(0.25 / 1.75)


def test_steadiness_equals_its_formula() -> None:
    """The map is the input itself: the greatest relative change is that of the input, at most radius x range."""
    x = bright(4)
    card = fs.MaxSensitivity(radius=0.05, samples=30)([FromInput(), fs.Saliency()], PatchNet(), x, target=1)
    flat = x.flatten(1)
    reach = 0.05 * (flat.amax(1) - flat.amin(1))
    bound = (reach * 144**0.5 / flat.norm(dim=1)).mean().item()
    typical = bound / 3**0.5  # the mean square of a uniform number is a third of its greatest
    assert typical * 0.95 < card.table[0, 0] < bound
    assert card.table[1, 0] == pytest.approx(0, abs=1e-12)  # the gradient of a linear network never changes
    assert card.verdicts[1].startswith("steady")


def test_whole_numbers_are_refused() -> None:
    model = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(NotApplicable, match="whole numbers"):
        fs.MaxSensitivity()(fs.Saliency(at="0"), model, torch.tensor([[1, 2, 3]]))
