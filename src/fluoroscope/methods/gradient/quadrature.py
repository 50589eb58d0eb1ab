"""Quadrature along a path: fixed rules, and one that puts its points where a path's own course asks for them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fluoroscope.results import Array

__all__ = ["RULES", "Panels", "fixed_rule"]

RULES = ("gauss-legendre", "riemann-left", "riemann-middle", "riemann-right", "trapezoid")
INNER = {
    "trapezoid": np.array([0.5, 1, 1, 1, 0.5]) / 4,
    "simpson": np.array([1, 4, 2, 4, 1]) / 12,
    "boole": np.array([7, 32, 12, 32, 7]) / 90,
}
COARSE = {
    "trapezoid": np.array([1, 0, 2, 0, 1]) / 4,
    "simpson": np.array([1, 0, 4, 0, 1]) / 6,
    "boole": np.array([1, 0, 4, 0, 1]) / 6,
}
SPREAD = 10.0
MOST_CHANGE = 0.5
FIRST = 2


def fixed_rule(name: str, points: int) -> tuple[Array, Array]:
    """(points, weights) of a rule on [0, 1]; the weights add up to 1."""
    if name == "gauss-legendre":
        places, weights = np.polynomial.legendre.leggauss(points)
        return (places + 1) / 2, weights / 2
    if name == "trapezoid":
        if points == 1:
            return np.array([0.5]), np.array([1.0])
        weights = np.full(points, 1 / (points - 1))
        weights[[0, -1]] /= 2
        return np.linspace(0, 1, points), weights
    shift = {"riemann-left": 0.0, "riemann-middle": 0.5, "riemann-right": 1.0}[name]
    return (np.arange(points) + shift) / points, np.full(points, 1 / points)


@dataclass
class Panels:
    r"""Panels of [0, 1] with five points each, halved where the path bends most.

    What is integrated is a vector g(t) whose sum is the slope of a known function, s'(t) = sum_i g_i(t) (x_i - b_i). So
    every panel's integral of the slope is known exactly, s(end) - s(begin), and with it the rule's error on every
    panel.

    1. Of three rules on the same points (trapezoid, Simpson, Boole) the one with the smallest errors is taken: smooth
       networks converge with the sixth power, networks of rectifiers, whose slope jumps, like the trapezoid.
    2. The errors add up if they are of a sign, or go with the root of their squares if they are random: the larger of
       both has to come down to ``SPREAD`` tolerances. A sum alone often is small by luck, long before its parts are.
       Panels with more than half their share of that error are halved, and all points so far stay in use.
    3. What then is left is spread over all points: of all weights that give the known integral the nearest ones are
    taken,
       w_i (1 + u (s'_i - mean)), the calibration of survey statistics. If a weight had to change by half, more points
       are taken instead. The integral of the slope is then exact, and completeness says no more about the map's
       accuracy.
    """

    tolerance: float
    floor: float = 0.0
    panels: list[tuple[float, float]] = field(
        default_factory=lambda: [(k / FIRST, (k + 1) / FIRST) for k in range(FIRST)]
    )
    score: dict[float, Array] = field(default_factory=dict)
    slope: dict[float, Array] = field(default_factory=dict)

    @property
    def missing(self) -> list[float]:
        """Points that the panels need and that are not known yet."""
        return [t for t in self.points if t not in self.score]

    @property
    def points(self) -> list[float]:
        """All points in order."""
        return sorted({t for panel in self.panels for t in nodes(panel)})

    def learn(self, t: float, score: Array, slope: Array) -> None:
        """The function (K,) and its slope (K,) at t."""
        self.score[t], self.slope[t] = score, slope

    @property
    def rise(self) -> Array:
        """s(1) - s(0), for each target (K,)."""
        return self.score[1.0] - self.score[0.0]

    def _errors(self, rule: str) -> Array:
        """Known minus computed integral of the slope, for each panel and target (P, K)."""
        inner = INNER[rule]
        rows = []
        for a, b in self.panels:
            slopes = np.stack([self.slope[t] for t in nodes((a, b))])
            rows.append(self.score[b] - self.score[a] - (b - a) * (inner @ slopes))
        return np.stack(rows)

    def _best(self) -> tuple[list[str], Array, Array]:
        """For each target: the best rule, its errors by panel (P, K), and their size (K,)."""
        errors = {rule: self._errors(rule) for rule in INNER}
        sizes = {r: np.maximum(np.abs(e.sum(0)), np.sqrt((e**2).sum(0))) for r, e in errors.items()}
        chosen = [min(INNER, key=lambda r: float(sizes[r][k])) for k in range(len(self.rise))]
        picked = np.stack([errors[r][:, k] for k, r in enumerate(chosen)], 1)
        return chosen, picked, np.array([sizes[r][k] for k, r in enumerate(chosen)])

    def refine(self, room: int) -> bool:
        """Halve the panels that need it, by at most ``room`` new points; False where nothing is left to do."""
        goal = np.maximum(SPREAD * self.tolerance * np.abs(self.rise), self.floor)
        _, errors, size = self._best()
        if bool((size <= goal).all()) and bool((self.incompleteness() <= self.tolerance).all()):
            return False
        share = np.max(np.abs(errors) / np.maximum(goal, 1e-300), axis=1)
        needed = np.flatnonzero(share**2 > 0.25 / len(share))
        needed = needed if len(needed) else np.argsort(-share)[:1]
        worst = set(needed[np.argsort(-share[needed], kind="stable")][: room // 4].tolist())
        self.panels = [part for i, p in enumerate(self.panels) for part in (halves(p) if i in worst else [p])]
        return bool(worst)

    def halve_widest(self, room: int) -> None:
        """Halve the widest panels, by at most ``room`` new points."""
        width = max(b - a for a, b in self.panels)
        left = room // 4
        made: list[tuple[float, float]] = []
        for panel in self.panels:
            split = panel[1] - panel[0] == width and left > 0
            left -= split
            made += halves(panel) if split else [panel]
        self.panels = made

    def weights(self, calibrated: bool = True, coarse: bool = False) -> Array:
        """Weights (points, K); ``coarse`` uses every second point only, to see how much the points matter."""
        points, chosen = self.points, self._best()[0]
        place = {t: i for i, t in enumerate(points)}
        found = np.zeros((len(points), len(chosen)))
        for a, b in self.panels:
            for k, rule in enumerate(chosen):
                inner = COARSE[rule] if coarse else INNER[rule]
                for t, w in zip(nodes((a, b)), inner, strict=True):
                    found[place[t], k] += w * (b - a)
        return self._calibrated(found) if calibrated else found

    def _calibrated(self, weights: Array) -> Array:
        slopes = np.stack([self.slope[t] for t in self.points])
        mean = (weights * slopes).sum(0)
        deviation = slopes - mean
        variance = (weights * deviation**2).sum(0)
        missing = self.rise - mean
        with np.errstate(divide="ignore", invalid="ignore"):
            change = np.where(variance > 0, missing / variance, 0.0) * deviation
        change = np.where(weights != 0, change, 0.0)
        allowed = np.abs(change).max(0) <= MOST_CHANGE
        calibrated: Array = weights * (1 + np.where(allowed, change, 0.0))
        return calibrated

    def incompleteness(self, calibrated: bool = True) -> Array:
        """``|computed - known| / |known|`` of the whole integral of the slope, for each target (K,)."""
        slopes = np.stack([self.slope[t] for t in self.points])
        error = np.abs((self.weights(calibrated) * slopes).sum(0) - self.rise)
        known = np.maximum(np.abs(self.rise), self.floor)
        return np.where(error > self.floor, error / np.maximum(known, 1e-300), 0.0)


def nodes(panel: tuple[float, float]) -> list[float]:
    """The five points of a panel; exact, because panels begin and end at binary fractions."""
    a, b = panel
    return [a, a + (b - a) / 4, a + (b - a) / 2, a + (b - a) * 3 / 4, b]


def halves(panel: tuple[float, float]) -> list[tuple[float, float]]:
    """Both halves."""
    middle = (panel[0] + panel[1]) / 2
    return [(panel[0], middle), (middle, panel[1])]
