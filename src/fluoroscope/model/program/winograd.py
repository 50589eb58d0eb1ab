"""Winograd: convolutions of 3 x 3 with a quarter of the multiplications, in tiles of 4 x 4 positions.

A tile of the result is ``A' [ (G w G') * (B' x B) ] A``, the product in brackets number by number and summed over
channels, so that 36 products of matrices do the work of 144 (Winograd, *Arithmetic Complexity of Computations*, 1980;
Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*, 2016). With the points 0, ±sqrt(1/2), ±sqrt(2) and
infinity rounding stays within a few times that of a direct convolution (a fifth of what the usual ±1, ±2 give).
"""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["Winograd"]

TILE, WINDOW = 4, 6
POINTS = (0.0, 0.5**0.5, -(0.5**0.5), 2.0**0.5, -(2.0**0.5))
CHUNK_BYTES = 6e6
"""Transformed tiles that are worked on at a time: larger blocks of memory go back to the system each time."""
FEWEST_CHANNELS = 128
FULLEST = 0.6
MOST_THREADS = 2
"""Products of matrices as small as these do not share out among many."""


class Winograd:
    """``conv(x) + addend`` with a padding of 1, for weights (O, C, 3, 3) in single precision on a CPU."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        outputs, inputs = weight.shape[:2]
        transform, kernel, back = (torch.from_numpy(np.kron(m, m)) for m in _matrices())
        self._transform, self._back = transform.float(), back.float()
        turned = kernel.float() @ weight.reshape(outputs * inputs, 9).T
        ops = torch.ops.mkldnn
        self._weights = [ops._reorder_linear_weight(w.view(outputs, inputs), None) for w in turned]
        ones = torch.linalg.lstsq(back, torch.ones(TILE * TILE, 1, dtype=torch.float64), driver="gelsd").solution
        self._biases = [None if bias is None else (share * bias.double()).float() for share in ones]
        self._outputs = outputs

    @staticmethod
    def suits(weight: torch.Tensor, size: tuple[int, ...]) -> bool:
        """Whether it is quicker for results (C, H, W): wide layers whose maps fill the tiles, on one or two cores."""
        if weight.shape[2:] != (3, 3) or min(weight.shape[:2]) < FEWEST_CHANNELS or weight.dtype != torch.float32:
            return False
        filled = size[1] * size[2] / (_tiles(size[1]) * _tiles(size[2]) * TILE**2)
        available = weight.device.type == "cpu" and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        return filled >= FULLEST and available and torch.get_num_threads() <= MOST_THREADS

    @staticmethod
    def memory(weight: torch.Tensor) -> int:
        """Bytes of the transformed weights."""
        return weight.shape[0] * weight.shape[1] * WINDOW**2 * weight.element_size()

    def __call__(self, x: torch.Tensor, addend: torch.Tensor | None) -> torch.Tensor:
        """(B, O, H, W) of (B, C, H, W), channels last in memory."""
        count, channels, height, width = x.shape
        tiles = _tiles(height) * _tiles(width)
        most = max(1, int(CHUNK_BYTES / (WINDOW**2 * tiles * max(channels, self._outputs) * x.element_size())))
        made = x.new_empty(count, height, width, self._outputs)
        for start in range(0, count, most):
            part = self._part(x[start : start + most])[:, :height, :width]
            if addend is None:
                made[start : start + most] = part
            else:
                torch.add(part, addend[start : start + most].permute(0, 2, 3, 1), out=made[start : start + most])
        return made.permute(0, 3, 1, 2)

    def _part(self, x: torch.Tensor) -> torch.Tensor:
        """Whole tiles (B, at least H, at least W, O)."""
        count, channels, height, width = x.shape
        down, along = _tiles(height), _tiles(width)
        linear = torch.ops.mkldnn._linear_pointwise
        room = x.new_zeros(count, down * TILE + 2, along * TILE + 2, channels)
        room[:, 1 : height + 1, 1 : width + 1] = x.permute(0, 2, 3, 1)
        one, row, column, _ = room.stride()
        windows = room.as_strided(
            (WINDOW, WINDOW, count, down, along, channels), (row, column, one, row * TILE, column * TILE, 1)
        ).reshape(WINDOW**2, -1)
        turned = linear(self._transform, windows.T, None, "none", [], "").view(WINDOW**2, -1, channels)
        sums = torch.cat(
            [linear(t, w, b, "none", [], "") for t, w, b in zip(turned, self._weights, self._biases, strict=True)]
        )
        found = linear(self._back, sums.view(WINDOW**2, -1).T, None, "none", [], "")
        found = found.view(TILE, TILE, count, down, along, self._outputs).permute(2, 3, 0, 4, 1, 5)
        result: torch.Tensor = found.reshape(count, down * TILE, along * TILE, self._outputs)
        return result


def _tiles(length: int) -> int:
    return -(-length // TILE)


def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """B' (6, 6), G (6, 3) and A' (4, 6) of one axis, by interpolation at the points and at infinity (Toom and Cook)."""
    points = np.array(POINTS)
    others = [np.delete(points, i) for i in range(len(points))]
    transform, kernel, back = np.zeros((WINDOW, WINDOW)), np.zeros((WINDOW, 3)), np.zeros((TILE, WINDOW))
    for i, point in enumerate(points):
        transform[i, :-1] = np.poly(others[i])[::-1]
        kernel[i] = point ** np.arange(3) / np.prod(point - others[i])
        back[:, i] = point ** np.arange(TILE)
    transform[-1] = np.poly(points)[::-1]
    kernel[-1, -1] = back[-1, -1] = 1
    return transform, kernel, back
