"""RISE against its expectation by brute force, and against a loop over the same masks."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs
from fluoroscope.methods.perturbation.features import cells
from fluoroscope.methods.perturbation.sampling import Example
from fluoroscope.model.seeding import generator
from tests.contract.networks import images, network
from tests.methods.games import Game, covered, everything, ones, tangled


class Series(nn.Module):
    """A score of a series (N, 1, T) that is not linear in it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, 0]
        return torch.stack([torch.tanh(x[:, 0] + 2 * x[:, 3]) * x[:, 1] + x[:, 5] ** 2 + 4, x.sum(1)], 1)


def expectation(model: nn.Module, x: torch.Tensor, parts: int, keep: float, relative: bool) -> np.ndarray:
    """Every coarse mask at every shift, enlarged by torch's own bilinear interpolation, weighed by its probability."""
    length = x.shape[-1]
    cell = -(-length // parts)
    above, below, mean = np.zeros(length), np.zeros(length), 0.0
    for bits in product([0.0, 1.0], repeat=parts):
        chance = np.prod([keep if b else 1 - keep for b in bits]) / cell
        coarse = torch.tensor(bits, dtype=torch.float64)[None, None]
        wide = F.interpolate(coarse, size=(parts + 1) * cell, mode="linear", align_corners=False)
        for shift in range(cell):
            mask = wide[..., shift : shift + length]
            score = float(model(x * mask)[0, 0])
            above += chance * score * mask[0, 0].numpy()
            below += chance * mask[0, 0].numpy()
            mean += chance * score
    np.testing.assert_allclose(below, keep)  # the mask's own expectation: the paper's denominator
    return above / below - (mean if relative else 0)


@pytest.mark.parametrize(("keep", "relative"), [(0.5, True), (0.3, False)])
def test_tends_to_its_expectation(keep: float, relative: bool) -> None:
    x = torch.tensor([[[0.3, -1.0, 0.2, 0.8, 0.5, 1.5, -0.7]]], dtype=torch.float64)
    truth = expectation(Series(), x, 3, keep, relative)
    method = fs.RISE(samples=500, cells=3, keep=keep, relative=relative)
    found = method(Counted(), x.expand(200, 1, 7), target=0)
    assert 0.925 <= covered(found.values, found.errors, truth) <= 0.975
    assert (np.abs(found.values.mean(0) - truth) < 4 * found.errors.mean(0) / np.sqrt(200)).all()
    assert 0.85 < found.values.std(0).mean() / found.errors.mean() < 1.15
    assert found.axes == ("N", "T")
    assert found.signed is relative


class Counted(Series):
    """The same in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros((), dtype=torch.float64))


def test_equals_a_loop_over_the_same_masks() -> None:
    model, x = network().double().eval(), images(1, (9, 12)).double()
    method = fs.RISE(samples=40, cells=4, baseline="mean", seed=6)
    found = method(model, x, target=2)
    example = Example(cells((9, 12), (9, 12), "cpu"), generator(6, 0), np.zeros(1))
    masks = method.masks(example, 40).reshape(40, 9, 12)
    base = x.mean((2, 3), keepdim=True)
    scores = []
    for mask in masks.double():
        with torch.no_grad():
            scores.append(float(model(x * mask + base * (1 - mask))[0, 2]))
    m, f = masks.double().numpy(), np.array(scores)[:, None, None]
    level = (f * m).sum(0) / m.sum(0)
    np.testing.assert_allclose(found.values[0], level - f.mean(), atol=1e-10)
    moves = m * (f - level) / m.mean(0) - (f - f.mean())
    np.testing.assert_allclose(found.errors[0], np.sqrt((moves**2).mean(0) / 39), rtol=1e-6)
    assert found.values[0].std() > 1e-4


def test_masks_are_those_of_the_paper() -> None:
    """Coarse bits enlarged bilinearly to one more cell, cut at a random place within a cell."""
    example = Example(cells((10, 6), (10, 6), "cpu"), generator(0, 0), np.zeros(1))
    masks = fs.RISE(cells=3).masks(example, 50)
    random = generator(0, 0)
    coarse = (torch.rand(50, 3, 3, generator=random) < 0.5).float()
    down, right = (torch.randint(n, (50,), generator=random) for n in (4, 2))
    for n in range(50):
        wide = F.interpolate(coarse[n][None, None], size=(16, 8), mode="bilinear", align_corners=False)[0, 0]
        np.testing.assert_allclose(
            masks[n].reshape(10, 6), wide[down[n] : down[n] + 10, right[n] : right[n] + 6], atol=1e-6
        )
    assert 0.4 < masks.mean() < 0.6


def test_columns_are_kept_by_themselves() -> None:
    z = everything(6)
    y = tangled(torch.from_numpy(z)).numpy()
    truth = np.array([y[z[:, i] == 1].mean() - y.mean() for i in range(6)])
    found = fs.RISE(samples=1000)(Game(tangled), ones(6, 200), target=0)
    assert 0.925 <= covered(found.values, found.errors, truth) <= 0.975
    assert np.abs(truth).max() > 0.5


def test_tokens_are_kept_or_replaced_whole() -> None:
    embedding = nn.Embedding(5, 1)
    embedding.weight.data = torch.tensor([0.0, 1, 2, 3, 4])[:, None]
    model = nn.Sequential(embedding, nn.Flatten(), nn.Linear(3, 1, bias=False))
    model[2].weight.data[:] = 1
    found = fs.RISE(samples=4000)(model, torch.tensor([[4, 0, 2]]), target=0)
    assert found.axes == ("N", "L")
    np.testing.assert_allclose(found.values[0], [2, 0, 1], atol=5 * found.errors.max())
