"""LIME against its formula, one sample at a time, and on models whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import InputError, NumericalError, OptionError
from fluoroscope.model.seeding import generator
from tests.contract.networks import images, network
from tests.methods.games import Game, covered, curved, everything, ones, tangled


def drawn(seed: int, samples: int, count: int) -> np.ndarray:
    masks = (torch.rand(samples, count, generator=generator(seed, 0)) < 0.5).numpy().astype(float)
    masks[0] = 1
    return masks


def test_equals_its_formula_for_the_same_masks() -> None:
    """Each sample is a picture of its own, made by a loop over pixels; the fit solves the normal equations."""
    model, x = network().double().eval(), images(1, (8, 8)).double()
    found = fs.LIME(samples=40, count=4, seed=2, baseline="mean", ridge=0.5)(model, x, target=3)
    masks = drawn(2, 40, 4)
    rows, weights = [], []
    for mask in masks:
        picture = x[0].clone()
        for c, i, j in np.ndindex(3, 8, 8):
            if not mask[i // 4 * 2 + j // 4]:
                picture[c, i, j] = x[0, c].mean()
        with torch.no_grad():
            rows.append(float(model(picture[None])[0, 3]))
        similar = mask.sum() / np.sqrt(max(mask.sum(), 1) * 4)
        weights.append(np.sqrt(np.exp(-((1 - similar) ** 2) / 0.25**2)))
    design = np.hstack([np.ones((40, 1)), masks])
    penalty = np.diag([0, 0.5, 0.5, 0.5, 0.5])
    w = np.diag(weights)
    line = np.linalg.solve(design.T @ w @ design + penalty, design.T @ w @ np.array(rows))
    np.testing.assert_allclose(found.values[0].ravel(), line[1:], rtol=1e-7, atol=1e-12)
    pulls = design.T * (np.array(weights) * (np.array(rows) - design @ line))
    bread = np.linalg.inv(design.T @ w @ design + penalty)
    covariance = bread @ (pulls @ pulls.T) @ bread * 40 / (40 - 5)
    np.testing.assert_allclose(found.errors[0].ravel(), np.sqrt(np.diag(covariance))[1:], rtol=1e-7)
    assert found.values.shape == (1, 2, 2)
    assert np.abs(line[1:]).max() > 1e-4


def test_recovers_a_linear_model() -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(10, 3).double(), torch.randn(2, 10).double()
    found = fs.LIME(samples=200, ridge=0, baseline=0.5)(model, x, target=[[0, 2], [1, 2]])
    w = model.weight.detach()[torch.tensor([[0, 2], [1, 2]])]
    np.testing.assert_allclose(found.values, (w * (x[:, None] - 0.5)).numpy(), atol=1e-9)
    np.testing.assert_allclose(found.errors, 0, atol=1e-9)


@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_standard_errors_hold_what_they_promise(distance: str) -> None:
    """The truth is the weighted regression over every mask; the sample that keeps all hardly counts."""
    method = fs.LIME(samples=400, ridge=0, distance=distance)
    masks = everything(6)
    with torch.no_grad():
        y = curved(torch.from_numpy(masks)).numpy()
    w = np.sqrt(method.weights(masks))[:, None]
    design = np.hstack([np.ones((64, 1)), masks])
    truth = np.linalg.lstsq(design * w, y * w[:, 0], rcond=None)[0][1:]
    found = method(Game(curved), ones(6, 300), target=0)
    assert 0.92 <= covered(found.values, found.errors, truth) <= 0.975
    assert 0.85 < found.values.std(0).mean() / found.errors.mean() < 1.15


def test_a_tree_finds_what_acts() -> None:
    """Which of two columns counts hangs on a third: variances by hand, half the samples in each branch."""

    def gate(z: torch.Tensor) -> torch.Tensor:
        return torch.where(z[:, 0] > 0.5, 4 * z[:, 1] + 2, 1 - z[:, 2])

    found = fs.LIME(surrogate="tree", depth=2, samples=4000, kernel_width=1e3)(Game(gate), ones(5), target=0)
    y = gate(torch.from_numpy(everything(5))).numpy()
    assert found.values[0].sum() == pytest.approx(y.var(), rel=0.05)  # depth 2 explains this function completely
    np.testing.assert_allclose(found.values[0], [3.0625, 2.0, 0.125, 0, 0], atol=0.2)
    assert not found.signed
    assert found.unit == "score²"
    assert 0 < found.errors[0, 0] < 0.1


def test_replacements_are_drawn_from_the_columns_of_the_background() -> None:
    """A category that is replaced becomes another one that occurs, never a mixture."""
    background = torch.tensor([[0.0, 1, 5], [1, 0, 6], [1, 0, 7]], dtype=torch.float64)

    def valid(z: torch.Tensor) -> torch.Tensor:
        return 10.0 * (z[:, 0] + z[:, 1] == 1) + (z[:, 2] >= 5) * (z[:, 2] == z[:, 2].round())

    x = torch.tensor([[0.0, 1, 5]], dtype=torch.float64)
    found = fs.LIME(background=background, segments=[0, 0, 1], samples=100)(Game(valid), x, target=0)
    np.testing.assert_allclose(found.values, 0, atol=1e-9)  # one-hot columns stay one-hot, so the score never changes
    loose = fs.LIME(background=background, samples=100)(Game(valid), x, target=0)
    assert np.abs(loose.values[0, :2]).min() > 0.5  # apart, the two columns of the category are mixed


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 1)
        self.embedding.weight.data = torch.arange(10.0)[:, None]

    def forward(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        values = self.embedding(ids)[..., 0]
        return torch.stack([values.sum(1), (values if mask is None else values * mask).sum(1)], 1)


def test_text_tokens_are_replaced_by_an_id() -> None:
    found = fs.LIME(baseline=1, ridge=0)(Text(), torch.tensor([[3, 9, 1, 4]]), target=0)
    np.testing.assert_allclose(found.values[0], [2, 8, 0, 3], atol=1e-4)
    assert found.axes == ("N", "L")
    assert found.samples.features == (("3", "9", "1", "4"),)
    both = (torch.tensor([[3, 9, 1, 4], [2, 2, 2, 2]]), torch.tensor([[1, 0, 1, 1], [1, 1, 1, 0]]))
    masked = fs.LIME(baseline=1, ridge=0)(Text(), both, target=1)  # the second input goes along with its example
    np.testing.assert_allclose(masked.values, [[2, 0, 0, 3], [1, 1, 1, 0]], atol=1e-4)
    with pytest.raises(InputError, match="nothing that could be left out"):
        fs.LIME()(Text(), torch.zeros(1, 0, dtype=torch.int64))
    with pytest.raises(OptionError, match="token"):
        fs.LIME(baseline=0.5)(Text(), torch.tensor([[3, 9]]))


def test_missing_values_are_told_or_taken() -> None:
    x = torch.tensor([[1.0, float("nan"), 2.0]])
    with pytest.raises(NumericalError, match="NaN"):
        fs.LIME()(nn.Linear(3, 2), x)
    with pytest.raises(NumericalError, match="not a number"):
        fs.LIME(baseline=float("nan"))(nn.Linear(3, 2), torch.rand(1, 3))

    class Tolerant(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return torch.nan_to_num(z, nan=-1.0).sum(1, keepdim=True)

    found = fs.LIME(baseline=float("nan"), ridge=0)(Tolerant(), torch.tensor([[1.0, 2.0, 3.0]]), target=0)
    np.testing.assert_allclose(found.values[0], [2, 3, 4], atol=1e-4)


def test_superpixels_are_painted_on_the_picture() -> None:
    model, x = network(), images(2, (12, 16))
    x[:, :, :, 8:] += 3.0
    found = fs.LIME(segments="superpixels", count=6, samples=100)(model, x, target=1)
    assert found.values.shape == (2, 12, 16)
    assert 2 <= len(np.unique(found.values[0])) <= 6
    one = fs.LIME(segments="superpixels", count=1, ridge=0)(model, x, target=1)
    assert len(np.unique(one.values[0])) == 1
    with torch.no_grad():
        fall = model.eval()(x)[:, 1] - model(0 * x)[:, 1]
    np.testing.assert_allclose(one.values[:, 0, 0], fall.numpy(), rtol=1e-3)


def test_a_column_without_effect_gets_nothing() -> None:
    found = fs.LIME(samples=2000, ridge=0)(Game(tangled), ones(6), target=0)
    assert abs(found.values[0, 3]) < 4 * found.errors[0, 3]
    assert found.values[0, 0] > 10 * found.errors[0, 0]


def test_a_score_that_never_changes_leaves_nothing_to_rounding() -> None:
    """A picture that is its own baseline: values and standard errors of 0, so that stop_error stops at once."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 14 * 14, 3)).eval()
    for surrogate in ("linear", "tree"):
        method = fs.LIME(samples=500, count=9, surrogate=surrogate, stop_error=0.05)
        found = method(network, torch.zeros(1, 3, 16, 16), target=1)
        assert not found.values.any()
        assert found.meta["standard_error"] == 0
        assert found.meta["evaluations"] < 100
