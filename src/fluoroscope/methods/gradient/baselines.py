"""Baselines: what an input is compared with, where a path to it begins."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fluoroscope import axes as ax
from fluoroscope.errors import InputError, OptionError, nearest
from fluoroscope.methods.attributing import input_axes
from fluoroscope.methods.base import Batch
from fluoroscope.model.source import Source
from fluoroscope.model.tables import numbers_of
from fluoroscope.model.texts import mask_token

__all__ = ["BASELINE_HELP", "as_tensor", "baseline_of"]

BASELINE_HELP = "where the path begins: a number, 'mean', 'blur', 'mask', or a tensor (of token numbers for texts)"
BLUR = 1 / 10


def baseline_of(kind: Any, source: Source, batch: Batch) -> torch.Tensor:
    """The baseline (N, ...) of a batch's examples.

    A number fills it (0 is zero *after* preprocessing; for tokens the zero vector). ``"mean"`` is each channel's mean
    over the example's own positions, ``"blur"`` the example after a Gaussian of a tenth of each side, ``"mask"`` the
    tokenizer's mask token at every place of a text. A tensor is taken as it is: one example's shape, or one baseline
    for each example. Whole numbers are looked up by the network's own embedding.

    Raises:
        OptionError: no such kind, or one that needs positions where there are none.
        InputError: a tensor of another shape.
    """
    value, kind = source.value, numbers_of(kind)
    if isinstance(kind, (int, float, np.number)) and not isinstance(kind, bool):
        return torch.full_like(value, float(kind))
    if isinstance(kind, str) and kind == "mean":
        places = _places(source, kind)
        return value.mean(places, keepdim=True).expand_as(value).contiguous()
    if isinstance(kind, str) and kind == "blur":
        return _blurred(value, _places(source, kind))
    if isinstance(kind, str) and kind == "mask":
        return _masked(source)
    if isinstance(kind, (torch.Tensor, np.ndarray, list)):
        return _given(as_tensor(kind), source, batch)
    raise OptionError(
        "no such baseline",
        got=kind,
        expected="a number, 'mean', 'blur', 'mask' or a tensor",
        nearest=nearest(str(kind), ("mean", "blur", "mask")),
    )


def as_tensor(given: Any) -> torch.Tensor:
    """A tensor from a tensor, a table, an array or a list, not on any tape. Raises InputError where it holds NaN."""
    given = numbers_of(given)
    tensor = given.detach() if isinstance(given, torch.Tensor) else torch.as_tensor(np.asarray(given))
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise InputError("the baseline holds NaN or infinity", got=f"shape {tuple(tensor.shape)}")
    return tensor


def _masked(source: Source) -> torch.Tensor:
    """The tokenizer's mask token at every place."""
    if source.chosen.is_floating_point():
        raise OptionError("baseline 'mask' is for texts", got=f"an input of {source.chosen.dtype}")
    return source.other(torch.full_like(source.chosen, mask_token(source.study.subject)))


def _places(source: Source, kind: str) -> tuple[int, ...]:
    """Axes of positions."""
    axes = input_axes(source.value)[0]
    if source.tokens or not any(a in ax.SPACE for a in axes):
        raise OptionError(
            f"baseline {kind!r} needs positions: an image, a volume or a series",
            got=f"values of shape {tuple(source.value.shape)}",
            remedy="give a tensor, for a table the mean of the data set: baseline=x_train.mean(0)",
        )
    return tuple(i for i, a in enumerate(axes) if a in ax.SPACE)


def _given(tensor: torch.Tensor, source: Source, batch: Batch) -> torch.Tensor:
    """A given tensor, one for each example of the batch."""
    words = not tensor.is_floating_point() and not source.chosen.is_floating_point()
    like = source.chosen if words else source.value
    tensor = tensor.to(like.device, like.dtype)
    count = batch.inputs.count
    if tuple(tensor.shape) == tuple(like.shape[1:]) or (tensor.ndim == like.ndim and len(tensor) == 1):
        tensor = tensor.expand_as(like)
    elif tensor.shape[1:] == like.shape[1:] and len(tensor) >= batch.start + count:
        tensor = tensor[batch.start : batch.start + count]
    if tensor.shape != like.shape:
        raise InputError(
            "the baseline does not fit the input",
            got=f"shape {tuple(tensor.shape)}",
            expected=f"{tuple(like.shape[1:])}, or one of that shape for each example",
        )
    return source.other(tensor.contiguous()) if words else tensor.contiguous()


def _blurred(value: torch.Tensor, places: tuple[int, ...]) -> torch.Tensor:
    """A Gaussian along each axis of positions, the borders continued by their own values."""
    result = value.to(torch.promote_types(value.dtype, torch.float32))
    for axis in places:
        length = value.shape[axis]
        distance = torch.arange(length).double()[:, None] - torch.arange(-length, 2 * length)[None]
        weights = torch.exp(-0.5 * (distance / max(length * BLUR, 1e-6)) ** 2)
        folded = weights[:, length : 2 * length].clone()
        folded[:, 0] += weights[:, :length].sum(1)
        folded[:, -1] += weights[:, 2 * length :].sum(1)
        folded = (folded / folded.sum(1, keepdim=True)).to(result)
        result = (result.movedim(axis, -1) @ folded.T).movedim(-1, axis)
    return result.to(value.dtype).contiguous()
