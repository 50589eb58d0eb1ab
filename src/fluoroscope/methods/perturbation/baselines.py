"""Baselines: what an example looks like where a part of it is left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fluoroscope import axes as ax
from fluoroscope.errors import OptionError, nearest
from fluoroscope.methods.attributing import input_axes
from fluoroscope.model.tables import numbers_of

__all__ = ["baseline_of", "wants_mask"]

BLUR = 0.05  # standard deviation of the blur, as a share of the longest side: 11 pixels of 224


def baseline_of(tensor: torch.Tensor, baseline: Any, start: int = 0) -> torch.Tensor:
    """The baseline (N, ...) of a batch of inputs (N, ...) that starts at example ``start``.

    A number everywhere (for tokens an id); ``"mean"``: each channel's mean over the positions of the same example;
    ``"blur"``: the example without detail; a tensor or array: shaped like one example, or with a row for each of all.

    Raises:
        OptionError: no such baseline, or it does not fit the input.
    """
    baseline = numbers_of(baseline)
    if isinstance(baseline, str):
        return _derived(tensor, baseline)
    if isinstance(baseline, (torch.Tensor, np.ndarray, list, tuple)):
        return _given(tensor, torch.as_tensor(baseline), start)
    if isinstance(baseline, bool) or not isinstance(baseline, (int, float, np.number)):
        raise _unknown(baseline)
    if not tensor.is_floating_point() and float(baseline) != int(baseline):
        raise OptionError("a token can only be replaced by a token", got=baseline, expected="an id, a whole number")
    return torch.full_like(tensor[:1], float(baseline)).expand_as(tensor)


def wants_mask(baseline: Any) -> bool:
    """Whether the baseline is the tokenizer's mask token."""
    return isinstance(baseline, str) and baseline == "mask"


def _derived(tensor: torch.Tensor, baseline: str) -> torch.Tensor:
    if baseline not in ("mean", "blur"):
        raise _unknown(baseline)
    axes, _ = input_axes(tensor)
    places = [i for i, a in enumerate(axes) if a in ax.SPACE]
    if not places or not tensor.is_floating_point():
        raise OptionError(
            f"the baseline {baseline!r} is for images and series",
            got=f"an input of shape {tuple(tensor.shape)}, {str(tensor.dtype).removeprefix('torch.')}",
            expected="a number, a tensor shaped like an example, or a background where the method has one",
        )
    if baseline == "mean":
        return tensor.mean(places, keepdim=True).expand_as(tensor)
    blurred = tensor
    for axis in places:
        blurred = _blurred(blurred, axis, BLUR * max(tensor.shape[i] for i in places))
    return blurred


def _blurred(tensor: torch.Tensor, axis: int, sigma: float) -> torch.Tensor:
    """Gaussian means along one axis; at the borders over what there is."""
    place = torch.arange(tensor.shape[axis], device=tensor.device, dtype=tensor.dtype)
    weights = torch.exp(-((place[:, None] - place) ** 2) / (2 * sigma**2))
    return (tensor.movedim(axis, -1) @ (weights / weights.sum(1, keepdim=True)).T).movedim(-1, axis)


def _given(tensor: torch.Tensor, baseline: torch.Tensor, start: int) -> torch.Tensor:
    baseline = baseline.to(tensor.device, tensor.dtype)
    if baseline.shape == tensor.shape[1:]:
        return baseline.expand_as(tensor)
    if baseline.ndim == tensor.ndim and baseline.shape[1:] == tensor.shape[1:] and len(baseline) >= start + len(tensor):
        return baseline[start : start + len(tensor)]
    if baseline.shape == (1, *tensor.shape[1:]):
        return baseline.expand_as(tensor)
    raise OptionError(
        "the baseline does not fit the input",
        got=f"shape {tuple(baseline.shape)}",
        expected=f"{tuple(tensor.shape[1:])}, like an example, or a row for each example",
    )


def _unknown(baseline: Any) -> OptionError:
    return OptionError(
        "there is no such baseline",
        got=baseline if isinstance(baseline, str) else type(baseline).__name__,
        expected="a number, 'mean', 'blur', 'mask' (of tokens), or a tensor shaped like an example",
        nearest=nearest(str(baseline), ("mean", "blur", "mask")),
    )
