"""Expected gradients: integrated gradients, averaged over baselines from the data."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch

from fluoroscope.errors import InputError
from fluoroscope.methods.base import Batch, method
from fluoroscope.methods.baselines import as_tensor, data_option, finite
from fluoroscope.methods.gradient.sampling import Draw, Sampling
from fluoroscope.model.source import Source
from fluoroscope.model.study import Study
from fluoroscope.results import Attribution

__all__ = ["ExpectedGradients"]

GOLDEN = (5**0.5 - 1) / 2


@method
class ExpectedGradients(Sampling):
    r"""Expected gradients: integrated gradients whose baseline is not one point but a sample of the data.

    .. math:: a_i = E_{b \sim D, \, t \sim U(0, 1)} \left[ (x_i - b_i)
              \frac{\partial s}{\partial x_i}(b + t (x - b)) \right], \qquad \sum_i a_i = s(x) - E_b[s(b)]

    Source: Erion et al., *Improving Performance of Deep Learning Models with Axiomatic Attribution Priors*, 2021,
    equation 3. Where it differs: baselines are drawn in shuffled rounds, all of them before one comes again, and t
    goes through a golden-ratio sequence with a random start; both lower the variance, so that the stated standard
    error is an upper one.

    Returns an :class:`~fluoroscope.results.Attribution`: ``values`` (N, C, H, W), signed; (N, C, T) for series, (N,
    D) for table rows, (N, L) for tokens (summed over their embedding's features); K after N for K targets. Units:
    score. ``meta["standard_error"]`` has the relative standard error of the sampling, ``meta["samples"]`` how many
    were drawn; ``stop_error`` goes on until it is small enough.

    Raises:
        InputError: baselines of another shape than the examples.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, a score without a gradient, or whole numbers that no embedding looks up.
    """

    name: ClassVar[str] = "expected-gradients"
    title: ClassVar[str] = "Expected gradients"
    source: ClassVar[str] = "Erion et al., Improving Performance with Axiomatic Attribution Priors, 2021, eq. 3"

    baselines: Any = data_option("examples of the data (M, ...) as baselines; zero where none are given")

    def drawing(self, study: Study, batch: Batch, source: Source) -> Draw:
        """Baselines and places on the path."""
        if self.baselines is None:
            study.note("no baselines were given, so there is one, zero: this estimates integrated gradients")
            return _Paths(source.value, torch.zeros_like(source.value[:1]), self.seed, batch.start)
        return _Paths(source.value, self._looked_up(finite(as_tensor(self.baselines)), source), self.seed, batch.start)

    def compute(self, study: Study, batch: Batch) -> Attribution:
        """As many forwards and backwards as samples."""
        source, picked, found = self.maps(study, batch)
        maps = [self.summed(source, found[:, k]) for k in range(found.shape[1])]
        count = 1 if self.baselines is None else len(self.baselines)
        return self.result(
            study, batch, source, picked, maps, signed=True, unit="score", caption=f"paths from {count} baselines"
        )

    def _looked_up(self, given: torch.Tensor, source: Source) -> torch.Tensor:
        """Baselines (M, ...) as values of the source; token numbers through the network's embedding."""
        words = not given.is_floating_point() and not source.chosen.is_floating_point()
        like = source.chosen if words else source.value
        if given.shape[1:] != like.shape[1:] or not len(given):
            raise InputError(
                "the baselines do not fit the input",
                got=f"shape {tuple(given.shape)}",
                expected=f"(M, {', '.join(map(str, like.shape[1:]))})",
            )
        given = given.to(like.device, like.dtype)
        if not words:
            return given
        count = len(like)
        rounds = [given[torch.arange(i, i + count) % len(given)] for i in range(0, len(given), count)]
        return torch.cat([source.other(part) for part in rounds])[: len(given)]


class _Paths(Draw):
    """Points between baselines and examples."""

    def __init__(self, value: torch.Tensor, baselines: torch.Tensor, seed: int, start: int) -> None:
        self.value, self.baselines = value, baselines
        self.random = [np.random.default_rng([seed, start + n]) for n in range(len(value))]
        self.place = [float(r.random()) for r in self.random]
        self.order: list[list[int]] = [[] for _ in self.random]
        self.drawn: list[list[int]] = [[] for _ in self.random]

    def variant(self, n: int) -> torch.Tensor:
        if not self.order[n]:
            self.order[n] = self.random[n].permutation(len(self.baselines)).tolist()
        number = self.order[n].pop()
        self.drawn[n].append(number)
        self.place[n] = (self.place[n] + GOLDEN) % 1.0
        return self.baselines[number] + self.place[n] * (self.value[n] - self.baselines[number])

    def contribution(self, n: int, variant: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        # Contributions come in the order in which their variants were drawn.
        return gradient * (self.value[n] - self.baselines[self.drawn[n].pop(0)])
