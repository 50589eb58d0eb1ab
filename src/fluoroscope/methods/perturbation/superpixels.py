"""Superpixels: connected regions of like colour (SLIC), for methods that leave out parts of a picture."""

from __future__ import annotations

import numpy as np

from fluoroscope.results import Array

__all__ = ["superpixels"]

ROUNDS = 10
COMPACTNESS = 0.2


def superpixels(picture: Array, count: int, compactness: float = COMPACTNESS) -> Array:
    r"""Cut a picture (H, W, C) into about ``count`` connected regions; returns their numbers (H, W), from 0 without
    gaps.

    .. math:: d^2 = \frac{\|c - c_k\|^2}{\sigma^2} + m\,\frac{\|p - p_k\|^2}{S^2}

    k-means in colour c and place p together, each pixel comparing the clusters that started in the 3 x 3 grid cells
    around it; S is the side of a cell, sigma the spread of colours, m the compactness (0 follows colour alone).
    Afterwards every part that is not connected to the body of its cluster joins the neighbour with the longest common
    border. Source: Achanta et al., *SLIC Superpixels*, 2012; here colours are what the network sees, not CIELAB.
    """
    height, width = picture.shape[:2]
    side = np.sqrt(count / (height * width))
    grid = _cells(height, side), _cells(width, side)
    spread = np.sqrt(picture.reshape(-1, picture.shape[2]).var(0).sum()) or 1.0
    rows, columns = np.mgrid[:height, :width]
    step = np.sqrt(height * width / (grid[0] * grid[1]))
    places = np.stack([rows, columns], -1) * (np.sqrt(compactness) / step)
    points = np.concatenate([picture / spread, places], -1)
    return _connected(_clustered(points, grid))


def _cells(length: int, side: float) -> int:
    return int(min(max(round(length * side), 1), length))


def _clustered(points: Array, grid: tuple[int, int]) -> Array:
    height, width, channels = points.shape
    row, column = np.arange(height) * grid[0] // height, np.arange(width) * grid[1] // width
    labels: Array = row[:, None] * grid[1] + column
    flat = points.reshape(-1, channels)
    for _ in range(ROUNDS):
        centers = _means(flat, labels.ravel(), grid[0] * grid[1])
        best = np.full((height, width), np.inf)
        found = labels
        for i in (-1, 0, 1):
            for j in (-1, 0, 1):
                down, right = np.clip(row + i, 0, grid[0] - 1), np.clip(column + j, 0, grid[1] - 1)
                near = down[:, None] * grid[1] + right
                distance = ((points - centers[near]) ** 2).sum(-1)
                found = np.where(distance < best, near, found)
                best = np.minimum(best, distance)
        if (found == labels).all():
            break
        labels = found
    return labels


def _means(flat: Array, labels: Array, count: int) -> Array:
    """The mean of each cluster; an empty one is put where no pixel is nearest to it."""
    sizes = np.bincount(labels, minlength=count)
    sums = np.stack([np.bincount(labels, weights=column, minlength=count) for column in flat.T], -1)
    means = sums / np.maximum(sizes, 1)[:, None]
    means[sizes == 0] = np.inf
    return means


def _connected(labels: Array) -> Array:
    """Each cluster's largest connected part keeps its number; other parts join a neighbour. Numbered without gaps."""
    parts = _parts(labels)
    sizes = np.bincount(parts.ravel())
    owner = np.zeros(len(sizes), dtype=np.int64)
    owner[parts.ravel()] = labels.ravel()
    body = np.zeros(len(sizes), dtype=bool)
    for cluster in np.unique(owner):
        mine = np.flatnonzero(owner == cluster)
        body[mine[np.argmax(sizes[mine])]] = True
    target = np.where(body, np.arange(len(sizes)), -1)
    pairs = _borders(parts)
    while (target < 0).any():  # strays beside something settled join it; the next round settles those beside them
        known = target[pairs[:, 1]] >= 0
        waiting = pairs[(target[pairs[:, 0]] < 0) & known]
        joins, lengths = np.unique(np.stack([waiting[:, 0], target[waiting[:, 1]]], 1), axis=0, return_counts=True)
        for at in np.argsort(lengths, kind="stable"):
            target[joins[at, 0]] = joins[at, 1]
    return np.unique(target[parts], return_inverse=True)[1].reshape(labels.shape)


def _parts(labels: Array) -> Array:
    """Connected parts of equal labels, numbered from 0: every pixel takes the lowest number that reaches it."""
    height, width = labels.shape
    parts = np.arange(height * width).reshape(height, width)
    down, right = labels[1:] == labels[:-1], labels[:, 1:] == labels[:, :-1]
    while True:
        before = parts.copy()
        for a, b, same in ((parts[:-1], parts[1:], down), (parts[:, :-1], parts[:, 1:], right)):
            low = np.where(same, np.minimum(a, b), 0)
            np.copyto(a, low, where=same)
            np.copyto(b, low, where=same)
        parts = parts.ravel()[parts]  # jump to the number's own number, so that long parts settle fast
        if (parts == before).all():
            return np.unique(parts, return_inverse=True)[1].reshape(labels.shape)


def _borders(parts: Array) -> Array:
    """Pairs (n, 2) of different parts that touch, one for each pixel of border, both ways."""
    pairs = np.concatenate([
        np.stack([parts[1:].ravel(), parts[:-1].ravel()], 1),
        np.stack([parts[:, 1:].ravel(), parts[:, :-1].ravel()], 1),
    ])  # fmt: skip
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return np.concatenate([pairs, pairs[:, ::-1]])
