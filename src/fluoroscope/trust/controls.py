"""Controls: maps that know nothing of the network, scored like any method's."""

from __future__ import annotations

import numpy as np

from fluoroscope import axes as ax
from fluoroscope.results import Array, Attribution

__all__ = ["edge_map", "random_map"]


def random_map(like: Attribution, seed: int) -> Attribution:
    """Uniform random numbers on the cells of ``like``: what chance reaches at that resolution.

    Every example has a generator of its own, so that its numbers do not depend on the others.
    """
    cells = like.map(0).shape
    drawn = [np.random.default_rng([seed, n]).random(cells) for n in range(len(like.data))]
    size = " x ".join(map(str, cells))
    return _as_control(like, np.stack(drawn), f"Control: random, {size}", centers=like.centers)


def edge_map(like: Attribution, pictures: Array) -> Attribution:
    r"""The length of the Sobel gradient of ``pictures`` (N, H, W): edges of the picture, whatever the network learned.

    .. math:: \sqrt{(S * x)^2 + (S^T * x)^2}, \quad S = (1, 2, 1)^T (1, 0, -1)
    """
    padded = np.pad(pictures.astype(np.float64), ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = padded[:, :, 2:] - padded[:, :, :-2]
    down = padded[:, 2:] - padded[:, :-2]
    horizontal = across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]
    vertical = down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]
    return _as_control(like, np.hypot(horizontal, vertical), "Control: edge detector", centers=None)


def _as_control(like: Attribution, values: Array, title: str, centers: object) -> Attribution:
    axes = (ax.N, *(a for a in like.axes if a not in (ax.N, ax.K, ax.C)))
    return like.replace(data=values, axes=axes, title=title, centers=centers, signed=False, unit="", meta={})
