"""From pictures to one batch: what a preprocess answers, in any of the usual forms, put together as (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch

from fluoroscope.errors import FluoroscopeError, InputError

__all__ = ["to_batch"]

KEYS = ("pixel_values", "image", "x", "inputs")


def to_batch(
    images: Iterable[Any],
    preprocess: Callable[[Any], Any] | None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """The network's input (N, C, H, W) for pictures, or for (name, picture) pairs as ``read_images`` gives them.

    ``preprocess`` may answer with (C, H, W) or (1, C, H, W), as a tensor, an array, or a mapping with ``pixel_values``.
    ``dtype`` is applied to floating values only: whole numbers stay as they are.

    Raises:
        InputError: there is no picture or no preprocess, the preprocess failed or answered with something else, or its
            answers differ in size.
    """
    if preprocess is None:
        raise InputError(
            "it is not known how pictures become this network's input",
            expected="a preprocess",
            remedy="Subject(model, preprocess=ImagePreprocess(224)), or let the factory return (model, preprocess)",
        )
    named = [item if isinstance(item, tuple) else (f"picture {i}", item) for i, item in enumerate(images)]
    if not named:
        raise InputError("no pictures were given", expected="at least one")
    tensors = [_one(name, image, preprocess) for name, image in named]
    _check_alike([name for name, _ in named], tensors)
    batch = torch.stack(tensors)
    return batch.to(device=device, dtype=dtype if batch.is_floating_point() else None)


def _one(name: str, image: Any, preprocess: Callable[[Any], Any]) -> torch.Tensor:
    try:
        answer = preprocess(image)
    except FluoroscopeError:
        raise
    except Exception as error:  # the user's function raises what it likes; the message must name the picture
        raise InputError(f"the preprocess failed on {name}", got=f"{type(error).__name__}: {error}") from error
    tensor = _tensor(answer)
    if tensor is not None and tensor.ndim == 4 and len(tensor) == 1:
        tensor = tensor[0]
    if tensor is None or tensor.ndim != 3:
        got = type(answer).__name__ if tensor is None else f"shape {tuple(tensor.shape)}"
        raise InputError(f"the preprocess gave no input for {name}", got=got, expected="(C, H, W) or (1, C, H, W)")
    return tensor


def _tensor(answer: Any) -> torch.Tensor | None:
    if isinstance(answer, Mapping):
        key = next((k for k in KEYS if k in answer), None)
        answer = answer[key] if key else None
    if isinstance(answer, (list, tuple)) and len(answer) == 1:
        answer = answer[0]
    if isinstance(answer, np.ndarray) and answer.dtype != object:
        return torch.from_numpy(np.ascontiguousarray(answer))
    return answer if isinstance(answer, torch.Tensor) else None


def _check_alike(names: list[str], tensors: list[torch.Tensor]) -> None:
    first = tensors[0]
    for name, tensor in zip(names, tensors, strict=True):
        if tensor.shape != first.shape or tensor.dtype != first.dtype:
            raise InputError(
                "the preprocess gives inputs that differ, so they can't be one batch",
                got=f"{name}: {tuple(tensor.shape)} {tensor.dtype}",
                expected=f"as for {names[0]}: {tuple(first.shape)} {first.dtype}",
                remedy="let the preprocess bring all to one size and number of channels, or give them one by one",
            )
