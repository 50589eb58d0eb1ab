"""Pointing game and localization: hits counted by hand, chance, and the words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fluoroscope as fs
from fluoroscope.errors import InputError, OptionError
from tests.trust.networks import PATCH, Backwards, FromInput, Noise, PatchNet, bright


def masks(count: int) -> np.ndarray:
    return np.repeat(PATCH[None], count, 0)


def test_equals_counting() -> None:
    x = bright(5)
    given = masks(5)
    given[3] = np.roll(given[3], 5, 0)
    card = fs.Localization()(FromInput(), PatchNet(), x, given, target=1)
    peak, mass, rank = [], [], []
    for image, mask in zip(x[:, 0].numpy(), given, strict=True):
        peak.append(bool(mask[np.unravel_index(image.argmax(), image.shape)]))
        mass.append(image[mask].sum() / image.sum())
        strongest = image >= np.sort(image.ravel())[-mask.sum()]
        rank.append((strongest & mask).sum() / mask.sum())
    np.testing.assert_allclose(card.table[0], [np.mean(peak), np.mean(mass), np.mean(rank)], atol=1e-7)
    assert sum(rank) > 0
    np.testing.assert_allclose(card.reference, given.mean(), atol=1e-12)


def test_right_wrong_and_random() -> None:
    card = fs.Localization(thing="patch")(
        [fs.Saliency(), Backwards(), Noise()], PatchNet(), bright(60), masks(60), target=1
    )
    assert card.columns[0] == "peak on the patch"
    np.testing.assert_allclose(card.table[0, [0, 2]], 1)
    assert card.table[0, 1] > 0.5
    np.testing.assert_allclose(card.table[1], 0)
    np.testing.assert_allclose(card.table[2], PATCH.mean(), atol=0.09)
    assert card.verdicts[0] == "points at the patch: its peak is on it for 100% of the inputs"
    assert card.verdicts[1] == "no better than a random place"
    assert card.verdicts[2] == "no better than a random place"
    assert card.errors[0, 0] > 0.01  # a share of 100 % is not certain


def test_an_empty_map_is_a_miss() -> None:
    class Empty(FromInput):
        def map(self, x: torch.Tensor, start: int) -> torch.Tensor:
            return torch.zeros_like(x[:, 0])

    everything = np.ones((2, 12, 12), bool)
    card = fs.Localization()(Empty(), PatchNet(), bright(2), everything, target=1)
    np.testing.assert_allclose(card.table[0], 0)


def test_tolerance_grows_the_mask() -> None:
    class Beside(FromInput):
        def map(self, x: torch.Tensor, start: int) -> torch.Tensor:
            made = torch.zeros_like(x[:, 0])
            made[:, 6, 10] = 1  # two places below and right of the patch
            return made

    rates = [
        fs.PointingGame(tolerance=t)(Beside(), PatchNet(), bright(3), masks(3), target=1).table[0, 0] for t in (1, 2)
    ]
    assert rates == [0, 1]


def test_coarse_maps_are_enlarged() -> None:
    class Coarse(FromInput):
        def map(self, x: torch.Tensor, start: int) -> torch.Tensor:
            made = torch.zeros(len(x), 4, 4)
            made[:, 1, 2] = 1  # rows 3 to 5, columns 6 to 8
            return made

    card = fs.PointingGame()(Coarse(), PatchNet(), bright(3), masks(3), target=1)
    assert card.table[0, 0] == 1
    assert "Control: random, 4 x 4" in card.rows


def test_mistakes_are_told() -> None:
    model, x = PatchNet(), bright(2)
    with pytest.raises(OptionError, match="needs masks"):
        fs.PointingGame()("saliency", model, x)
    with pytest.raises(InputError, match="do not fit"):
        fs.PointingGame()("saliency", model, x, masks(3))
    with pytest.raises(InputError, match="marks nothing"):
        fs.PointingGame()("saliency", model, x, np.zeros((2, 12, 12), bool))
    with pytest.raises(InputError, match="yes or no"):
        fs.PointingGame()("saliency", model, x, np.full((2, 12, 12), 0.5))
