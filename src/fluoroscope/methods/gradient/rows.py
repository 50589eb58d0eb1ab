"""Gradients at many variants of examples, in batches that memory allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from fluoroscope.model.capture import Tape, gradients
from fluoroscope.model.memory import out_of_memory
from fluoroscope.model.source import Source
from fluoroscope.model.study import Study
from fluoroscope.model.targets import Picked, Target

__all__ = ["Rows"]


@dataclass
class Rows:
    """Scores and gradients of variants of the examples of one batch, ``size`` variants in one run of the network."""

    study: Study
    source: Source
    target: Callable[[Sequence[int]], Target]
    size: int

    @classmethod
    def settle(cls, study: Study, source: Source, target: Target, size: int) -> tuple[Rows, Picked, Tape]:
        """Run the examples themselves, and keep what is asked about each of them; also their own scores and tape."""
        taped = source.run(source.value)
        picked = target.pick(taped.scores, taped.output)
        return cls(study, source, target.settled(picked, taped.scores.detach()), size), picked, taped

    def gradients(
        self, rows: Sequence[int], variant: Callable[[int], torch.Tensor]
    ) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        """(number, scores (K,), gradients (K, ...)) for variants 0, 1, ...; ``rows`` has the example of each."""
        start = 0
        while start < len(rows):
            part = range(start, min(start + self.size, len(rows)))
            try:
                scores, found = self._run([rows[i] for i in part], torch.stack([variant(i) for i in part]))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or len(part) == 1:
                    raise
                self.size = max(1, len(part) // 2)
                self.study.note(f"memory ran out; batches were cut to {self.size}")
                continue
            for j, i in enumerate(part):
                yield i, scores[j], found[j]
            start = part.stop

    def _run(self, rows: Sequence[int], values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        taped = self.source.run(values, rows)
        picked = self.target(rows).pick(taped.scores, taped.output)
        return split(self.study, taped, picked)

    def scores(self, rows: Sequence[int], variant: Callable[[int], torch.Tensor]) -> torch.Tensor:
        """Scores (len(rows), K) of the variants, without gradients."""
        found = []
        for start in range(0, len(rows), self.size):
            part = range(start, min(start + self.size, len(rows)))
            asked = [rows[i] for i in part]
            with torch.no_grad():
                output, scores = self.source.forward(torch.stack([variant(i) for i in part]), asked)
            found.append(columns(self.target(asked).pick(scores, output).scores))
        return torch.cat(found)


def columns(scores: torch.Tensor) -> torch.Tensor:
    """Scores (N, K), also for one target."""
    return (scores if scores.ndim == 2 else scores[:, None]).detach()


def split(study: Study, taped: Tape, picked: Picked) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores (N, K) and gradients (N, K, ...) of a tape."""
    (gradient,) = gradients(study, taped, picked.scores).values()
    return columns(picked.scores), gradient if picked.scores.ndim == 2 else gradient[:, None]
