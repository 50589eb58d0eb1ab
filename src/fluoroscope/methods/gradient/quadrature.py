"""Quadrature along a path: fixed rules, and one that puts its points where a path's own course asks for them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from fluoroscope.results import Array

__all__ = ["RULES", "Panels", "fixed_rule"]

RULES = ("gauss-legendre", "riemann-left", "riemann-middle", "riemann-right", "trapezoid")
WEIGHTS = (np.array([1, 1]) / 2, np.array([1, 4, 1]) / 6, np.array([7, 32, 12, 32, 7]) / 90)
"""Trapezoid, Simpson, Boole: for panels that were halved never, once, twice."""
SPREAD = 10.0
SINGLY = 17
"""Points up to which panels are halved one at a time, so that none is bought without need."""
NARROWEST = 2.0**-40
"""Width of panels that are not halved any more: a score that jumps has an error on the narrowest panel, too."""
Panel = tuple[float, float]


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
    r"""Panels of [0, 1] that are halved where the path bends most, until the sum is complete.

    What is integrated is a vector g(t) whose sum is the slope of a known function, s'(t) = sum_i g_i(t) (x_i - b_i). So
    every panel's integral of the slope is known exactly, s(end) - s(begin), and with it a rule's error on every panel.
    The weights are those of the rule; they are not adjusted to what is known.

    1. Of three rules on the same points the one with the smallest errors is taken: the trapezoid (networks of
       rectifiers, whose slope jumps), Simpson's where two halves allow it, Boole's where four quarters do (smooth
       networks).
    2. It is enough when the sum of the errors is within ``tolerance`` of the whole rise, and the root of their squares
       within ``SPREAD`` times that: a sum alone can be small by luck, long before its parts are.
    3. Otherwise the panel with the largest error is halved, which costs one point; all points so far stay in use.
       Where the score jumps, no panel is narrow enough: the jump is found to ``NARROWEST`` and left, and what is
       asked of the others in 2. is asked without it.
    """

    tolerance: float
    floor: float = 0.0
    split: set[Panel] = field(default_factory=lambda: {(0.0, 1.0), (0.0, 0.5), (0.5, 1.0)})
    score: dict[float, Array] = field(default_factory=dict)
    slope: dict[float, Array] = field(default_factory=dict)
    errors: dict[tuple[Panel, int], Array] = field(default_factory=dict)

    @property
    def missing(self) -> list[float]:
        """Points that the panels need and that are not known yet."""
        return [t for t in self.points if t not in self.score]

    @property
    def points(self) -> list[float]:
        """All points in order."""
        return sorted({0.0, 1.0} | {middle(panel) for panel in self.split})

    def learn(self, t: float, score: Array, slope: Array) -> None:
        """The function (K,) and its slope (K,) at t."""
        self.score[t], self.slope[t] = score, slope

    @property
    def rise(self) -> Array:
        """s(1) - s(0), for each target (K,)."""
        return self.score[1.0] - self.score[0.0]

    @property
    def scale(self) -> Array:
        """What errors are measured against, for each target (K,): the size of the rise, or what rounding leaves."""
        return np.maximum(np.maximum(np.abs(self.rise), self.floor), 1e-300)

    def _errors(self, level: int) -> tuple[list[Panel], Array]:
        """The panels of a rule, and known minus computed integral of the slope, for each panel and target (P, K)."""
        found = list(blocks(self.split, level))
        for (a, b), depth in found:
            if ((a, b), depth) not in self.errors:
                slopes = np.stack([self.slope[t] for t in nodes(a, b, depth)])
                self.errors[(a, b), depth] = self.score[b] - self.score[a] - (b - a) * (WEIGHTS[depth] @ slopes)
        return [panel for panel, _ in found], np.stack([self.errors[one] for one in found])

    def _best(self) -> list[tuple[int, list[Panel], Array]]:
        """For each target: the rule with the smallest errors, its panels and their errors (P,)."""
        found = [(level, *self._errors(level)) for level in range(len(WEIGHTS))]
        targets = range(len(self.rise))
        chosen = [min(found, key=lambda f: _size(f[2][:, k])) for k in targets]
        return [(level, panels, errors[:, k]) for k, (level, panels, errors) in zip(targets, chosen, strict=True)]

    def refine(self, room: int) -> bool:
        """Halve the panels that need it, by at most ``room`` new points; False where nothing is left to do."""
        wanted: dict[Panel, float] = {}
        for (level, panels, errors), scale in zip(self._best(), self.scale, strict=True):
            goal = max(self.tolerance * scale, self.floor)
            wide = np.array([b - a > NARROWEST * 2**level for a, b in panels])
            if abs(errors[wide].sum()) <= goal and np.linalg.norm(errors[wide]) <= SPREAD * goal:
                continue
            for panel, error in zip(itertools.compress(panels, wide), np.abs(errors[wide]), strict=True):
                wanted[panel] = max(wanted.get(panel, 0.0), float(error / scale))
        if not wanted:
            return False
        order = sorted(wanted, key=lambda panel: -wanted[panel])
        few = len(self.points) < SINGLY
        chosen = order[:1] if few else [p for p in order if wanted[p] >= wanted[order[0]] / 2]
        leaves = [self._leaf(panel) for panel in chosen[: max(room, 0)]]
        self.split.update(leaves)
        return bool(leaves)

    def _leaf(self, panel: Panel) -> Panel:
        """The part of a panel that is not halved yet and has the largest error by the trapezoid."""
        parts = [p for p, _ in blocks(self.split, 0, panel)]
        return max(parts, key=lambda p: float((np.abs(self._trapezoid(p)) / self.scale).max()))

    def _trapezoid(self, panel: Panel) -> Array:
        a, b = panel
        return np.asarray(self.score[b] - self.score[a] - (b - a) * (self.slope[a] + self.slope[b]) / 2)

    def halve_widest(self, room: int) -> None:
        """Halve the widest panels, by at most ``room`` new points."""
        parts = [p for p, _ in blocks(self.split, 0)]
        width = max(b - a for a, b in parts)
        self.split.update([p for p in parts if p[1] - p[0] == width][: max(room, 0)])

    def weights(self, coarse: bool = False) -> Array:
        """Weights (points, K); ``coarse`` takes back every last halving, to see how much the points matter."""
        points = self.points
        place = {t: i for i, t in enumerate(points)}
        split = {p for p in self.split if any(h in self.split for h in halves(p))} if coarse else self.split
        found = np.zeros((len(points), len(self.rise)))
        for k, (level, _, _) in enumerate(self._best()):
            for (a, b), depth in blocks(split, level):
                for t, w in zip(nodes(a, b, depth), WEIGHTS[depth], strict=True):
                    found[place[t], k] += w * (b - a)
        return found

    @property
    def jumps(self) -> bool:
        """Whether a panel was halved until it was too narrow."""
        return any(b - a <= 2 * NARROWEST for a, b in self.split)

    def incompleteness(self) -> Array:
        """``|computed - known| / |known|`` of the whole integral of the slope, for each target (K,)."""
        error = np.array([abs(errors.sum()) for _, _, errors in self._best()])
        return np.where(error > self.floor, error / self.scale, 0.0)


def _size(errors: Array) -> float:
    """Errors add up if they are of a sign, or go with the root of their squares if they are random: the larger."""
    return float(max(abs(errors.sum()), np.linalg.norm(errors)))


def blocks(split: set[Panel], level: int, panel: Panel = (0.0, 1.0)) -> Iterator[tuple[Panel, int]]:
    """The panels of the rule ``level``, each with how often it is halved throughout: as often as the rule wants, or
    less.
    """
    depths: dict[Panel, int | None] = {}
    left = [panel]
    while left:
        part = left.pop()
        depth = _depth(split, part, depths)
        if depth is not None and depth <= level:
            yield part, depth
        else:
            left += reversed(halves(part))


def _depth(split: set[Panel], panel: Panel, known: dict[Panel, int | None]) -> int | None:
    """How often a panel is halved, where that is the same throughout; ``known`` keeps what was found."""
    if panel not in known:
        left, right = (_depth(split, part, known) for part in halves(panel)) if panel in split else (-1, -1)
        known[panel] = left + 1 if left is not None and left == right else None
    return known[panel]


def nodes(a: float, b: float, depth: int) -> list[float]:
    """The points of a panel that is halved ``depth`` times; exact, because panels begin and end at binary fractions."""
    count = 2**depth
    return [a + (b - a) * i / count for i in range(count + 1)]


def middle(panel: Panel) -> float:
    """Where a panel is halved."""
    return (panel[0] + panel[1]) / 2


def halves(panel: Panel) -> list[Panel]:
    """Both halves."""
    return [(panel[0], middle(panel)), (middle(panel), panel[1])]
