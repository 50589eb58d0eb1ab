"""Kept input tapes: from the third forward of the same network on, gradients at the input run as a program.

See :mod:`~fluoroscope.model.kept` for when. Scores are compared as everywhere, gradients by the length of their
difference: a rectifier whose input is zero up to rounding opens in one order of addition and stays shut in another,
which moves a few pixels by some percent in any two ways to run the same network, float32 and float64 among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from fluoroscope.model.inputs import Inputs
from fluoroscope.model.kept import Kept, kept, near, recorded_ends
from fluoroscope.model.program.operations import Operations
from fluoroscope.model.program.taped import TapedProgram
from fluoroscope.model.study import Study

__all__ = ["KeptInput", "kept_input"]

SAME_LENGTH = 0.05


@dataclass
class KeptInput(Kept):
    """The tape that begins at the input."""

    def make(self, study: Study, inputs: Inputs) -> TapedProgram:
        """From a record of one forward."""
        record = Operations()
        return TapedProgram(record, *recorded_ends(study, inputs, record))

    def run(
        self, study: Study, inputs: Inputs, leaf: torch.Tensor, program: TapedProgram
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(output, scores) on the tape that begins at ``leaf``, by the program that is ready."""
        self.counted(study, inputs)
        output, scores = program.run(leaf)
        study.check_finite(scores.detach(), inputs)
        return output, scores

    def same(self, inputs: Inputs, own: tuple[Any, torch.Tensor, torch.Tensor]) -> bool:
        """Scores, and the gradients of each example's largest score."""
        output, scores, leaf = own
        other = leaf.detach().clone().requires_grad_()
        made = self.program.run(other)
        if not isinstance(output, torch.Tensor) or not (near(made[0], output) and near(made[1], scores)):
            return False
        expected, found = _slope(scores, leaf).flatten(1), _slope(made[1], other).flatten(1)
        return bool(((found - expected).norm(dim=1) <= SAME_LENGTH * expected.norm(dim=1)).all())


def kept_input(study: Study, inputs: Inputs) -> KeptInput | None:
    """What is kept of such a tape; None where programs do not apply."""
    found: KeptInput | None = kept(study, inputs, "input", KeptInput)
    return found


def _slope(scores: torch.Tensor, leaf: torch.Tensor) -> torch.Tensor:
    """Gradient of each example's largest score; the tape stays."""
    best = scores.flatten(1).amax(1).sum() if scores.ndim > 1 else scores.sum()
    return torch.autograd.grad(best, leaf, retain_graph=True)[0]
