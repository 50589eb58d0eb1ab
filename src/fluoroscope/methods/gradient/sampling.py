"""What sampling methods share: seeds by example, standard errors, and sampling until the error is small enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fluoroscope.methods.base import Batch, option
from fluoroscope.methods.gradient.input_gradient import DEFAULT_ROWS, InputGradient, add_up, worst
from fluoroscope.methods.gradient.rows import Rows
from fluoroscope.model.source import Source
from fluoroscope.model.study import Study

__all__ = ["Moments", "Sampling", "generator"]

BLOCK = 8


@dataclass(frozen=True, kw_only=True)
class Sampling(InputGradient):
    """An average over random variants of each example; subclasses write :meth:`draw` and :meth:`estimate`.

    Every example has a random generator of its own, from the seed and its number, so batches do not matter. After every
    block of samples the standard error is known: the length of the standard errors of all values, as a share of the
    length of the estimate. Its largest is ``meta["standard_error"]``, one by one
    ``meta["standard_error_per_example"]``.
    """

    samples: int = option(48, "random variants of each example; with stop_error the fewest", low=2)
    stop_error: float | None = option(None, "go on until the relative standard error is at most this", low=0.0)
    max_samples: int = option(2000, "most variants of each example", low=2)

    def drawing(self, study: Study, batch: Batch, source: Source) -> Draw:
        """What makes the variants of this batch."""
        raise NotImplementedError

    def estimate(self, moments: Moments) -> tuple[torch.Tensor, torch.Tensor]:
        """The estimate (K, ...) and the squared standard error of each of its values."""
        return moments.mean, moments.variance / moments.count

    def maps(self, study: Study, batch: Batch) -> tuple[Source, Any, torch.Tensor]:
        """(source, what was picked, estimates (N, K, ...))."""
        source = self.source_of(study, batch)
        rows, picked, _ = Rows.settle(study, source, batch.target, self.batch_size or DEFAULT_ROWS)
        draw = self.drawing(study, batch, source)
        moments = [Moments() for _ in range(batch.inputs.count)]
        active = list(range(batch.inputs.count))
        while active:
            self._block(rows, draw, moments, active)
            active = [n for n in active if not self._done(moments[n])]
        estimates, errors = zip(*(self.estimate(m) for m in moments), strict=True)
        worst(study, "standard_error", [relative(e, s) for e, s in zip(estimates, errors, strict=True)])
        add_up(study, "samples", [m.count for m in moments])
        if self.stop_error is not None and study.facts["standard_error"] > self.stop_error:
            study.note(
                f"max_samples={self.max_samples} were drawn before the standard error came down to {self.stop_error:g}"
            )
        return source, picked, torch.stack(estimates)

    def _block(self, rows: Rows, draw: Draw, moments: list[Moments], active: list[int]) -> None:
        limit = self.samples if self.stop_error is None else self.max_samples
        asked = [n for n in active for _ in range(min(BLOCK, limit - moments[n].count))]
        made: dict[int, torch.Tensor] = {}

        def variant(i: int) -> torch.Tensor:
            if i not in made:  # drawn once, also where a batch is run again because memory ran out
                made[i] = draw.variant(asked[i])
            return made[i]

        for i, _, gradient in rows.gradients(asked, variant):
            moments[asked[i]].add(draw.contribution(asked[i], made.pop(i), gradient))

    def _done(self, moments: Moments) -> bool:
        if self.stop_error is None or moments.count >= self.max_samples:
            return moments.count >= (self.samples if self.stop_error is None else self.max_samples)
        return moments.count >= self.samples and relative(*self.estimate(moments)) <= self.stop_error


class Draw:
    """Random variants of examples, and what each of them adds."""

    def variant(self, n: int) -> torch.Tensor:
        """The next variant of example ``n``."""
        raise NotImplementedError

    def contribution(self, n: int, variant: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """What is averaged: by default the gradient (K, ...) itself."""
        return gradient


class Moments:
    """Running power sums of what was sampled, about the first sample so that nothing cancels."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: list[torch.Tensor] = []

    def add(self, sample: torch.Tensor) -> None:
        """One sample more."""
        sample = sample.to(torch.promote_types(sample.dtype, torch.float32))
        if not self.count:
            self.first = sample
            self.sums = [torch.zeros_like(sample) for _ in range(4)]
        power = shifted = sample - self.first
        for total in self.sums:
            total += power
            power = power * shifted
        self.count += 1

    def raw(self, power: int) -> torch.Tensor:
        """Mean of (sample - first sample) to a power."""
        return self.sums[power - 1] / self.count

    @property
    def mean(self) -> torch.Tensor:
        """Mean of the samples."""
        return self.first + self.raw(1)

    @property
    def variance(self) -> torch.Tensor:
        """Unbiased variance of the samples."""
        return (self.raw(2) - self.raw(1) ** 2).clamp(min=0) * self.count / max(self.count - 1, 1)

    @property
    def fourth(self) -> torch.Tensor:
        """Fourth central moment."""
        m, a, b, c = self.raw(1), self.raw(2), self.raw(3), self.raw(4)
        return (c - 4 * m * b + 6 * m**2 * a - 3 * m**4).clamp(min=0)

    def square(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean of the squares of the samples, and its squared standard error."""
        f, (a, b, c, d) = self.first, (self.raw(p) for p in (1, 2, 3, 4))
        square = f**2 + 2 * f * a + b
        fourth = f**4 + 4 * f**3 * a + 6 * f**2 * b + 4 * f * c + d
        return square, (fourth - square**2).clamp(min=0) / max(self.count - 1, 1)


def relative(estimate: torch.Tensor, squared_error: torch.Tensor) -> float:
    """Length of the standard error over length of the estimate, the largest of the targets; 0 where nothing varies."""
    error = squared_error.flatten(1).double().sum(1).sqrt()
    length = estimate.flatten(1).double().norm(dim=1)
    return float(torch.where(error > 0, error / length.clamp(min=1e-300), error).max())


def generator(seed: int, example: int) -> torch.Generator:
    """The random generator of one example: the same whatever batch the example is in."""
    state = np.random.SeedSequence([seed, example]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))
