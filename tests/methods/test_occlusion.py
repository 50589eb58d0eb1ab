"""Occlusion and feature ablation against their formulas in float64, window by window, and what mathematics
guarantees.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import NumericalError, OptionError
from tests.contract.networks import Plain, images, network

pytestmark = pytest.mark.usefixtures("one_thread")


def reference(
    model: nn.Module, x: torch.Tensor, target: int, window: tuple[int, int], stride: tuple[int, int], base: Any = 0.0
) -> np.ndarray:
    """The formula: one window after the other, one whole forward each."""
    model = model.double().eval()
    maps = []
    with torch.no_grad():
        for row in x.double():
            rows = []
            top = 0
            while True:
                line, left = [], 0
                while True:
                    covered = row.clone()
                    part = covered[:, top : top + window[0], left : left + window[1]]
                    part[:] = (
                        base if not torch.is_tensor(base) else base[:, top : top + window[0], left : left + window[1]]
                    )
                    line.append(float(model(row[None])[0, target] - model(covered[None])[0, target]))
                    if left + window[1] >= row.shape[2]:
                        break
                    left += stride[1]
                rows.append(line)
                if top + window[0] >= row.shape[1]:
                    break
                top += stride[0]
            maps.append(rows)
    return np.array(maps)


@pytest.mark.parametrize(
    ("window", "stride", "shape"),
    [(4, 2, (7, 10)), ((5, 3), (2, 4), (7, 6)), (16, 8, (2, 2)), (40, 3, (1, 1)), (1, 9, (3, 4))],
)
def test_equals_its_formula(window: Any, stride: Any, shape: tuple[int, int]) -> None:
    """Windows that fit, that are cut off at the border, that are larger than the image, with gaps between them."""
    x = images(2, (17, 23)) if window == 16 else images(2, (16, 22))
    pair = [v if isinstance(v, tuple) else (v, v) for v in (window, stride)]
    if window == 1:  # the reference stops when the border is covered; with gaps the last window may lie before it
        x = images(2, (19, 28))
    expected = reference(network(), x, 3, *pair)
    found = fs.Occlusion(window=window, stride=stride)(network().double(), x.double(), target=3)
    assert found.values.shape[1:] == shape
    np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-12)
    assert np.abs(found.values).max() > 1e-4
    assert found.signed
    assert found.axes == ("N", "H", "W")


def test_baselines() -> None:
    x = images(2, (12, 14)).double()
    blur = fs.Occlusion(window=5, stride=4, baseline="blur")(network().double(), x, target=1)
    noise = fs.Occlusion(window=5, stride=4, baseline="noise")(network().double(), x, target=1)
    for n in range(2):
        one = x[n : n + 1]
        mean = one.mean((0, 2, 3), keepdim=True)[0].expand(3, 12, 14)
        cases: dict[Any, Any] = {
            0.7: 0.7,
            "mean": mean,
            (0.1, 0.2, 0.3): torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)[:, None, None],
        }
        for baseline, base in cases.items():
            base = base if isinstance(base, float) else base.expand(3, 12, 14)
            expected = reference(network(), one, 1, (5, 5), (4, 4), base)
            found = fs.Occlusion(window=5, stride=4, baseline=baseline)(network().double(), one, target=1)
            np.testing.assert_allclose(found.values, expected, rtol=1e-8, atol=1e-12)
        given = torch.rand(3, 12, 14, generator=torch.Generator().manual_seed(n)).double()
        found = fs.Occlusion(window=5, stride=4, baseline=given)(network().double(), one, target=1)
        np.testing.assert_allclose(
            found.values, reference(network(), one, 1, (5, 5), (4, 4), given), rtol=1e-8, atol=1e-12
        )
    assert np.abs(blur.values - noise.values).max() > 1e-4
    for wrong in ("grey", [1.0, 2.0], torch.zeros(2, 2)):
        with pytest.raises(OptionError, match="baseline"):
            fs.Occlusion(baseline=wrong)(network(), images())


def test_a_linear_network_gives_the_sum_over_the_window() -> None:
    """For s = <w, x> the fall is the sum of w (x - b) over the window, so windows that tile add up to s(x) - s(b)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 16, 2)).double()
    x = images(2, (12, 16)).double()
    found = fs.Occlusion(window=4, stride=4, baseline=0.5)(model, x, target=1)
    with torch.no_grad():
        whole = model(x)[:, 1] - model(torch.full_like(x, 0.5))[:, 1]
    np.testing.assert_allclose(found.values.sum((1, 2)), whole.numpy(), rtol=1e-9)
    weight = model[1].weight[1].view(3, 12, 16).detach()
    part = (weight * (x[1] - 0.5))[:, 4:8, 8:12].sum()
    np.testing.assert_allclose(found.values[1, 1, 2], float(part), rtol=1e-8)


