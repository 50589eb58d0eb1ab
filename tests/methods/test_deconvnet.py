"""The deconvnet against its rule by hand, for every spelling of a rectifier."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import NotApplicable
from tests.methods.small_networks import SPELLINGS, Bends, made, normal
from tests.methods.test_guided_backprop import by_hand


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_equals_the_rule_by_hand(spelling: str) -> None:
    x = normal(2, 2, 8, 8)
    expected = by_hand(made(Bends), x, 2, guided=False)
    found = fs.Deconvnet()(made(Bends, spelling), x, target=2)
    np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-14)
    assert np.abs(expected).max() > 1e-3
    guided = fs.GuidedBackprop()(made(Bends, spelling), x, target=2).values
    assert np.abs(guided - expected).max() > 0.1 * np.abs(expected).max()


def test_a_closed_rectifier_lets_positive_gradients_through() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False)).double()
    with torch.no_grad():
        model[0].weight.fill_(2.0), model[2].weight.fill_(3.0)
    x = torch.tensor([[-1.0]], dtype=torch.float64)
    assert fs.Deconvnet()(model, x, target=0).values[0, 0] == 6.0
    assert fs.GuidedBackprop()(model, x, target=0).values[0, 0] == 0.0


def test_networks_without_rectifiers_are_refused() -> None:
    with pytest.raises(NotApplicable, match="silu"):
        fs.Deconvnet()(nn.Sequential(nn.Linear(3, 4), nn.SiLU(), nn.Linear(4, 2)), torch.rand(2, 3), target=0)
