"""Sobol attribution: which share of the score's variance a part of the input has a hand in."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch.quasirandom import SobolEngine

from fluoroscope.errors import NotApplicable
from fluoroscope.methods.base import method, option
from fluoroscope.methods.perturbation.features import Features, Layout
from fluoroscope.methods.perturbation.sampling import Ask, Estimate, Example, Sampler, SegmentSampling, too_few
from fluoroscope.results import Array

__all__ = ["Sobol"]

FEWEST = 4
BLOCK = 8


@method
class Sobol(SegmentSampling):
    r"""Sobol: the share of the score's variance that a feature's opacity has a hand in, alone or together with others.

    .. math:: S_{T_i} = \frac{\mathbb E\big[\mathrm{Var}(f \mid m_{\sim i})\big]}{\mathrm{Var}(f)} \approx
              \frac{\frac{1}{2S} \sum_s \big(f(A_s) - f(A^{(i)}_s)\big)^2}{\mathrm{Var}(f)}

    m in [0, 1]^M mixes the example with the baseline, feature by feature: ``x m + b (1 - m)``. A and B are points of a
    scrambled Sobol sequence; A^(i) is A with feature i taken from B. Main effect and interactions count together, so
    the indices add up to 1 or more.

    Source: Fel et al., *Look at the Variance!*, 2021, equation 4, with Jansen's estimator of the total index (Jansen,
    1999). It differs: the variance is pooled over A and all A^(i), and cells have hard edges.

    Returns an :class:`~fluoroscope.results.Attribution` with ``values`` (N, H, W), (N, T) or (N, D), K after N for K
    targets, at the grid's resolution or painted on the positions of superpixels; from 0, without a unit and without a
    sign; all 0 where the score does not change at all. ``errors`` are standard errors by the delta method, as if the
    points were independent. With a low-discrepancy sequence the true error is mostly smaller, but not always: over many
    seeds it was 0.3 to 1.5 times the stated one, the larger where there are few points. Cost: (M + 1) forwards for each
    point.

    Raises:
        OptionError: too few samples for the number of features, no such segments, a baseline that does not fit.
        NotApplicable: tokens can't be mixed.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output.
    """

    name: ClassVar[str] = "sobol"
    title: ClassVar[str] = "Sobol"
    source: ClassVar[str] = "Fel et al., Look at the Variance!, 2021, eq. 4"

    samples: int = option(2000, "most variants of each example that are run", low=2)

    def reading(self) -> tuple[bool, str]:
        """Shares have no sign."""
        return False, "share of variance"

    def features(self, tensor: torch.Tensor, place: Layout, start: int) -> list[Features]:
        """Segments as asked for. Raises NotApplicable for whole numbers."""
        if not tensor.is_floating_point():
            raise NotApplicable(
                "Sobol mixes the input with a baseline, and tokens can't be mixed",
                got=f"an input of {tensor.dtype}",
                remedy="use HSIC, which keeps or replaces whole tokens",
            )
        return SegmentSampling.features(self, tensor, place, start)

    def sampler(self, example: Example) -> Sampler:
        """Points of the sequence, each with its M neighbours, until the error is small enough."""
        count = example.count
        points = self.samples // (count + 1)
        if points < FEWEST:
            raise too_few(self.title, self.samples, FEWEST * (count + 1), count)
        seed = int(torch.randint(2**31, (1,), generator=example.random))
        engine = SobolEngine(2 * count, scramble=True, seed=seed)  # type: ignore[no-untyped-call] # untyped in torch
        scores = np.empty((0, count + 1, len(example.scores)))
        found = Estimate(np.empty(0), np.empty(0))
        for size in self.blocks(points, BLOCK):
            asked = _neighbours(engine.draw(size, dtype=torch.float64))
            answers = yield Ask(asked.reshape(-1, count))
            scores = np.concatenate([scores, answers.reshape(size, count + 1, -1)])
            found = total_indices(scores)
            if self.enough(found):
                break
        return found


def _neighbours(points: torch.Tensor) -> torch.Tensor:
    """(S, M + 1, M) from points (S, 2 M): A itself, then A with one feature after the other from B."""
    a, b = points.chunk(2, dim=1)
    own = torch.eye(a.shape[1], dtype=torch.bool)
    return torch.cat([a[:, None], torch.where(own, b[:, None], a[:, None])], 1)


def total_indices(scores: Array) -> Estimate:
    """Total indices and standard errors (K, M) from scores (S, M + 1, K) of points and their neighbours."""
    centered = scores - scores.mean((0, 1))
    spread = (centered**2).mean(1)
    variance = spread.mean(0)
    halves = (scores[:, :1] - scores[:, 1:]) ** 2 / 2
    safe = np.where(variance > 0, variance, 1.0)
    indices = halves.mean(0) / safe
    moves = (halves - indices * spread[:, None]) / safe
    errors = moves.std(0, ddof=1) / np.sqrt(len(scores))
    flat = variance <= 1e-14 * np.maximum((scores**2).mean((0, 1)), 1e-300)
    return Estimate(np.where(flat, 0.0, indices).T, np.where(flat, 0.0, errors).T)
