"""Fitting: what to change in an input on which a network failed, as far as its first layers tell."""

from __future__ import annotations

import math
import re

import torch
from torch import nn

__all__ = ["fitting"]

PRODUCT = re.compile(r"mat1 and mat2 shapes cannot be multiplied \((\d+)x(\d+) and (\d+)x(\d+)\)")
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
RECURRENT = (nn.RNN, nn.LSTM, nn.GRU)
UNKNOWN = "check shape, channels, scaling and number of inputs"


def fitting(module: nn.Module, given: torch.Tensor, text: str) -> str:
    """What to change in ``given``, on which the forward of ``module`` failed with the message ``text``."""
    first = next(
        (m for m in module.modules() if isinstance(m, (*CONVOLUTIONS, *RECURRENT, nn.Embedding, nn.Linear))), None
    )
    if isinstance(first, nn.Embedding):
        found = _for_tokens(first, given)
    elif first is not None and not given.is_floating_point():
        kind = str(given.dtype).removeprefix("torch.")
        found = (
            f"the network computes with real numbers, the input has {kind}: x.astype('float32'), scaled as in training"
        )
    elif isinstance(first, CONVOLUTIONS):
        found = _for_convolution(first, given)
    elif isinstance(first, RECURRENT):
        found = _for_steps(first, given)
    elif isinstance(first, nn.Linear):
        found = _for_rows(first, given)
    else:
        found = None
    return found or _for_size(given, text) or UNKNOWN


def _for_tokens(first: nn.Embedding, given: torch.Tensor) -> str | None:
    known = first.num_embeddings
    if given.is_floating_point():
        return f"its first layer looks token numbers up: give whole numbers (N, L), 0 to {known - 1}"
    if not given.numel():
        return None
    worst = int(given.max()) if int(given.max()) >= known else int(given.min())
    if not 0 <= worst < known:
        return f"its embedding knows the token numbers 0 to {known - 1}, the input has {worst}: another tokenizer?"
    return None


def _for_convolution(first: nn.Conv1d | nn.Conv2d | nn.Conv3d, given: torch.Tensor) -> str | None:
    axes, channels, shape = len(first.kernel_size) + 2, first.in_channels, tuple(given.shape)
    wanted = f"its first {type(first).__name__} takes {channels} channel{'s' * (channels != 1)}"
    if given.ndim == axes - 1 and shape[0] == channels:
        return f"{wanted} and {axes} axes, (N, C, ...): the axis of examples is missing, x[None]"
    if given.ndim == axes - 1 and channels == 1:
        return f"{wanted} and {axes} axes, (N, C, ...): the axis of channels is missing, x[:, None]"
    if given.ndim < axes:
        return f"{wanted} and {axes} axes, (N, C, ...), examples first: add those missing, x[None] for one example"
    if given.ndim > axes:
        return f"{wanted} and {axes} axes, (N, C, ...), the input has {given.ndim}"
    if shape[1] == channels:
        return None
    if shape[-1] == channels:
        return f"{wanted}, in the second axis; the input has them in the last: np.moveaxis(x, -1, 1)"
    grey = "--channels 1, with --mean and --std of one channel" if channels == 1 else f"--channels {channels}"
    return f"{wanted}, the input has {shape[1]}: convert it ({grey}, for pictures)"


def _for_steps(first: nn.RNN | nn.LSTM | nn.GRU, given: torch.Tensor) -> str | None:
    width, shape = first.input_size, tuple(given.shape)
    if given.ndim == 3 and shape[-1] == width:
        return None
    order = f"(N, T, {width})" if first.batch_first else f"(T, N, {width})"
    moved = ": np.moveaxis(x, 1, -1)" if given.ndim == 3 and shape[1] == width else ""
    return f"its {type(first).__name__} takes {width} numbers at each step, {order}, the input has shape {shape}{moved}"


def _for_rows(first: nn.Linear, given: torch.Tensor) -> str | None:
    width = first.in_features
    if given.ndim == 0 or given.shape[-1] == width:
        return None
    got = f"{given.shape[-1]} in the last axis" if given.ndim > 1 else "one number for each example"
    return f"its first Linear takes {width} numbers, the input has {got}: give (N, {width})"


def _for_size(given: torch.Tensor, text: str) -> str | None:
    """A dense layer after positions takes one size of picture; which, where height and width are scaled alike."""
    found = PRODUCT.search(text)
    if found is None or given.ndim < 3:
        return None
    has, takes = int(found[2]), int(found[3])
    sides = [side * (takes / has) ** (1 / (given.ndim - 2)) for side in given.shape[2:]]
    whole = all(math.isclose(side, round(side)) and round(side) > 0 for side in sides)
    size = " x ".join(str(round(side)) for side in sides)
    flag = f" (--size {','.join(str(round(s)) for s in dict.fromkeys(sides))}, for pictures)" if given.ndim == 4 else ""
    likely = f"likely {size}{flag}" if whole else "--size PIXELS, for pictures"
    return f"a dense layer takes {takes:,} numbers and is given {has:,}: the network takes another size, {likely}"
