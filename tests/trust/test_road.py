"""ROAD: the filling against a dense solution, and maps told apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import FluoroscopeError, NotApplicable
from fluoroscope.trust.imputation import impute
from tests.trust.networks import Backwards, Noise, PatchNet, bright


def solved(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Every missing pixel the weighted mean of its neighbours: 1/6 beside, 1/12 diagonally, by a dense solver."""
    height, width = values.shape
    matrix, right = np.eye(values.size), values.ravel().copy()
    for i, j in zip(*np.nonzero(missing), strict=True):
        near = [
            (i + a, j + b, 1 / 6 if a * b == 0 else 1 / 12)
            for a in (-1, 0, 1)
            for b in (-1, 0, 1)
            if (a or b) and 0 <= i + a < height and 0 <= j + b < width
        ]
        row, total = i * width + j, sum(w for _, _, w in near)
        right[row] = 0
        for k, m, w in near:
            matrix[row, k * width + m] -= w / total
    return np.linalg.solve(matrix, right).reshape(values.shape)


@pytest.mark.parametrize("share", [0.1, 0.6, 0.97])
def test_filling_equals_a_dense_solution(share: float) -> None:
    rng = np.random.default_rng(0)
    values = rng.random((2, 3, 9, 7))
    missing = rng.random((2, 9, 7)) < share
    missing[:, 4, 3] = False
    found = impute(torch.tensor(values), torch.tensor(missing)).numpy()
    for n in range(2):
        for c in range(3):
            np.testing.assert_allclose(found[n, c], solved(values[n, c], missing[n]), atol=2e-3)
            assert np.array_equal(found[n, c][~missing[n]], values[n, c][~missing[n]])


def test_filling_continues_a_constant_and_series() -> None:
    flat = torch.full((1, 1, 8, 8), 3.0)
    holes = torch.zeros(1, 8, 8, dtype=torch.bool)
    holes[0, 2:7, 1:5] = True
    torch.testing.assert_close(impute(flat * ~holes, holes), flat)
    line = torch.arange(10.0)[None, None]
    gap = (torch.arange(10) > 2) & (torch.arange(10) < 7)
    torch.testing.assert_close(impute(line, gap[None]), line, atol=1e-3, rtol=0)


def test_nothing_known_gives_numbers() -> None:
    assert torch.isfinite(impute(torch.ones(1, 1, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool))).all()


def test_right_and_wrong_maps_are_told_apart() -> None:
    class Contrast(PatchNet):
        """The patch against the mean of the picture: filling it with its surroundings takes its evidence away."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x - x.mean((2, 3), keepdim=True))

    x = 0.2 * bright(10)
    x[:, :, 2:5, 6:9] += 0.8
    model = Contrast(gain=8.0)
    card = fs.ROAD()([fs.Saliency(), Backwards(), Noise()], model, x, target=1)
    gap = card.columns.index("ROAD: gap")
    assert card.table[0, gap] > 0.2
    assert card.table[1, gap] < -0.2
    assert abs(card.table[2, gap]) < 0.15
    assert card.verdicts[0].startswith("better than a random map")
    assert card.verdicts[1] == "worse than a random map"
    assert card.verdicts[2].startswith("no better")
    np.testing.assert_allclose(card.table[:, gap], card.table[:, 1] - card.table[:, 0], atol=1e-9)


def test_accuracy_and_batches() -> None:
    model, x = PatchNet(), bright(4)
    cards = [fs.ROAD(score="accuracy", batch_size=b)("saliency", model, x, target=1) for b in (1, 64)]
    np.testing.assert_allclose(cards[0].table, cards[1].table, atol=1e-6)
    assert set(np.round(cards[0].table[0, :2] * 20, 6)) <= set(range(21))


def test_rows_have_no_neighbours() -> None:
    with pytest.raises(NotApplicable, match="neighbours"):
        fs.ROAD()("saliency", nn.Linear(4, 2), torch.rand(3, 4))
    assert issubclass(NotApplicable, FluoroscopeError)
