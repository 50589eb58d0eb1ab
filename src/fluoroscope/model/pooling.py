"""Pooling: finding what a network averages over all positions before its head, wherever that was computed."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own habit)
from torch.overrides import TorchFunctionMode

from fluoroscope.model.capture import Tape
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.positions import layout_of
from fluoroscope.model.study import Study

__all__ = ["pooled_scores", "pooled_tape"]

_POOLS = frozenset(
    {F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d, F.avg_pool1d, F.avg_pool2d, F.avg_pool3d}
    | {torch.adaptive_avg_pool1d, torch.avg_pool1d, torch.mean, torch.Tensor.mean, torch.sum, torch.Tensor.sum}
)


class _PoolTap(TorchFunctionMode):
    """Makes the input of every pooling a leaf, so that the last one stays; ``given`` takes the place of that one."""

    def __init__(self, inputs: Inputs, last: int | None = None, given: torch.Tensor | None = None) -> None:
        super().__init__()
        self.shape, self.last, self.given = tuple(inputs.main.shape), last, given
        self.count = 0
        self.leaf: torch.Tensor | None = None
        self.name = ""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensor = args[0] if args else kwargs.get("input")
        if func not in _POOLS or not isinstance(tensor, torch.Tensor) or not self._has_positions(tensor):
            return func(*args, **kwargs)
        new = self._leaf_for(tensor)
        self.name = getattr(func, "__name__", str(func))
        self.count += 1
        if args:
            return func(new, *args[1:], **kwargs)
        return func(**{**kwargs, "input": new})

    def _has_positions(self, tensor: torch.Tensor) -> bool:
        if not tensor.is_floating_point() or tensor.ndim < 3 or len(tensor) != self.shape[0]:
            return False
        layout = layout_of(tuple(tensor.shape), self.shape)
        return layout is not None and layout.maps

    def _leaf_for(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.given is not None:
            return self.given if self.count == self.last else tensor
        self.leaf = tensor.detach().clone().requires_grad_()
        return self.leaf


def pooled_tape(study: Study, inputs: Inputs) -> tuple[Tape, int] | None:
    """One forward that records from the input of the last pooling over positions on; None where nothing is pooled.

    The tape's one tensor is called after the pooling, ``"input of mean"``. The number tells which pooling it was, for
    :func:`pooled_scores`.
    """
    with torch.enable_grad(), _PoolTap(inputs) as tap:
        output, scores = study.scored(inputs)
    study.check_finite(scores.detach(), inputs)
    if tap.leaf is None:
        return None
    return Tape(output, scores, {f"input of {tap.name}": tap.leaf}), tap.count - 1


def pooled_scores(study: Study, inputs: Inputs, which: int, given: torch.Tensor) -> tuple[Any, torch.Tensor]:
    """(whole output, scores) with ``given`` in place of what pooling number ``which`` gets. One forward."""
    with torch.no_grad(), _PoolTap(inputs, which, given):
        return study.scored(inputs)
