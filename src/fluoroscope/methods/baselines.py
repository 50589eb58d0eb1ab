"""Baselines: what an example, or a part of it that was taken away, looks like where it says nothing.

One vocabulary for all that takes a baseline, methods and checks alike:

| baseline | what stands there |
|---|---|
| a number, ``"zero"`` | that number everywhere, 0 after preprocessing; for token numbers an id |
| numbers, one for each channel | a colour |
| ``"mean"`` | each channel's mean over the example's own positions |
| ``"blur"`` | the example after a Gaussian whose standard deviation is 5 % of its longest side, at least one position |
| ``"noise"`` | Gaussian noise of each channel's mean and standard deviation |
| ``"mask"`` | the tokenizer's mask token, for texts |
| tensor, array, row of a table | shaped like one example, or with a row for each of all |
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from fluoroscope import axes as ax
from fluoroscope.errors import InputError, OptionError, nearest
from fluoroscope.model.positions import usual_axes
from fluoroscope.model.seeding import generator
from fluoroscope.model.subject import Subject
from fluoroscope.model.tables import numbers_of
from fluoroscope.model.texts import mask_token
from fluoroscope.options import option

__all__ = ["as_tensor", "baseline_of", "baseline_option", "data_option", "finite"]

WORDS = ("zero", "mean", "blur", "noise", "mask")
BLUR = 0.05  # standard deviation of the blur, as a share of the longest side: 11 pixels of 224
TAKES = "a number, one for each channel, 'zero', 'mean', 'blur', 'noise', 'mask' (of texts), a tensor like an example"
Axes = tuple[str, ...]


def baseline_option(text: str, default: Any = 0.0, *, more: Sequence[str] = ()) -> Any:
    """The option of a method or check that takes a baseline; ``more`` are words that only it knows."""
    return option(default, f"{text}: {TAKES}", check=partial(_check, words=(*more, *WORDS)))


def data_option(text: str) -> Any:
    """The option of a method that takes rows of data, none unless they are given."""
    return option(None, text, check=_check_data)


def _check_data(name: str, value: Any) -> None:
    if value is not None and (isinstance(value, (str, int, float)) or not _numbers(value)):
        raise OptionError(
            f"{name}: not data", got=f"{value!r}, of type {type(value).__name__}", expected="a tensor, array or table"
        )


def baseline_of(
    kind: Any,
    tensor: torch.Tensor,
    subject: Subject | None = None,
    *,
    axes: Axes | None = None,
    start: int = 0,
    seed: int = 0,
    rows: bool = False,
) -> torch.Tensor:
    """The baseline (N, ...) of examples ``tensor`` (N, ...), the first of which is example ``start`` of all.

    ``axes`` names those of the tensor where its shape does not tell them; ``rows`` says that these are all examples, so
    that columns of a table have a mean.

    Raises:
        OptionError: no such baseline, one that needs positions where there are none, or one of another shape.
        InputError, NumericalError: a table that holds missing values or no numbers.
    """
    _check("the baseline", kind, words=WORDS)
    axes = usual_axes(tensor) if axes is None else axes
    if isinstance(kind, str) and kind != "zero":
        return _derived(kind, tensor, subject, axes, start, seed, rows)
    number = 0.0 if isinstance(kind, str) else kind
    if isinstance(number, (int, float, np.number)):
        if not tensor.is_floating_point() and float(number) != int(number):
            raise OptionError("a token can only be replaced by a token", got=kind, expected="an id, a whole number")
        return torch.full_like(tensor[:1], float(number)).expand_as(tensor)
    return _given(as_tensor(kind), tensor, axes, start)


def as_tensor(given: Any) -> torch.Tensor:
    """A tensor from a tensor, a table, an array or a list, not on any tape."""
    given = numbers_of(given)
    return given.detach() if isinstance(given, torch.Tensor) else torch.as_tensor(np.asarray(given))


def finite(tensor: torch.Tensor) -> torch.Tensor:
    """The same baseline. Raises InputError where it holds NaN or infinity."""
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise InputError("the baseline holds NaN or infinity", got=f"shape {tuple(tensor.shape)}")
    return tensor


def _check(name: str, value: Any, words: Sequence[str]) -> None:
    """Refuse what no example could be compared with. Raises OptionError."""
    if isinstance(value, str):
        if value not in words:
            raise OptionError(
                f"{name}: no such baseline", got=value, expected=_with(words), nearest=nearest(value, words)
            )
    elif not _numbers(value):
        raise OptionError(
            f"{name}: no such baseline", got=f"{value!r}, of type {type(value).__name__}", expected=_with(words)
        )


def _numbers(value: Any) -> bool:
    """Whether ``value`` is a number (NaN where a network takes it for what is missing), a tensor, a table, or what
    becomes an array of numbers.
    """
    if isinstance(value, (int, float, np.number, torch.Tensor)):
        return not isinstance(value, bool)
    if isinstance(value, (list, tuple)) or hasattr(value, "__array__"):
        try:
            return bool(np.asarray(value).dtype.kind in "iuf" or hasattr(value, "columns"))
        except ValueError:  # ragged
            return False
    return False


def _with(words: Sequence[str]) -> str:
    more = "".join(f"{word!r}, " for word in words if word not in WORDS)
    return more + TAKES


def _derived(
    kind: str, tensor: torch.Tensor, subject: Subject | None, axes: Axes, start: int, seed: int, rows: bool
) -> torch.Tensor:
    """What is made of the examples themselves."""
    numbers, shape = tensor.is_floating_point(), f"an input of shape {tuple(tensor.shape)}"
    if kind == "mask":
        if numbers or subject is None:
            raise OptionError("the baseline 'mask' is for texts", got=f"{shape}, {tensor.dtype}", remedy="'mean' or 0")
        return torch.full_like(tensor, mask_token(subject))
    if not numbers:
        raise OptionError(f"tokens have no {kind}", got=f"{shape}, {tensor.dtype}", remedy="baseline='mask', or an id")
    places = tuple(i for i, a in enumerate(axes) if a in ax.SPACE)
    if kind == "mean" and rows and not places and len(tensor) > 1:
        return tensor.mean(0, keepdim=True).expand_as(tensor)
    if kind == "mean" and rows and not places:
        raise OptionError("the mean of one row is the row itself", got="one row", remedy="baseline='zero'")
    if not places:
        remedy = "baseline='zero', or a tensor, such as the mean of the data set: baseline=x_train.mean(0)"
        raise OptionError(f"the baseline {kind!r} is for images and series", got=shape, remedy=remedy)
    if kind == "blur":
        return _blurred(tensor, places)
    mean = tensor.mean(places, keepdim=True)
    if kind == "mean":
        return mean.expand_as(tensor)
    drawn = [torch.randn(row.shape, generator=generator(seed, start + n)) for n, row in enumerate(tensor)]
    return mean + tensor.std(places, keepdim=True, correction=0) * torch.stack(drawn).to(tensor)


def _blurred(tensor: torch.Tensor, places: Sequence[int]) -> torch.Tensor:
    """Gaussian means along each axis of positions; at the borders over what there is."""
    sigma = max(1.0, BLUR * max(tensor.shape[i] for i in places))
    result = tensor.to(torch.promote_types(tensor.dtype, torch.float32))
    for axis in places:
        place = torch.arange(tensor.shape[axis], dtype=torch.float64)
        weights = torch.exp(-((place[:, None] - place) ** 2) / (2 * sigma**2))
        weights = (weights / weights.sum(1, keepdim=True)).to(result)
        result = (result.movedim(axis, -1) @ weights.T).movedim(-1, axis)
    return result.to(tensor.dtype)


def _given(baseline: torch.Tensor, tensor: torch.Tensor, axes: Axes, start: int) -> torch.Tensor:
    """A colour, one example's baseline, or one for each example."""
    baseline = baseline.to(tensor.device, tensor.dtype)
    count, shape = len(tensor), tuple(tensor.shape[1:])
    if tuple(baseline.shape) in (shape, (1, *shape)):
        return baseline.expand_as(tensor)
    if baseline.ndim == tensor.ndim and tuple(baseline.shape[1:]) == shape and len(baseline) >= start + count:
        return baseline[start : start + count]
    channel = axes.index(ax.C) if ax.C in axes else None
    if channel is not None and tuple(baseline.shape) == (tensor.shape[channel],):
        return baseline.view([-1 if i == channel else 1 for i in range(tensor.ndim)]).expand_as(tensor)
    colour = "" if channel is None else f", {tensor.shape[channel]} numbers, one for each channel,"
    raise OptionError(
        "the baseline does not fit the input",
        got=f"shape {tuple(baseline.shape)}",
        expected=f"{shape}, like an example{colour} or a row for each example",
    )
