"""Integrated gradients: the score's rise from a baseline, divided among the input values."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch

from fluoroscope.methods.base import Batch, method, option
from fluoroscope.methods.baselines import baseline_option
from fluoroscope.methods.gradient.beginning import beginning
from fluoroscope.methods.gradient.input_gradient import DEFAULT_ROWS, InputGradient, add_up, worst
from fluoroscope.methods.gradient.quadrature import RULES, Panels, fixed_rule
from fluoroscope.methods.gradient.rows import Rows, columns, split
from fluoroscope.model.study import Study
from fluoroscope.results import Array, Attribution

__all__ = ["IntegratedGradients"]

FLOOR = 16.0
MAP_SPREAD = 50.0


@method
class IntegratedGradients(InputGradient):
    r"""Integrated gradients: the gradient, averaged over the straight path from a baseline b to the input x.

    .. math:: a_i = (x_i - b_i) \int_0^1 \frac{\partial s}{\partial x_i}(b + t (x - b)) \, dt, \qquad
              \sum_i a_i = s(x) - s(b)

    Source: Sundararajan et al., *Axiomatic Attribution for Deep Networks*, 2017, equation 1; the sum is their
    completeness. ``quadrature="adaptive"`` differs from the paper's equal steps: it adds points example by example,
    where the slope along the path says that the rule errs, until completeness holds to ``tolerance``
    (:class:`~fluoroscope.methods.gradient.quadrature.Panels`). The weights are those of the rule, never adjusted to
    the known sum. Completeness says little about the map, for errors of different places cancel in a sum;
    ``meta["map_error"]`` estimates that: the distance to the map without the last points, as a share of the map's
    length. Up to 50 tolerances of it are accepted, half of it at 1 %; networks of rectifiers have gradients that jump
    along the path, and only many points make it small. The fixed rules take ``points`` points.

    ``meta``: ``completeness_error`` is the largest ``|sum_i a_i - (s(x) - s(b))| / |s(x) - s(b)|`` of all examples,
    ``evaluations`` counts the networks' runs for all examples (a forward, with a backward for each target);
    ``completeness_error_per_example`` and ``evaluations_per_example`` have them one by one.

    Returns an :class:`~fluoroscope.results.Attribution`: ``values`` (N, C, H, W), signed; (N, C, T) for series, (N,
    D) for table rows, (N, L) for tokens (summed over their embedding's features); K after N for K targets. Units:
    score. Memory: ``batch_size`` points of paths are in the network at once.

    Raises:
        OptionError: no such baseline, or it does not fit the input.
        InputError: a baseline that holds NaN or infinity.
        TargetError: the target does not fit the output.
        NumericalError: NaN in input or output, a score without a gradient, or whole numbers that no embedding looks up.
    """

    name: ClassVar[str] = "integrated-gradients"
    title: ClassVar[str] = "Integrated gradients"
    in_report: ClassVar[bool] = True
    source: ClassVar[str] = "Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017, eq. 1"

    tolerance: float = option(0.01, "largest relative completeness error (adaptive)", low=0.0)
    baseline: Any = baseline_option("where the path begins")
    quadrature: str = option("adaptive", "how the path is integrated", choices=("adaptive", *RULES))
    points: int = option(50, "points of a fixed rule", low=1)
    max_evaluations: int = option(600, "most runs per example (adaptive)", low=5)

    def compute(self, study: Study, batch: Batch) -> Attribution:
        """Points of the paths of all examples, ``batch_size`` of them at once."""
        source = self.source_of(study, batch)
        size = self.batch_size or DEFAULT_ROWS
        rows, picked, taped = Rows.settle(study, source, batch.target, size)
        path = _Path(rows, beginning(self.baseline, source, batch, self.seed))
        if self.quadrature == "adaptive":
            found = self._adaptive(study, path, *split(study, taped, picked))
        else:
            found = self._fixed(study, path, columns(picked.scores))
        maps = [self.summed(source, found[:, k]) for k in range(found.shape[1])]
        return self.result(
            study, batch, source, picked, maps, signed=True, unit="score", caption=f"path from baseline {self._start()}"
        )

    def _start(self) -> str:
        return (
            "given" if hasattr(self.baseline, "__len__") and not isinstance(self.baseline, str) else f"{self.baseline}"
        )

    def _fixed(self, study: Study, path: _Path, scores: torch.Tensor) -> torch.Tensor:
        """The same rule for every example; weighted gradients are added up as they come."""
        places, weights = fixed_rule(self.quadrature, self.points)
        count = len(scores)
        asked = [(n, float(t)) for n in range(count) for t in places]
        total = torch.zeros(count, scores.shape[1], *path.difference.shape[1:], device=scores.device)
        total = total.to(torch.promote_types(path.difference.dtype, torch.float32))
        for i, _, gradient in path.at(asked):
            total[asked[i][0]] += gradient.to(total.dtype) * weights[i % len(places)]
        found = total * path.difference[:, None].to(total.dtype)
        first = path.rows.scores(range(count), lambda n: path.point(n, 0.0))
        rise = (scores.double() - first.double()).cpu().numpy()
        add_up(study, "evaluations", [len(places) + 2] * count)
        self._tell(study, found, rise, floor_of(scores))
        return found.to(path.difference.dtype)

    def _adaptive(self, study: Study, path: _Path, scores: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Groups of a few examples, so that few gradients are kept at once."""
        found, group = [], max(1, path.rows.size // 8)
        for start in range(0, len(scores), group):
            part = range(start, min(start + group, len(scores)))
            paths = {n: _Adaptive(path, n, self.tolerance, scores[n], gradient[n]) for n in part}
            while asked := [(n, t) for n in part for t in paths[n].panels.missing]:
                for i, score, slope in path.at(asked):
                    n, t = asked[i]
                    paths[n].learn(t, score, slope)
                for n in part:
                    paths[n].refine(self.max_evaluations)
            found.append(torch.stack([p.map() for p in paths.values()]))
            self._tell_adaptive(study, found[-1], list(paths.values()))
        return torch.cat(found)

    def _tell_adaptive(self, study: Study, found: torch.Tensor, paths: list[_Adaptive]) -> None:
        add_up(study, "evaluations", [len(p.gradients) for p in paths])
        worst(study, "map_error", [p.map_error() for p in paths])
        rise = np.stack([p.panels.rise for p in paths])
        error = self._tell(study, found, rise, max(p.panels.floor for p in paths))
        if bool((error > self.tolerance).any()):
            study.note(
                f"the completeness error is above the tolerance of {self.tolerance:g} "
                f"after {max(len(p.gradients) for p in paths)} evaluations"
                + (
                    ": the score jumps along the path, which no gradient knows of"
                    if any(p.panels.jumps for p in paths)
                    else ""
                )
            )

    def _tell(self, study: Study, found: torch.Tensor, rise: Array, floor: float) -> Array:
        """Measure completeness on the values themselves."""
        total = found.flatten(2).double().sum(2).cpu().numpy()
        error = np.abs(total - rise)
        relative = np.where(error > floor, error / np.maximum(np.abs(rise), max(floor, 1e-300)), 0.0)
        worst(study, "completeness_error", relative.max(1))
        return relative


def floor_of(scores: torch.Tensor) -> float:
    """What rounding leaves unknown of a difference of scores."""
    return FLOOR * torch.finfo(scores.dtype).eps * float(scores.abs().max())


class _Path:
    """Straight lines from a baseline to each example."""

    def __init__(self, rows: Rows, baseline: torch.Tensor) -> None:
        self.rows, self.baseline = rows, baseline
        self.value: torch.Tensor = rows.source.value
        self.difference = self.value - baseline

    def point(self, n: int, t: float) -> torch.Tensor:
        """The point at t on the line of example n; exactly the baseline at 0 and the example at 1."""
        if t in (0.0, 1.0):
            return self.value[n] if t else self.baseline[n]
        return self.baseline[n] + t * self.difference[n]

    def at(self, asked: list[tuple[int, float]]) -> Any:
        """(number, scores (K,), gradients (K, ...)) for each (example, t)."""
        return self.rows.gradients([n for n, _ in asked], lambda i: self.point(*asked[i]))


class _Adaptive:
    """The points of one example's path, their gradients, and where more are needed."""

    def __init__(self, path: _Path, n: int, tolerance: float, score: torch.Tensor, gradient: torch.Tensor) -> None:
        self.difference = path.difference[n]
        self.panels = Panels(tolerance, floor_of(score))
        self.gradients: dict[float, torch.Tensor] = {}
        self.learn(1.0, score, gradient)

    def learn(self, t: float, score: torch.Tensor, gradient: torch.Tensor) -> None:
        slope = (gradient * self.difference).flatten(1).double().sum(1)
        self.gradients[t] = gradient
        self.panels.learn(t, score.double().cpu().numpy(), slope.cpu().numpy())

    def refine(self, limit: int) -> None:
        """Ask for more points, for the score's sake or where every second point gives another map."""
        room = limit - len(self.gradients)
        if not self.panels.refine(room) and room >= 1 and self.map_error() > MAP_SPREAD * self.panels.tolerance:
            self.panels.halve_widest(room)

    def map(self, coarse: bool = False) -> torch.Tensor:
        """Attribution (K, ...)."""
        weights = self.panels.weights(coarse=coarse)
        kind = torch.promote_types(self.difference.dtype, torch.float32)
        total = torch.zeros_like(self.gradients[1.0], dtype=kind)
        for t, row in zip(self.panels.points, weights, strict=True):
            if row.any():
                scale = torch.as_tensor(row, dtype=kind, device=total.device).view(-1, *[1] * self.difference.ndim)
                total += self.gradients[t].to(kind) * scale
        return (total * self.difference.to(kind)).to(kind)

    def map_error(self) -> float:
        """Distance to the map without the last points, as a share of the map's length; the largest of the targets."""
        fine, coarse = (self.map(coarse=c).flatten(1).double() for c in (False, True))
        length = fine.norm(dim=1)
        return float(((fine - coarse).norm(dim=1) / torch.where(length > 0, length, torch.ones_like(length))).max())
