"""The ratio of two noisy quantities: moving averages of numerator and denominator, and the error of their ratio."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from fluoroscope.results import Array

__all__ = ["MovingRatio", "ratio_error"]


@dataclass
class MovingRatio:
    """Exponential moving averages with weight ``decay`` of the past, without the bias of their start.

    The average of a ratio is not the ratio of averages, and single denominators may be near zero or below: numerator
    and denominator are averaged apart (McCandlish et al. 2018, appendix A.1).
    """

    decay: float = 0.99
    count: int = 0
    _sums: Array = field(default_factory=lambda: np.zeros(2))
    _squares: Array = field(default_factory=lambda: np.zeros((2, 2)))
    _known: Array = field(default_factory=lambda: np.zeros((2, 2)))
    _weights: float = 0.0

    def add(self, numerator: float, denominator: float, covariance: Array | None = None) -> None:
        """One more pair, with its covariance (2, 2) where that is known."""
        new, d = np.array([numerator, denominator]), self.decay
        self.count += 1
        self._sums = d * self._sums + (1 - d) * new
        self._squares = d * self._squares + (1 - d) * np.outer(new, new)
        unknown = np.full((2, 2), np.nan)
        self._known = d**2 * self._known + (1 - d) ** 2 * (unknown if covariance is None else covariance)
        self._weights = d**2 * self._weights + (1 - d) ** 2

    @property
    def means(self) -> tuple[float, float]:
        """Averages of numerator and denominator; NaN before the first pair."""
        if not self.count:
            return math.nan, math.nan
        numerator, denominator = self._sums / (1 - self.decay**self.count)
        return float(numerator), float(denominator)

    @property
    def value(self) -> float:
        """The ratio; NaN where the denominator is not above zero, for then it says nothing."""
        numerator, denominator = self.means
        return numerator / denominator if denominator > 0 else math.nan

    @property
    def standard_error(self) -> float:
        """Of the ratio, to first order: from the covariances where all are known, else from how pairs scatter as if
        they were independent of one another; NaN before there are two.
        """
        found = self._covariance
        return math.nan if found is None else ratio_error(*self.means, found)

    @property
    def sure(self) -> bool:
        """Whether the denominator is above zero by twice its own standard error, so that the ratio says something."""
        found = self._covariance
        return found is not None and self.means[1] > 2 * math.sqrt(max(0.0, float(found[1, 1])))

    @property
    def _covariance(self) -> Array | None:
        """Of the two averages (2, 2); None before it can be told."""
        total = 1 - self.decay**self.count
        if not self.count:
            return None
        if np.isfinite(self._known).all():
            return self._known / total**2
        share = self._weights / total**2
        if self.count < 2 or not share < 1:
            return None
        means = np.array(self.means)
        scatter = self._squares / total - np.outer(means, means)
        return scatter * share / (1 - share)


def ratio_error(numerator: float, denominator: float, covariance: Array) -> float:
    """Standard error of a ratio by the delta method; NaN where the denominator is not above zero."""
    if not denominator > 0:
        return math.nan
    slope = np.array([1.0, -numerator / denominator]) / denominator
    return math.sqrt(max(0.0, float(slope @ covariance @ slope)))