def test_the_evidence_is_where_it_is() -> None:
    """A score that reads one pixel falls only where that pixel is covered, and the map lies there when it is
    enlarged.
    """

    class Reader(Plain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([x[:, 0, 22, 5], -x[:, 0, 22, 5]], 1)

    x = torch.ones(1, 3, 32, 40)
    found = fs.Occlusion(window=4, stride=4)(Reader(), x, target=0)
    expected = np.zeros((8, 10))
    expected[5, 1] = 1
    np.testing.assert_array_equal(found.values[0], expected)
    assert found.centers == ((2.0, 4.0), (2.0, 4.0))
    row, column = np.unravel_index(found.resized(32, 40)[0].argmax(), (32, 40))
    assert (row // 4, column // 4) == (5, 1)
    overlapping = fs.Occlusion(window=8, stride=4)(Reader(), x, target=1)
    assert overlapping.values[0].sum() == -4  # four windows hold the pixel, and it speaks against this class
    assert overlapping.resized(32, 40)[0][22, 5] == -1


def test_probability_and_logit() -> None:
    x = images(2, (12, 14)).double()
    model = network().double().eval()
    ended = nn.Sequential(network().double().eval(), nn.Softmax(1))
    log_ended = nn.Sequential(network().double().eval(), nn.LogSoftmax(1))
    expected = reference(nn.Sequential(network(), nn.Softmax(1)), x, 2, (5, 5), (4, 4))
    method = fs.Occlusion(window=5, stride=4, score="probability")
    for one in (model, ended, log_ended):
        found = method(one, x, target=2)
        np.testing.assert_allclose(found.values, expected, rtol=1e-8, atol=1e-13)
        np.testing.assert_allclose(found.scores, ended(x)[:, 2].detach().numpy(), rtol=1e-9)
        assert found.unit == "probability"
    assert not np.allclose(fs.Occlusion(window=5, stride=4)(ended, x, target=2).values, expected, rtol=1e-2)
    single = nn.Sequential(nn.Flatten(), nn.Linear(36, 1)).double()
    row = torch.rand(1, 3, 3, 4).double()
    found = fs.Occlusion(window=9, stride=9, score="probability")(single, row, target=0)
    with torch.no_grad():
        expected = single(row).sigmoid() - single(row * 0).sigmoid()
    np.testing.assert_allclose(found.values.ravel(), expected.numpy().ravel(), rtol=1e-9)


def test_many_targets_equal_one_by_one() -> None:
    x = images(3, (16, 20))
    top = fs.Occlusion(window=6, stride=4)(network(), x, target="top3")
    assert top.axes == ("N", "K", "H", "W")
    for k in range(3):
        one = fs.Occlusion(window=6, stride=4)(network(), x, target=top.targets[:, k])
        np.testing.assert_allclose(top.values[:, k], one.values, rtol=1e-4, atol=1e-7)
    mask = fs.Occlusion(window=6, stride=4)(network(), x, target=torch.tensor([True, True, False, False, False]))
    two = [fs.Occlusion(window=6, stride=4)(network(), x, target=k).values for k in (0, 1)]
    np.testing.assert_allclose(mask.values, two[0] + two[1], rtol=1e-4, atol=1e-6)
    call = fs.Occlusion(window=6, stride=4)(network(), x, target=lambda out: out[:, 0] + out[:, 1])
    np.testing.assert_allclose(call.values, mask.values, rtol=1e-4, atol=1e-6)


def test_series_tables_volumes_and_several_inputs() -> None:
    torch.manual_seed(0)
    series = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 18, 2)).double()
    x = torch.rand(2, 2, 20).double()
    found = fs.Occlusion(window=6, stride=5)(series, x, target=1)
    assert found.axes == ("N", "T")
    for i, start in enumerate((0, 5, 10, 15)):
        covered = x.clone()
        covered[:, :, start : start + 6] = 0
        np.testing.assert_allclose(
            found.values[:, i], (series(x) - series(covered))[:, 1].detach(), rtol=1e-9, atol=1e-12
        )
    table = nn.Linear(7, 3).double()
    rows = torch.rand(4, 7).double()
    found = fs.Occlusion(baseline=0.5)(table, rows, target=2)
    np.testing.assert_allclose(found.values, (table.weight[2] * (rows - 0.5)).detach().numpy(), rtol=1e-9, atol=1e-12)
    assert found.axes == ("N", "D")
    volume = nn.Sequential(nn.Flatten(), nn.Linear(4 * 5 * 6, 2)).double()
    found = fs.Occlusion(window=(2, 5, 3), stride=(2, 5, 3))(volume, torch.rand(1, 1, 4, 5, 6).double(), target=0)
    assert found.values.shape == (1, 2, 1, 2)
    with pytest.raises(OptionError, match="window"):
        fs.Occlusion(window=(2, 2))(series, x)

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(6, 2)

        def forward(self, x: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
            return self.fc(torch.cat([self.conv(x).mean((2, 3)), extra], 1))

    two, image, extra = Two().double(), images(2, (20, 20)).double(), torch.rand(2, 2).double()
    found = fs.Occlusion(window=10, stride=5)(two, (image, extra), target=0)
    covered = image.clone()
    covered[:, :, 5:15, 10:20] = 0
    with torch.no_grad():
        np.testing.assert_allclose(found.values[:, 1, 2], (two(image, extra) - two(covered, extra))[:, 0], rtol=1e-9)


def test_windows_that_change_nothing_cost_nothing() -> None:
    x = torch.full((1, 3, 24, 24), 0.5)
    found = fs.Occlusion(window=4, stride=4, baseline=0.5)(network(), x, target=0)
    assert not found.values.any()
    assert found.meta["forwards"] < 5
    assert "zero everywhere" in " ".join(found.notes)
    x[..., 1, 1] = 1
    one = fs.Occlusion(window=4, stride=4, baseline=0.5)(network(), x, target=0)
    assert np.count_nonzero(one.values) == 1
    assert one.values[0, 0, 0] != 0


def test_the_route_is_told_and_right() -> None:
    """Both routes give the same values, and the provenance says which it was."""
    x = images(2, (40, 48))

    class Asking(Plain):
        def features(self, x: torch.Tensor) -> torch.Tensor:
            y = super().features(x)
            return y if float(y.sum()) > -1e9 else y * 2

    fast = fs.Occlusion(window=8, stride=4)(network(), x, target=1)
    slow = fs.Occlusion(window=8, stride=4)(network(Asking), x, target=1)
    assert fast.meta["incremental"] == "yes"
    assert slow.meta["incremental"].startswith("no")
    np.testing.assert_allclose(fast.values, slow.values, rtol=1e-3, atol=1e-6)
    assert fast.meta["forwards"] < 0.5 * slow.meta["forwards"]


def test_half_precision_and_nan() -> None:
    x = images(1, (24, 24))
    full = fs.Occlusion(window=8, stride=8)(network(), x, target=1)
    half = fs.Occlusion(window=8, stride=8)(network().bfloat16(), x, target=1)
    np.testing.assert_allclose(half.values, full.values, atol=0.1 * np.abs(full.values).max() + 0.02)

    class Breaking(Plain):
        def forward(self, x: torch.Tensor) -> Any:
            y = super().forward(x)
            return torch.where(x[:, :1, :2, :2].mean((1, 2, 3))[:, None] == 0, torch.nan, y)

    with pytest.raises(NumericalError):
        fs.Occlusion(window=8, stride=8)(network(Breaking), x, target=1)


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, "8", (), (3, 0)])
def test_wrong_windows_are_told(wrong: Any) -> None:
    with pytest.raises(OptionError, match="window"):
        fs.Occlusion(window=wrong)
    with pytest.raises(OptionError, match="stride"):
        fs.Occlusion(stride=wrong)


