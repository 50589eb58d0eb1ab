"""Statistics of whole tensors, every entry read: what the samples are held against every some hundred steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["ORDER", "exact_statistics"]

ORDER = ("mean", "std", "min", "max", "zero_share")


def exact_statistics(
    parts: Sequence[torch.Tensor | None],
    whole: Sequence[torch.Tensor | None] | None = None,
    scale: torch.Tensor | None = None,
) -> torch.Tensor:
    """:data:`ORDER` (L, 5) float32 of each tensor; NaN where there is none.

    ``whole`` tells of sparse tensors, whose ``parts`` are the entries they hold; ``scale`` divides.
    """
    wholes = whole if whole is not None else parts
    found = [_statistics(p, w) for p, w in zip(parts, wholes, strict=True)]
    device = next((f.device for f in found if f is not None), torch.device("cpu"))
    never = torch.full((5,), float("nan"), device=device)
    table = torch.stack([never if f is None else f for f in found]) if found else torch.zeros(0, 5)
    if scale is not None:
        table[:, :4] /= scale
    return table


def _statistics(part: torch.Tensor | None, whole: torch.Tensor | None) -> torch.Tensor | None:
    if part is None or not part.numel():
        return None
    part = part if part.dtype in (torch.float32, torch.float64) else part.to(torch.float32)
    std, mean = torch.std_mean(part, correction=0)
    low, high = part.aminmax()
    zeros = 1 - torch.count_nonzero(part).to(part.dtype) / part.numel()
    found = torch.stack([mean, std, low, high, zeros]).to(torch.float32)
    if whole is None or not whole.is_sparse or part.numel() == whole.numel():
        return found
    share = part.numel() / whole.numel()
    square = (std.double().square() + mean.double().square()) * share
    all_mean = mean.double() * share
    spread = (square - all_mean.square()).clamp(min=0).sqrt()
    parts = [all_mean, spread, low.clamp(max=0), high.clamp(min=0), 1 - (1 - zeros) * share]
    return torch.stack([p.to(torch.float32) for p in parts])
