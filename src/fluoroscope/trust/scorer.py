"""Scorer: the target's score of many changed inputs, in batches that mix examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from fluoroscope.errors import OptionError
from fluoroscope.methods.attributing import to_numpy
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.memory import out_of_memory
from fluoroscope.model.outputs import probabilities
from fluoroscope.model.study import Study
from fluoroscope.model.targets import Target, class_scores
from fluoroscope.results import Array

__all__ = ["SCORES", "Scorer"]

SCORES = ("probability", "logit", "accuracy")
Make = Callable[[Array], torch.Tensor]


class Scorer:
    """Scores of changed inputs; ``kind`` says whether as logits, probabilities (the network's own where it ends in a
    softmax or sigmoid), or 1 where the target wins, else 0.

    ``target`` holds one class per example, or something that means the same for every example.
    """

    def __init__(self, study: Study, inputs: Inputs, target: Target, kind: str, batch_size: int) -> None:
        self.study, self.inputs, self.target, self.kind, self.batch_size = study, inputs, target, kind, batch_size
        if kind != "logit" and not isinstance(target.wanted, np.ndarray):
            raise OptionError(
                f"only a class has {'a probability' if kind == 'probability' else 'an accuracy'}",
                got=f"the target {target.description}",
                remedy="score='logit' takes the score as it is",
            )

    def plain(self) -> Array:
        """Scores of the inputs as they are, (N,)."""
        return self.of(self.inputs.main)

    def of(self, main: torch.Tensor) -> Array:
        """Scores (N,) of ``main`` (N, ...) in the place of the inputs."""
        return self(np.arange(self.inputs.count), lambda rows: main[torch.as_tensor(rows, device=main.device)])

    def __call__(self, examples: Array, make: Make) -> Array:
        """Scores (M,) of M changed inputs: number m is a change of example ``examples[m]``; ``make(rows)`` gives the
        main tensor for the numbers ``rows``.
        """
        parts, start, size = [], 0, self.batch_size
        with torch.no_grad():
            while start < len(examples):
                rows = np.arange(start, min(start + size, len(examples)))
                try:
                    parts.append(self._scores(examples[rows], make(rows)))
                except (RuntimeError, MemoryError) as error:
                    if not out_of_memory(error) or size == 1:
                        raise
                    size = max(1, len(rows) // 2)
                    self.study.note(f"memory ran out; batches were cut to {size}")
                    continue
                start += len(rows)
        return np.concatenate(parts) if parts else np.zeros(0)

    def _scores(self, examples: Array, main: torch.Tensor) -> Array:
        output, scores = self.study.scored(self._changed(examples, main))
        picked = self._target(examples).pick(self._as_kind(output, scores), output)
        return np.asarray(to_numpy(picked.scores), dtype=np.float64)

    def _as_kind(self, output: Any, scores: torch.Tensor) -> torch.Tensor:
        if self.kind == "logit":
            return scores
        if self.kind == "probability":
            return class_scores(probabilities(output, scores))
        scores = class_scores(scores)
        if scores.shape[1] == 1:
            return (scores > 0).to(scores.dtype)
        return torch.nn.functional.one_hot(scores.argmax(1), scores.shape[1]).to(scores.dtype)

    def _changed(self, examples: Array, main: torch.Tensor) -> Inputs:
        old, count = self.inputs.main, self.inputs.count

        def taken(tensor: torch.Tensor) -> torch.Tensor:
            if tensor is old:
                return main
            index = torch.as_tensor(examples, device=tensor.device)
            return tensor[index] if tensor.ndim and len(tensor) == count else tensor

        return replace(self.inputs.map(taken), count=len(examples), names=())

    def _target(self, examples: Array) -> Target:
        wanted = self.target.wanted
        chosen = wanted[examples] if isinstance(wanted, np.ndarray) else wanted
        return Target(chosen, len(examples), self.target.name_of, self.target.classes)
