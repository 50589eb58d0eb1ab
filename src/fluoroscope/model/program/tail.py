"""Tail: a recorded forward in two parts, joined steps up to some layers and steps that autograd follows from there on.

It gives what a tape that starts at these layers gives: their outputs, the scores, and gradients by autograd.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from fluoroscope.model.program.compiling import Unsupported, compiled, differentiable
from fluoroscope.model.program.operations import Operation, Operations
from fluoroscope.model.program.runner import Runner

__all__ = ["Tailed", "TailedProgram"]


@dataclass
class Tailed:
    """One forward: output and scores on the tape, and the tensors of the layers by their numbers on the record."""

    output: torch.Tensor
    scores: torch.Tensor
    tensors: dict[int, torch.Tensor]


class TailedProgram:
    """The recorded forward (values ``output`` and ``scores``), differentiable from the values ``layers`` on.

    ``cost`` are the floating-point operations of one example before the layers, ``share`` that of the whole forward.

    Raises:
        Unsupported: the record is not understood, or nothing follows the layers.
    """

    def __init__(self, record: Operations, output: int, scores: int, layers: Iterable[int]) -> None:
        self.output, self.scores, self.layers = output, scores, frozenset(layers)
        alive = _alive(record, {output, scores, *self.layers})
        after = _after(alive, self.layers)
        if scores not in after:
            raise Unsupported("the scores do not follow from the layer")
        behind = [s for s in alive if s.out in after]
        read = {i for s in behind for i in s.inputs} | {output, scores} | self.layers
        self.ends = sorted(read - after)
        self.steps = differentiable(record, behind)
        program = compiled(record, self.ends)
        self.leaves = self.layers - after
        self.cost = program.cost
        self.share = self.cost / max(self.cost + sum(s.whole_cost for s in self.steps), 1.0)
        self.head = Runner(program, record.values[0].element_size())

    def run(self, inputs: torch.Tensor) -> Tailed:
        """The forward for inputs (N, ...)."""
        values = dict(zip(self.ends, self.head(inputs), strict=True))
        for index in self.leaves:
            values[index] = values[index].detach().requires_grad_()
        kept = set(self.layers) | {self.output, self.scores}
        last = {i: step.out for step in self.steps for i in step.inputs}
        with torch.enable_grad():
            for step in self.steps:
                values[step.out] = step.whole(values, len(inputs))
                for index in step.inputs:
                    if last[index] == step.out and index not in kept:
                        values.pop(index, None)
        return Tailed(values[self.output], values[self.scores], {i: values[i] for i in self.layers})


def _alive(record: Operations, wanted: set[int]) -> list[Operation]:
    """What has to be computed for some values."""
    wanted, kept = set(wanted), []
    for operation in reversed(record.steps):
        if operation.out in wanted:
            wanted.update(operation.inputs)
            kept.append(operation)
    return kept[::-1]


def _after(operations: Iterable[Operation], layers: frozenset[int]) -> set[int]:
    """The values that are computed from those of the layers."""
    found: set[int] = set()
    for operation in operations:
        if any(i in layers or i in found for i in operation.inputs):
            found.add(operation.out)
    return found
