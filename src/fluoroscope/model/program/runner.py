"""Runner: a program on whole inputs, a few examples at a time, so that what one step gives is still near when the next
one reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from fluoroscope.model.program.compiling import Program
from fluoroscope.model.program.steps import Step

__all__ = ["Runner", "portions"]

BATCH_BYTES = 36e6
"""What a step of the local part reads and writes for the examples that run together."""
TAIL_ROWS = 256


class Runner:
    """``runner(inputs)`` gives the program's outputs for inputs (N, ...) like the one that was recorded.

    No autograd: joined convolutions have no derivative. ``itemsize`` is the inputs' bytes for each number.
    """

    def __init__(self, program: Program, itemsize: int = 4) -> None:
        self.program = program
        self.rows = self._rows(itemsize)
        self._local_last = _last_readers(program.local)
        self._tail_last = _last_readers(program.tail)

    def _rows(self, itemsize: int) -> int:
        sizes = {s.out: float(np.prod(s.size)) for s in self.program.local}
        moved = [sum(sizes.get(i, 0.0) for i in (*s.inputs, s.out)) for s in self.program.local]
        return int(np.clip(BATCH_BYTES / (max(moved, default=1.0) * itemsize), 1, TAIL_ROWS))

    def __call__(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        """The outputs (N, ...) in the program's order, channels last in memory where they are maps."""
        return self.run(len(inputs), lambda a, b: {0: _near(inputs[a:b])})

    def run(self, count: int, entering: Callable[[int, int], dict[int, torch.Tensor]]) -> list[torch.Tensor]:
        """The same where the program starts from other values than the input: ``entering(first, last)`` gives them,
        by their numbers, for some of ``count`` examples.
        """
        with torch.no_grad():
            parts = [self._maps(entering(a, b), b - a) for a, b in portions(count, self.rows)]
            values = {i: torch.cat([p[i] for p in parts]) if len(parts) > 1 else parts[0][i] for i in parts[0]}
            return self._end(self.program.entering(values), count)

    def _maps(self, values: dict[int, torch.Tensor], count: int) -> dict[int, torch.Tensor]:
        """The values that the tail or the user wants, for a few examples."""
        wanted = set(self.program.crossing)
        for step in self.program.local:
            values[step.out] = step.whole(values, count)
            _forget(step, values, self._local_last, wanted)
        return {i: values[i] for i in wanted}

    def _end(self, values: dict[int, torch.Tensor], count: int) -> list[torch.Tensor]:
        for step in self.program.tail:
            values[step.out] = step.whole(values, count)
            _forget(step, values, self._tail_last, set(self.program.outputs))
        return [values[i] for i in self.program.outputs]


def _near(inputs: torch.Tensor) -> torch.Tensor:
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.ndim == 4 else inputs


def portions(count: int, most: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of parts of nearly the same length, none longer than ``most``."""
    parts = -(-count // most)
    for i in range(parts):
        yield i * count // parts, (i + 1) * count // parts


def _last_readers(steps: list[Step]) -> dict[int, int]:
    return {i: step.out for step in steps for i in step.inputs}


def _forget(step: Step, values: dict[int, torch.Tensor], last: dict[int, int], wanted: set[int]) -> None:
    for index in step.inputs:
        if last[index] == step.out and index not in wanted:
            values.pop(index, None)
