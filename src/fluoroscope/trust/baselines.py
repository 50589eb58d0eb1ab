"""Baselines: what stands in the place of what is taken away."""

from __future__ import annotations

from typing import Literal

import torch

from fluoroscope.errors import NotApplicable
from fluoroscope.trust.places import Places

__all__ = ["Baseline", "baseline"]

Baseline = Literal["blur", "mean", "zero"]
BLUR = 0.05  # standard deviation of the blur, as a share of the longer side


def baseline(inputs: torch.Tensor, places: Places, kind: str) -> torch.Tensor:
    """An input that says nothing, shaped like ``inputs``.

    ``"zero"`` is 0 in the network's own scaling (token number 0 for texts); ``"mean"`` the mean of each channel over
    the example's own places, for rows the mean of each column over the rows given; ``"blur"`` a Gaussian blur whose
    standard deviation is 5 % of the longer side.

    Raises:
        NotApplicable: there is no mean of whole numbers, and no blur of places without neighbours.
    """
    if kind == "zero":
        return torch.zeros_like(inputs)
    if not inputs.is_floating_point():
        raise _refused(kind, f"token numbers ({str(inputs.dtype).removeprefix('torch.')})")
    if kind == "mean":
        dims = places.dims if places.continuous else (0,)
        return inputs.mean(dims, keepdim=True).expand_as(inputs)
    if not places.continuous:
        raise _refused(kind, f"an input over ({', '.join(places.axes)})")
    blurred, sigma = inputs, max(1.0, BLUR * max(places.shape))
    for dim in places.dims:
        blurred = _blurred(blurred, dim, sigma)
    return blurred


def _refused(kind: str, got: str) -> NotApplicable:
    remedy = "baseline='zero'" if kind == "mean" else "baseline='mean' or 'zero'"
    return NotApplicable(f"there is no {kind} of such an input", got=got, expected="numbers", remedy=remedy)


def _blurred(tensor: torch.Tensor, dim: int, sigma: float) -> torch.Tensor:
    """Gaussian blur along one dimension; weights outside the border are left out, the others make up for them."""
    length = tensor.shape[dim]
    place = torch.arange(length, dtype=torch.float64, device=tensor.device)
    weights = torch.exp(-((place[:, None] - place) ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum(1, keepdim=True)).to(tensor.dtype)
    return (tensor.movedim(dim, -1) @ weights.T).movedim(-1, dim)
