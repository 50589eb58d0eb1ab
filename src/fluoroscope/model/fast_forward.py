"""Fast forward: the quickest way to many scores of one network that gives the network's own answers.

Tried in turn, and each compared with the network before it is used: a program of the recorded forward with joined
convolutions (:mod:`program`), a private copy with folded batch norms (:mod:`fast_copy`), the network itself. In
bfloat16, which is asked for by name, what it costs in accuracy is measured on the examples at hand and told.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from fluoroscope.errors import NotApplicable
from fluoroscope.model.fast_copy import FastCopy, close
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.memory import out_of_memory
from fluoroscope.model.modes import ForwardTap
from fluoroscope.model.outputs import main_output
from fluoroscope.model.program.compiling import Unsupported, compiled
from fluoroscope.model.program.operations import recorded
from fluoroscope.model.program.runner import Runner
from fluoroscope.model.study import Study

__all__ = ["PRECISION", "PRECISIONS", "ROUGH", "FastForward", "ModuleForward", "halves", "told_apart"]

PRECISIONS = ("float32", "bfloat16")
PRECISION = "format of the many forwards: bfloat16 takes about half the time; its error is in the result's meta"
COMPARED = 8
"""Inputs that also go through the network itself, to tell what bfloat16 does to the scores."""
ROUGH = 0.1
"""Difference of bfloat16 scores, as a share of their range, beyond which something else than rounding is at work."""
Scored = Callable[[Inputs], tuple[Any, torch.Tensor]]


class FastForward:
    """``scored(inputs)`` as a study's, for inputs like ``probe``; ``kind`` is "program", "copy" or "network".

    ``precision`` is "float32" (the network's own format) or "bfloat16". Runs in the study's block and counts its
    forwards. ``runner`` is the program, if it is one, and ``format`` what it computes in. ``note`` says why the way is
    not the fastest, or None. The study's facts say in which ``precision`` it ran if in bfloat16, and
    ``precision_difference``: the largest difference of its scores from the network's own on a few of the inputs, as a
    share of the range of these scores.

    Raises:
        NotApplicable: bfloat16 was asked for, and the network does not run in it.
    """

    def __init__(self, study: Study, probe: Inputs, precision: str = "float32") -> None:
        self.study, self.kind, self.folded = study, "network", 0
        self.note: str | None = None
        self.runner: Runner | None = None
        self.format = torch.bfloat16 if precision == "bfloat16" else probe.main.dtype
        self._unchecked = 0
        self._scored: Scored = study.scored
        with torch.no_grad():
            if precision == "bfloat16":
                self._halved(probe)
            else:
                self._choose(probe)

    def scored(self, inputs: Inputs) -> tuple[Any, torch.Tensor]:
        """(whole output, scores), logits where the network ends in a softmax or sigmoid."""
        output, scores = self._scored(inputs)
        if self._unchecked:
            self._compare(inputs, scores)
        return output, scores

    def _compare(self, inputs: Inputs, scores: torch.Tensor) -> None:
        """What bfloat16 did to the scores of the first few of these inputs."""
        count = min(self._unchecked, inputs.count)
        self._unchecked -= count
        _, expected = self.study.scored(inputs.part(0, count))
        found = told_apart(scores[:count], expected)
        self.study.facts["precision_difference"] = max(found, self.study.facts.get("precision_difference", 0.0))

    def _choose(self, probe: Inputs) -> None:
        program = _program(self.study, self.study.module, probe)
        if program is not None and close(program(probe)[1], self.study.scored(probe)[1]):
            self._scored, self.kind, self.runner = program, "program", program.runner
            return
        fast = FastCopy(self.study, probe)
        self._scored, self.note, self.folded = fast.scored, fast.note, fast.folded
        self.kind = "network" if fast.module is self.study.module else "copy"

    def _halved(self, probe: Inputs) -> None:
        """A copy in bfloat16, as a program where it can be one."""
        _, expected = self.study.scored(probe)
        self.study.facts["precision"], self._unchecked = "bfloat16", COMPARED
        try:
            module = copy.deepcopy(self.study.module).to(torch.bfloat16)
            low = probe.map(halves)
            program = _program(self.study, module, low)
            run: Scored = program if program is not None else ModuleForward(self.study, module)
            run(low)
        except Exception as error:
            if out_of_memory(error):
                raise
            raise NotApplicable(
                "the network does not run in bfloat16", got=f"{type(error).__name__}: {error}",
                remedy="leave precision at 'float32'",
            ) from error  # fmt: skip
        self.kind, self.runner = ("program", program.runner) if program is not None else ("copy", None)

        def scored(inputs: Inputs) -> tuple[Any, torch.Tensor]:
            output, found = run(inputs.map(halves))
            wide = found.to(expected.dtype)
            return (wide if output is found else output), wide

        self._scored = scored


def told_apart(scores: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference of scores (N, ...) as a share of the range of the expected ones; of their size for one."""
    span = expected.max() - expected.min() if expected.numel() > 1 else expected.abs().max()
    return float((scores - expected).abs().max() / span.clamp_min(torch.finfo(expected.dtype).tiny))


def halves(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of real numbers in bfloat16; others as they are."""
    return tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor


class ModuleForward:
    """A module's scores, counted as the study's forwards."""

    def __init__(self, study: Study, module: nn.Module) -> None:
        self.study, self.module = study, module

    def __call__(self, inputs: Inputs) -> tuple[Any, torch.Tensor]:
        """(whole output, scores), logits where the module ends in a softmax or sigmoid."""
        self.study.forwards += inputs.count
        with ForwardTap() as tap:
            output = self.module(*inputs.args, **inputs.kwargs)
        scores = main_output(output)
        logits = tap.logits(scores)
        return output, scores if logits is None else logits


class _Program:
    """A recorded forward's output and scores."""

    def __init__(self, study: Study, runner: Runner) -> None:
        self.study, self.runner = study, runner

    def __call__(self, inputs: Inputs) -> tuple[Any, torch.Tensor]:
        self.study.forwards += inputs.count
        found = self.runner(inputs.main)
        return found[0], found[-1]


def _program(study: Study, module: nn.Module, probe: Inputs) -> _Program | None:
    """The module's forward of one picture as a program; None where it is not understood.

    What is recorded is another picture than the probe, so that numbers which the record took for constants give other
    answers than the network when the two are compared.
    """
    main = probe.main
    if len(probe.tensors) != 1 or main.ndim != 4 or not main.is_floating_point():
        return None
    one = probe.part(0, 1).with_main(main[:1].flip(-1) * 0.75)
    spent = study.forwards
    try:
        (output, scores), record = recorded(lambda: ModuleForward(study, module)(one), one.main)
        numbers = [record.number(output), record.number(scores)]
        if not isinstance(output, torch.Tensor) or None in numbers:
            return None
        wanted = list(dict.fromkeys(n for n in numbers if n is not None))
        made = compiled(record, wanted)
        halved = main.dtype in (torch.bfloat16, torch.float16)
        runner = Runner(made.with_wide_tail() if halved else made, main.element_size())
    except Unsupported:
        return None
    except Exception as error:
        if out_of_memory(error):
            raise
        return None
    finally:
        study.forwards = spent + 1
    return _Program(study, runner)
