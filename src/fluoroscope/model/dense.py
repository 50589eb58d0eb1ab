"""The dense layers of a network one after the other, with what goes into each and comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fluoroscope.model.inputs import Inputs
from fluoroscope.model.outputs import first_tensor
from fluoroscope.model.study import Study

__all__ = ["DenseCall", "dense_calls"]


@dataclass(frozen=True)
class DenseCall:
    """One call of a dense layer on rows of numbers: its input (N, D) and its output (N, D)."""

    name: str
    layer: nn.Linear
    given: torch.Tensor
    made: torch.Tensor


def dense_calls(study: Study, inputs: Inputs) -> tuple[list[DenseCall], torch.Tensor | None]:
    """Every call of an ``nn.Linear`` on (N, D), in order, and the network's output: one forward without a tape."""
    calls: list[DenseCall] = []

    def look(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            given = first_tensor(args)
            if isinstance(module, nn.Linear) and given is not None and given.ndim == 2:
                # the next layer may work in place on either
                calls.append(DenseCall(name, module, given.detach().clone(), output.detach().clone()))

        return hook

    layers: list[tuple[nn.Module, Callable[..., Any]]] = [
        (m, look(n)) for n, m in study.module.named_modules() if isinstance(m, nn.Linear)
    ]
    with torch.no_grad(), study.hooked(layers):
        output = first_tensor(study.run(inputs))
    return calls, output
