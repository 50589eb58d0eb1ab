"""Guided backpropagation against the rule written out by hand, for every spelling of a rectifier."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import NotApplicable
from tests.methods.small_networks import SPELLINGS, Bends, Words, made, normal


def by_hand(model: Bends, x: torch.Tensor, target: int, guided: bool) -> np.ndarray:
    """The backward layer by layer: transposed convolutions, and the rule at both rectifiers."""
    with torch.no_grad():
        before = model.a(x)
        pooled, places = F.max_pool2d(before.relu(), 2, return_indices=True)
        second = model.b(pooled)
        bent = torch.tanh(second.relu())
        cells = model.fc.weight[target].view(1, 4, 2, 2).expand(len(x), -1, -1, -1)
        back = cells.repeat_interleave(bent.shape[2] // 2, 2).repeat_interleave(bent.shape[3] // 2, 3)
        back = back / ((bent.shape[2] // 2) * (bent.shape[3] // 2)) * (1 - bent**2)
        back = back.clamp(min=0) * ((second > 0) if guided else 1)
        back = F.max_unpool2d(F.conv_transpose2d(back, model.b.weight, padding=1), places, 2)
        back = back.clamp(min=0) * ((before > 0) if guided else 1)
        return F.conv_transpose2d(back, model.a.weight, padding=1).numpy()


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_equals_the_rule_by_hand(spelling: str) -> None:
    x = normal(2, 2, 8, 8)
    expected = by_hand(made(Bends), x, 1, guided=True)
    found = fs.GuidedBackprop()(made(Bends, spelling), x, target=1)
    np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-14)
    assert np.abs(expected).max() > 1e-3
    assert any("plain gradient holds for tanh" in n for n in found.notes)
    plain = fs.Saliency(reduce="none")(made(Bends, spelling), x, target=1).values
    assert np.abs(plain - expected).max() > 0.1 * np.abs(expected).max()


def test_networks_without_rectifiers_are_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2))
    with pytest.raises(NotApplicable, match="gelu"):
        fs.GuidedBackprop()(model, torch.rand(2, 3), target=0)
    with pytest.raises(NotApplicable, match="tanh"):
        fs.GuidedBackprop()(made(Words), torch.tensor([[1, 2]]), target=0)


def test_channels_and_targets() -> None:
    model, x = made(Bends, "function"), normal(2, 2, 8, 8)
    several = fs.GuidedBackprop()(model, x, target=[[0, 1], [1, 2]])
    assert several.axes == ("N", "K", "C", "H", "W")
    np.testing.assert_allclose(several.values[0, 1], by_hand(model, x, 1, guided=True)[0], rtol=1e-9, atol=1e-14)
    largest = fs.GuidedBackprop(reduce="max")(model, x, target=1)
    np.testing.assert_allclose(largest.values, np.abs(by_hand(model, x, 1, guided=True)).max(1), rtol=1e-9, atol=1e-14)
    assert not largest.signed