# --------------------------------------------------------------------------------------------------- feature ablation


def test_feature_ablation_equals_its_formula() -> None:
    x = images(2, (20, 24)).double()
    labels = torch.randint(0, 12, (20, 24), generator=torch.Generator().manual_seed(1)) * 3 + 5  # gaps in the numbers
    labels[:10, :10] = 77
    found = fs.FeatureAblation(segments=labels, baseline=0.3)(network().double(), x, target=2)
    model = network().double().eval()
    with torch.no_grad():
        for number in labels.unique():
            mask = labels == number
            expected = model(x)[:, 2] - model(torch.where(mask, 0.3, x))[:, 2]
            for n in range(2):
                np.testing.assert_allclose(found.values[n][mask.numpy()], float(expected[n]), rtol=1e-8, atol=1e-12)
    assert np.abs(found.values).max() > 1e-4


def test_feature_ablation_on_a_grid_is_occlusion_with_tiles() -> None:
    x = images(2, (24, 32)).double()
    tiles = fs.Occlusion(window=8, stride=8)(network().double(), x, target=1)
    grid = fs.FeatureAblation(count=12)(network().double(), x, target=1)
    np.testing.assert_allclose(grid.values, tiles.values, rtol=1e-8, atol=1e-12)
    table = nn.Linear(6, 2).double()
    rows = torch.rand(3, 6).double()
    whole = fs.FeatureAblation(segments=[0, 0, 1, 1, 1, 2])(table, rows, target=0)
    parts = fs.FeatureAblation()(table, rows, target=0)
    np.testing.assert_allclose(whole.values[:, 2], parts.values[:, 2:5].sum(1), rtol=1e-9)
    np.testing.assert_allclose(parts.values, (table.weight[0] * rows).detach().numpy(), rtol=1e-9)
