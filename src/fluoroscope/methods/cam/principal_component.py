"""The first principal component of a layer, as a map over its positions."""

from __future__ import annotations

import torch

__all__ = ["first_component"]


def first_component(maps: torch.Tensor, guide: torch.Tensor, *, center: bool = False) -> torch.Tensor:
    """Positions (N, *positions) projected on the first right singular vector of each example's (positions x channels).

    A singular vector has no sign of its own: it is chosen so that the projection agrees with ``guide`` (N, *positions);
    where it has nothing to do with it, so that the largest magnitude is positive.
    The smaller of the two Gram matrices is decomposed. ``center`` takes each channel's mean off first (then it is the
    first principal component in the usual sense).
    """
    rows = maps.flatten(2).transpose(1, 2)
    if center:
        rows = rows - rows.mean(1, keepdim=True)
    scale = rows.abs().amax((1, 2), keepdim=True)
    rows = rows / torch.where(scale == 0, 1, scale)  # squares of small activations would vanish
    if rows.shape[1] <= rows.shape[2]:
        values, vectors = torch.linalg.eigh(rows @ rows.transpose(1, 2))
        found = vectors[..., -1] * values[:, -1:].clamp(min=0).sqrt()
    else:
        found = (rows @ torch.linalg.eigh(rows.transpose(1, 2) @ rows).eigenvectors[..., -1:])[..., 0]
    found = torch.where(_upside_down(found, guide.flatten(1)), -found, found) * scale[..., 0]
    return found.reshape(len(maps), *maps.shape[2:])


def _upside_down(found: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
    """Which rows (N, 1) of (N, positions) have the wrong sign."""
    agreement = (found * guide).sum(1, keepdim=True)
    clear = agreement.abs() > 1e-4 * (found * guide).abs().sum(1, keepdim=True)
    extreme = found.amax(1, keepdim=True) + found.amin(1, keepdim=True)
    return torch.where(clear, agreement, extreme) < 0
