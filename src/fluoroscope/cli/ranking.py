"""The classes with the highest scores of each input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from fluoroscope.model.inputs import Inputs
from fluoroscope.model.study import Study
from fluoroscope.model.subject import Subject
from fluoroscope.model.targets import Target, class_scores

__all__ = ["Ranking", "output_count", "rank"]

BATCH = 16


@dataclass(frozen=True)
class Ranking:
    """One input: its name, and (class, score) from the highest on; scores are logits where there are such."""

    name: str
    classes: tuple[tuple[str, float], ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"name": self.name, "classes": [{"label": label, "score": score} for label, score in self.classes]}


def output_count(subject: Subject, inputs: Inputs) -> int:
    """How many scores the network gives for an input."""
    with Study(subject) as study, torch.no_grad():
        return int(class_scores(study.scored(inputs.part(0, 1))[1]).shape[1])


def rank(subject: Subject, inputs: Inputs, count: int = 3) -> list[Ranking]:
    """The ``count`` highest classes of each input. Raises NumericalError where scores are NaN, naming the layer."""
    found: list[Ranking] = []
    with Study(subject) as study, torch.no_grad():
        for start, stop in inputs.batches(BATCH):
            part = inputs.part(start, stop)
            output, scores = study.scored(part)
            study.check_finite(scores, part)
            picked = Target(f"top{count}", part.count, subject.class_name, subject.classes).pick(scores, output)
            names = part.names or tuple(f"input {i}" for i in range(start, stop))
            for name, labels, values in zip(names, picked.labels, picked.scores.tolist(), strict=True):
                found.append(Ranking(name, tuple(zip(labels, values, strict=True))))
    return found
