"""Features: grids, the user's own numbers, and values painted back on positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fluoroscope.errors import InputError, OptionError
from fluoroscope.methods.perturbation.features import cells, features_of, grid_shape, layout


def test_a_grid_cuts_evenly_and_covers_all() -> None:
    for size, grid in (((7, 10), (3, 4)), ((5,), (5,)), ((4, 4, 4), (2, 1, 3))):
        found = cells(size, grid, "cpu")
        counts = found.labels.flatten().bincount(minlength=found.count)
        assert found.count == np.prod(grid)
        assert counts.min() > 0
        per_axis = [np.bincount(np.arange(n) * g // n) for n, g in zip(size, grid, strict=True)]
        assert all(c.max() - c.min() <= 1 for c in per_axis)
        values = np.arange(found.count, dtype=float)
        painted = found.painted(values)
        assert painted.shape == grid
        for place in np.ndindex(*size):
            cell = tuple(p * g // n for p, g, n in zip(place, grid, size, strict=True))
            assert painted[cell] == found.labels[place]


def test_cells_have_equal_sides() -> None:
    assert grid_shape((224, 224), 49) == (7, 7)
    assert grid_shape((100, 400), 16) == (2, 8)
    assert grid_shape((3, 3), 1000) == (3, 3)
    assert grid_shape((50, 80), 1) == (1, 1)
    assert grid_shape((120,), 10) == (10,)


def test_own_numbers_for_all_or_for_each() -> None:
    x = torch.rand(2, 3, 2, 2)
    same = features_of(x, layout(x), [[7, 7], [3, 9]], 4, 0)
    assert [f.count for f in same] == [3, 3]
    np.testing.assert_array_equal(same[0].painted(np.array([1.0, 2.0, 3.0])), [[2, 2], [1, 3]])
    numbers = np.arange(12).reshape(3, 2, 2) // [[[4]], [[2]], [[1]]]
    each = features_of(x, layout(x), numbers, 4, 1)  # a batch that starts at example 1
    assert [f.count for f in each] == [2, 4]
    for wrong in (np.zeros((3, 3), int), np.zeros((2, 2)), "hexagons"):
        with pytest.raises(OptionError, match="segments"):
            features_of(x, layout(x), wrong, 4, 0)


def test_positions_of_every_kind_of_input() -> None:
    assert layout(torch.rand(2, 3, 5, 7)).axes == ("H", "W")
    assert layout(torch.rand(2, 50, 70, 3)).channel == 3
    assert layout(torch.rand(2, 3, 9)).axes == ("T",)
    assert layout(torch.rand(2, 9)).axes == ("D",)
    assert layout(torch.zeros(2, 9, dtype=torch.int64)).axes == ("L",)
    for nothing in (torch.rand(2), torch.rand(2, 0), torch.zeros(1, 0, dtype=torch.int64)):
        with pytest.raises(InputError, match="left out"):
            layout(nothing)


def test_means_of_features() -> None:
    x = torch.rand(1, 3, 2, 5, dtype=torch.float64)
    (found,) = features_of(x, layout(x), [[0, 0, 1, 1, 1], [0, 0, 0, 0, 0]], 4, 0)
    means = found.means(x, layout(x))
    for c in range(3):
        inside = torch.cat([x[0, c, 0, :2], x[0, c, 1]]).mean()
        np.testing.assert_allclose(means[0, c], [[inside] * 2 + [x[0, c, 0, 2:].mean()] * 3, [inside] * 5])
    last = x.permute(0, 2, 3, 1)
    wide = last.repeat(1, 30, 30, 1)
    (grid,) = features_of(wide, layout(wide), "grid", 1, 0)
    np.testing.assert_allclose(grid.means(wide, layout(wide)), wide.mean((1, 2), keepdim=True).expand_as(wide))
