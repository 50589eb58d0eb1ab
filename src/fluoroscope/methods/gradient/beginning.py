"""Beginnings: the baseline of a source, where a path to its value begins."""

from __future__ import annotations

from typing import Any

import torch

from fluoroscope import axes as ax
from fluoroscope.methods.base import Batch
from fluoroscope.methods.baselines import as_tensor, baseline_of, finite
from fluoroscope.model.source import Source

__all__ = ["beginning"]


def beginning(kind: Any, source: Source, batch: Batch, seed: int) -> torch.Tensor:
    """The baseline (N, ...) of a batch's examples, as :mod:`fluoroscope.methods.baselines` has them.

    For tokens a number fills their vectors, so that 0 is the zero vector; whole numbers shaped like a text, and
    ``"mask"``, are looked up by the network's own embedding.

    Raises:
        OptionError: no such baseline, or it does not fit.
        InputError: it holds NaN or infinity, which no path begins at.
    """
    subject, words = source.study.subject, not source.chosen.is_floating_point()
    looked_up = isinstance(kind, str) and kind == "mask"
    if words and not isinstance(kind, (str, int, float)):
        kind = as_tensor(kind)
        looked_up = kind.ndim > 0 and not kind.is_floating_point()
    if looked_up:
        found = baseline_of(kind, source.chosen, subject, start=batch.start, seed=seed)
        return source.other(found.contiguous()) if words else found
    axes = (ax.N, ax.L, ax.C) if source.tokens else source.axes
    return finite(baseline_of(kind, source.value, subject, axes=axes, start=batch.start, seed=seed)).contiguous()
