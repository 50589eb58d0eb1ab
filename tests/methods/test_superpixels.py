"""Superpixels: connected, without gaps in their numbers, and along the edges of what is seen."""

from __future__ import annotations

import numpy as np
import pytest

from fluoroscope.methods.perturbation.superpixels import superpixels


def flood(labels: np.ndarray) -> int:
    """The number of connected parts, by filling one after the other."""
    left, parts = {tuple(p) for p in np.argwhere(labels >= 0)}, 0
    while left:
        parts += 1
        todo = [left.pop()]
        while todo:
            i, j = todo.pop()
            for near in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                if near in left and labels[near] == labels[i, j]:
                    left.remove(near)
                    todo.append(near)
    return parts


@pytest.mark.parametrize("count", [1, 2, 9, 40])
def test_connected_and_numbered_without_gaps(count: int) -> None:
    picture = np.random.default_rng(0).random((23, 31, 3))  # noise: without the last step most clusters fall apart
    found = superpixels(picture, count)
    assert found.shape == (23, 31)
    assert sorted(set(found.ravel())) == list(range(found.max() + 1))
    assert flood(found) == found.max() + 1
    assert 0.4 * count <= found.max() + 1 <= 1.3 * count


def test_borders_follow_what_is_seen() -> None:
    rows, columns = np.mgrid[:40, :40]
    disc = (rows - 18.3) ** 2 + (columns - 22.1) ** 2 < 120
    picture = np.where(disc[..., None], [0.9, 0.2, 0.1], [0.1, 0.5, 0.8])
    found = superpixels(picture, 16)
    mixed = sum(min((disc[found == s]).sum(), (~disc[found == s]).sum()) for s in range(found.max() + 1))
    grid = (np.arange(40) // 10)[:, None] * 4 + np.arange(40) // 10
    mixed_grid = sum(min((disc[grid == s]).sum(), (~disc[grid == s]).sum()) for s in range(16))
    assert mixed_grid > 100
    assert mixed < 0.3 * mixed_grid


def test_a_constant_picture_becomes_a_grid() -> None:
    found = superpixels(np.full((20, 20, 1), 3.0), 4)
    assert found.max() == 3
    assert np.bincount(found.ravel()).tolist() == [100] * 4
    assert superpixels(np.zeros((1, 5, 2)), 100).max() == 4
