"""Owning: the parameters of a module call, each tensor where it is met first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from fluoroscope.model.graph.steps import Step

if TYPE_CHECKING:
    from fluoroscope.model.graph.tracer import Tracer

__all__ = ["count_parameters"]


def count_parameters(tracer: Tracer, step: Step, module: nn.Module, whole: bool = False) -> None:
    """Parameters that are met here first: the module's own and those of children that are not called themselves."""
    step.parameters = 0 if whole else sum(c.parameters for c in step.children)
    step.trainable = 0 if whole else sum(c.trainable for c in step.children)
    step.parameter_bytes = 0 if whole else sum(c.parameter_bytes for c in step.children)
    shares: list[str] = []
    todo, counted = [module], tracer.counted
    while todo:
        part = todo.pop()
        tracer.called.add(id(part))
        for tensor in part._parameters.values():
            if tensor is None:
                continue
            if id(tensor) in counted:
                if part is module:
                    shares.append(counted[id(tensor)])
                continue
            counted[id(tensor)] = step.name
            count = tensor.numel()
            step.parameters += count
            step.parameter_bytes += count * tensor.dtype.itemsize
            step.trainable += count if tensor.requires_grad else 0
        todo.extend(c for c in part._modules.values() if c is not None and (whole or id(c) not in tracer.called))
    step.shares = tuple(dict.fromkeys(shares))
