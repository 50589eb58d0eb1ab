"""Series that each of several optimizers has of its own: learning rates, norms of all its parameters together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from fluoroscope.training.recorder.logged import single

__all__ = ["left_out", "own_names", "rates"]


def own_names(optimizers: Sequence[Any], optimizer: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` by their names; of several optimizers ``norm/gradient/1`` is that of the second."""
    if len(optimizers) == 1:
        return dict(values)
    place = next(i for i, o in enumerate(optimizers) if o is optimizer)
    return {f"{name}/{place}": value for name, value in values.items()}


def rates(optimizers: Sequence[Any], optimizer: Any) -> dict[str, Any]:
    """Learning rates by group as they are now; with several optimizers, by optimizer and group."""
    groups = optimizer.param_groups
    names = [str(group.get("name", i)) for i, group in enumerate(groups)]
    twice = Counter(names)
    names = [f"{name} {i}" if twice[name] > 1 else name for i, name in enumerate(names)]
    base = next(iter(own_names(optimizers, optimizer, {"learning_rate": 0})))
    found: dict[str, Any] = {}
    for name, group in zip(names, groups, strict=True):
        rate = group.get("lr")
        if rate is not None:  # a tensor is copied: schedules write into it
            key = f"{base}/{name}" if len(groups) > 1 else base
            found[key] = single(key, rate) if isinstance(rate, torch.Tensor) else float(rate)
    return found


def left_out(optimizer: Any) -> dict[str, torch.Tensor]:
    """What a GradScaler says to a fused optimizer, which leaves out the step by itself: one where it did."""
    found = getattr(optimizer, "found_inf", None)
    return {"amp/skipped": single("amp/skipped", found)} if isinstance(found, torch.Tensor) else {}
