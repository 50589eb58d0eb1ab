"""Taped: a recorded forward as joined steps that autograd follows back to the input, with all weights frozen.

A joined convolution has a backward of its own: the activation's slope is read from its result, the addend gets the
gradient as it is, and the input gets it through the convolution with the weights turned round. All other steps are
torch's own operations. First derivatives only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from fluoroscope.model.program.compiling import CUTS, Unsupported, compiled
from fluoroscope.model.program.kernels import Convolution
from fluoroscope.model.program.operations import Operations
from fluoroscope.model.program.runner import Runner, portions
from fluoroscope.model.program.steps import Sliding, Step, Values

__all__ = ["TapedProgram"]


class TapedProgram:
    """The values ``output`` and ``scores`` of the recorded forward, differentiable with respect to the input.

    Raises:
        Unsupported: the record is not understood, or the network cuts the gradient off somewhere (``detach``).
    """

    def __init__(self, record: Operations, output: int, scores: int) -> None:
        if any(operation.function in CUTS for operation in record.steps):
            raise Unsupported("the network detaches something")
        self.ends = output, scores
        program = compiled(record, list(dict.fromkeys(self.ends)))
        self.steps = [*program.local, *program.tail]
        self.cost = program.cost
        self.rows = Runner(program, record.values[0].element_size()).rows
        self._last = {i: step.out for step in self.steps for i in step.inputs}

    def run(self, leaf: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(output, scores) for inputs (N, ...), a few at a time."""
        with torch.enable_grad():
            parts = [self._some(leaf[a:b]) for a, b in portions(len(leaf), self.rows)]
            output, scores = (torch.cat(p) if len(parts) > 1 else p[0] for p in zip(*parts, strict=True))
        return (scores, scores) if self.ends[0] == self.ends[1] else (output, scores)

    def _some(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values = {0: inputs.contiguous(memory_format=torch.channels_last)}
        for step in self.steps:
            values[step.out] = _taken(step, values, len(inputs))
            for index in step.inputs:
                if self._last[index] == step.out and index not in self.ends:
                    values.pop(index, None)
        return values[self.ends[0]], values[self.ends[1]]


def _taken(step: Step, values: Values, count: int) -> torch.Tensor:
    """A step's result on the tape."""
    if not isinstance(step, Sliding) or step.kernel is None:
        return step.whole(values, count)
    kernel, padding = step.kernel, (step.slides[0].padding, step.slides[1].padding)
    addend = values[step.inputs[1]] if len(step.inputs) > 1 else None
    found: torch.Tensor = _Joined.apply(values[step.inputs[0]], addend, kernel, padding, step.stride)  # type: ignore[no-untyped-call]
    if kernel.activation is not None and kernel.activation.name not in SLOPES:
        return kernel.activation.function(found, *kernel.activation.arguments)  # type: ignore[no-any-return]
    return found


def _relu(gradient: torch.Tensor, result: torch.Tensor, scalars: tuple[float, ...]) -> torch.Tensor:
    found: torch.Tensor = torch.ops.aten.threshold_backward(gradient, result, 0)
    return found


def _hardtanh(gradient: torch.Tensor, result: torch.Tensor, scalars: tuple[float, ...]) -> torch.Tensor:
    found: torch.Tensor = torch.ops.aten.hardtanh_backward(gradient, result, *scalars)
    return found


SLOPES = {"relu": _relu, "hardtanh": _hardtanh}
"""Activations whose slope can be told from their result."""


class _Joined(torch.autograd.Function):
    """A convolution with addition and activation; activations that are not in SLOPES are left to the caller."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, addend: torch.Tensor | None, kernel: Convolution, padding: Any, stride: Any
    ) -> torch.Tensor:
        """The result; it alone is kept."""
        joined = kernel.activation is None or kernel.activation.name in SLOPES
        found = (kernel if joined else kernel.bare())(x, padding, stride, addend)
        ctx.kernel, ctx.shape, ctx.geometry, ctx.active = (
            kernel,
            x.shape,
            (padding, stride),
            joined and kernel.activation,
        )
        ctx.save_for_backward(*([found] if ctx.active else []))
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Through the activation, then to the addend as it is and to the input through the turned weights."""
        if ctx.active:
            gradient = SLOPES[ctx.active.name](gradient, ctx.saved_tensors[0], ctx.active.scalars)
        below = ctx.kernel.slope(gradient, ctx.shape, *ctx.geometry) if ctx.needs_input_grad[0] else None
        return below, gradient if ctx.needs_input_grad[1] else None, None, None, None
