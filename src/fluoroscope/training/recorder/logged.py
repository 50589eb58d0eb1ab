"""Values that a user logs: names of nested ones, tensors of one entry, numbers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from fluoroscope.errors import InputError

__all__ = ["flattened", "mapping", "number", "single", "whole_step"]


def mapping(values: Any) -> dict[Any, Any]:
    """What is logged without names of its own. Raises InputError where it has none."""
    if values is not None and not isinstance(values, Mapping):
        raise InputError(
            "a value is logged by its name",
            got=_shown(values),
            expected="run.log(loss=loss)",
        )
    return dict(values or {})


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by names with slashes."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        full = f"{prefix}/{name}" if prefix else str(name)
        found.update(flattened(value, full) if isinstance(value, Mapping) else {full: value})
    return found


def single(name: str, value: torch.Tensor) -> torch.Tensor:
    """A tensor of one entry as a copy on its device. Raises InputError where it has more."""
    if value.numel() != 1:
        raise InputError(
            f"the value logged as {name!r} is no single number",
            got=f"a tensor of shape {tuple(value.shape)}",
            remedy="log its mean, or what else is meant",
        )
    found = value.detach()
    found = getattr(found, "_local_tensor", found)
    return found.reshape(()).to(torch.float64 if found.device.type != "mps" else torch.float32, copy=True)


def whole_step(step: Any) -> int:
    """A step as a whole number that a file can hold. Raises InputError where it is none."""
    try:
        found = int(step)
        if found == step and -(2**63) <= found < 2**63:
            return found
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError(
        "the step of a logged value is no whole number", got=_shown(step), expected="an integer of 64 bits"
    )


def number(name: str, value: Any) -> float:
    """A value as a number. Raises InputError where it is none."""
    try:
        return float(np.asarray(value).item() if not isinstance(value, int | float) else value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"the value logged as {name!r} is no number",
            got=_shown(value),
            expected="a number, or a tensor of one entry",
        ) from error


def _shown(value: Any) -> str:
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return "an integer beyond the largest float"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]} …"
