"""Kept tapes: from the third forward of the same network on, the part before a layer runs as a program.

See :mod:`~fluoroscope.model.kept` for when. What is compared with the network's own tape: activations, scores, and the
gradients of the largest scores at the layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from fluoroscope.model.inputs import Inputs
from fluoroscope.model.kept import Kept, kept, near, recorded_ends
from fluoroscope.model.outputs import first_tensor
from fluoroscope.model.program.compiling import Unsupported
from fluoroscope.model.program.operations import Operations
from fluoroscope.model.program.tail import Tailed, TailedProgram
from fluoroscope.model.study import LayerName, Study

__all__ = ["KeptTape", "kept_tape"]

WORTH_SHARE = 0.5
SAME_GRADIENTS = 1e-3

Taped = tuple[Any, torch.Tensor, dict[str, torch.Tensor]]
"""Output, scores and the tensors of the layers."""


@dataclass
class KeptTape(Kept):
    """The tape that begins at ``layers``; ``numbers`` says where the record has them."""

    layers: tuple[LayerName, ...] = ()
    numbers: dict[LayerName, int] = field(default_factory=dict)

    def make(self, study: Study, inputs: Inputs) -> TailedProgram:
        """From a record of one forward, in which hooks see the layers' outputs."""
        record, calls = Operations(), dict.fromkeys((x.module for x in self.layers), 0)
        self.numbers = {}

        def look(name: str) -> Any:
            def hook(module: nn.Module, args: Any, output: Any) -> None:
                index, calls[name] = calls[name], calls[name] + 1
                number = record.number(first_tensor(output))
                for layer in self.layers:
                    if layer.module == name and layer.call in (None, index) and number is not None:
                        self.numbers[layer] = number

            return hook

        with study.hooked([(study.module.get_submodule(n), look(n)) for n in calls]):
            ends = recorded_ends(study, inputs, record)
        if len(self.numbers) < len(self.layers):
            raise Unsupported(record.reason or "the record does not show the layer")
        program = TailedProgram(record, *ends, self.numbers.values())
        if program.share < WORTH_SHARE:
            raise Unsupported("there is too little before the layer")
        return program

    def run(self, study: Study, inputs: Inputs, program: TailedProgram) -> Taped:
        """The tape by the program that is ready."""
        self.counted(study, inputs)
        found = program.run(inputs.main)
        study.check_finite(found.scores.detach(), inputs)
        return found.output, found.scores, self._named(found)

    def _named(self, found: Tailed) -> dict[str, torch.Tensor]:
        return {layer: found.tensors[self.numbers[layer]] for layer in self.layers}

    def same(self, inputs: Inputs, own: Taped) -> bool:
        """Activations, scores and gradients."""
        output, scores, tensors = own
        found = self.program.run(inputs.main)
        made = self._named(found)
        mine = [tensors[layer] for layer in self.layers]
        values = [(made[n], t) for n, t in tensors.items()] + [(found.output, output), (found.scores, scores)]
        slopes = zip(_slopes(found.scores, list(made.values())), _slopes(scores, mine), strict=True)
        return all(near(a, b) for a, b in values) and all(near(a, b, SAME_GRADIENTS) for a, b in slopes)


def kept_tape(study: Study, inputs: Inputs, layers: Sequence[LayerName]) -> KeptTape | None:
    """What is kept of such a tape; None where programs do not apply."""
    found: KeptTape | None = kept(study, inputs, tuple(layers), lambda: KeptTape(layers=tuple(layers)))
    return found


def _slopes(scores: torch.Tensor, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Gradients of each example's largest score; the tape stays."""
    if not scores.requires_grad:
        return [torch.zeros_like(t) for t in tensors]
    best = scores.flatten(1).amax(1).sum() if scores.ndim > 1 else scores.sum()
    return list(torch.autograd.grad(best, tensors, retain_graph=True, materialize_grads=True))
