"""Sparse gradients, as ``nn.Embedding(sparse=True)`` gives them: entries of the whole tensor, zeros included."""

from __future__ import annotations

import torch

from fluoroscope.training.recorder.samples import Entries, Samples

__all__ = ["dense_entries"]


def dense_entries(
    gradient: torch.Tensor | None, part: torch.Tensor | None, samples: Samples, index: int
) -> torch.Tensor | Entries | None:
    """``part`` itself, or the sample of a sparse ``gradient``."""
    if gradient is None or not gradient.is_sparse:
        return part
    gradient = gradient.coalesce()
    places = samples.places(index).to(gradient.device)
    if gradient.sparse_dim() != 1 or gradient.dense_dim() < 1:
        return Entries(gradient.to_dense().reshape(-1)[places])
    width = gradient.values()[0].numel() if len(gradient.values()) else 1
    rows, columns = places // width, places % width
    known = gradient.indices()[0]
    if not len(known):
        return Entries(torch.zeros(len(places), device=gradient.device))
    at = torch.searchsorted(known, rows).clamp_(max=len(known) - 1)
    values = gradient.values().reshape(len(known), width)[at, columns]
    return Entries(torch.where(known[at] == rows, values, torch.zeros_like(values)))
