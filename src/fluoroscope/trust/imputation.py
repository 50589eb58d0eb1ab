"""Imputation: pixels taken away are filled with what their neighbours suggest, so that the gap itself says little."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch

__all__ = ["impute"]

Linear = Callable[[torch.Tensor], torch.Tensor]
TOLERANCE = 1e-4  # relative residual
DIRECT, DIAGONAL = 2.0, 1.0  # weights 1/6 and 1/12 in a picture, where the eight add up to one


def impute(values: torch.Tensor, missing: torch.Tensor) -> torch.Tensor:
    r"""Fill the ``missing`` places (M, *places) of ``values`` (M, C, *places): each is the weighted mean of its
    neighbours, known and unknown ones alike.

    .. math:: x_p = \frac{\sum_q w_{pq} x_q}{\sum_q w_{pq}}

    with w = 1/6 for the neighbours beside, 1/12 for the diagonal ones, 0 for others and beyond the border.

    Source: Rong et al., *ROAD*, ICML 2022, section 4.2 (noisy linear imputation, without the noise). The equations are
    multiplied by their denominators, which makes them symmetric and positive definite as long as one place is known,
    and solved by conjugate gradients, all examples and channels at once.
    """
    unknown = missing[:, None].to(values.dtype)
    known = values * (1 - unknown)
    total = _neighbours(torch.ones_like(unknown))
    level = known.flatten(2).sum(2) / (1 - unknown).flatten(2).sum(2).clamp_min(1)
    start = level.reshape(*level.shape, *[1] * (values.ndim - 2)) * unknown

    def apply(x: torch.Tensor) -> torch.Tensor:
        return unknown * (total * x - _neighbours(x))

    right = unknown * _neighbours(known)
    return known + _conjugate_gradients(apply, right, start)


def _neighbours(values: torch.Tensor) -> torch.Tensor:
    """Weighted sum over the neighbours inside the border, (M, C, *places)."""
    rank = values.ndim - 2
    padded = torch.nn.functional.pad(values, (1, 1) * rank)
    total = torch.zeros_like(values)
    for step in itertools.product((0, 1, 2), repeat=rank):
        off = sum(s != 1 for s in step)
        if off in (1, 2):
            window = tuple(slice(s, s + n) for s, n in zip(step, values.shape[2:], strict=True))
            total = total + (DIRECT if off == 1 else DIAGONAL) * padded[(slice(None), slice(None), *window)]
    return total


def _conjugate_gradients(apply: Linear, right: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """Solve ``apply(x) = right`` for every (example, channel) at once."""
    places = tuple(range(2, right.ndim))
    found, residual = start, right - apply(start)
    direction, size = residual, (residual**2).sum(places, keepdim=True)
    enough = TOLERANCE**2 * (right**2).sum(places, keepdim=True)
    for _ in range(4 * sum(right.shape[2:])):
        if bool((size <= enough).all()):
            break
        image = apply(direction)
        step = size / (direction * image).sum(places, keepdim=True).clamp_min(torch.finfo(right.dtype).tiny)
        found, residual = found + step * direction, residual - step * image
        size, before = (residual**2).sum(places, keepdim=True), size
        direction = residual + size / before.clamp_min(torch.finfo(right.dtype).tiny) * direction
    return found
