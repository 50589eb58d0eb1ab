"""Randomization: a map that does not change when the network's weights do, does not speak of the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch

from fluoroscope.errors import FluoroscopeError, OptionError
from fluoroscope.methods.base import option
from fluoroscope.methods.progress import progress
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.seeding import generator
from fluoroscope.model.subject import Subject
from fluoroscope.results import Array, Attribution
from fluoroscope.trust.check import Check, Measure, check, standard_error
from fluoroscope.trust.check import mean as average
from fluoroscope.trust.private_copy import PrivateCopy, stages_of
from fluoroscope.trust.similarity import complexity, spearman, ssim
from fluoroscope.trust.trial import EDGES, Trial

__all__ = ["Randomization"]

LIMIT = 0.5
"""Rank correlation from which on a map is said to hardly depend on the weights."""
TOP, ALL = "rank correlation, top layers random", "rank correlation, all layers random"
LIKENESS, ALONE, RISE = "SSIM, all layers random", "rank correlation, one part random", "rise of complexity"
Maps = dict[str, Array]


@check
class Randomization(Check):
    r"""Randomization: each method's map of the network compared with its map of copies whose weights were made random.

    .. math:: \rho\big(|M(f_\theta, x)|, |M(f_{\tilde\theta}, x)|\big)

    Source: Adebayo et al., *Sanity Checks for Saliency Maps*, NeurIPS 2018: cascading randomization from the output to
    the input, and independent randomization of one part at a time; rank correlation of magnitudes and SSIM. Layers are
    taken in groups, up to each of ``shares``. The verdict is by the first group: with the layers next to the output
    random nothing is left of the class that is explained, and a map that stays tells of edges, not of the class.
    Different from the source: ``draw="shuffle"`` permutes each weight tensor (and the
    statistics of normalizations), which keeps its scale, so that deep networks neither die nor explode;
    ``draw="initial"`` draws weights anew as their layers do, like the source. The class explained stays the one of the
    network as it is, and so does the layer.

    The last column is the efficient test of Hedström et al., *Sanity Checks Revisited*, 2023: by which share the
    complexity of the map (entropy of its histogram) rises for random weights. With ``samples`` above 0 each map is the
    mean over noisy copies of the input, which takes the shattering of gradients out of the comparison (smooth MPRT of
    the same source). Maps are compared at the method's own resolution. Cost: each method runs twice for each of
    ``shares`` (once without ``independent``), times ``samples``.

    The network is never touched: everything runs on a private copy.

    Raises:
        ModelError: the network has no weights, or can't be copied.
    """

    title: ClassVar[str] = "Randomization"
    source: ClassVar[str] = "Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018"
    not_claimed: ClassVar[str] = (
        "A map that passes depends on what the network learned; that it is right is not claimed: random maps pass too."
    )

    shares: tuple[float, ...] = option(
        (0.25, 0.5, 0.75, 1.0), "shares of the layers that have lost their weights, from the output on"
    )
    independent: bool = option(True, "also randomize each group alone")
    draw: str = option(
        "shuffle", "random weights: the learned ones shuffled, or initial ones", choices=("shuffle", "initial")
    )
    samples: int = option(0, "noisy copies of the input that each map is averaged over", low=0)
    noise: float = option(0.1, "standard deviation of that noise, as a share of the input's range", low=0)

    def measures(self, trial: Trial) -> list[Measure]:
        """Similarity with all weights random, along the cascade, one group at a time; rise of complexity."""
        stages = stages_of(trial.subject, trial.inputs, self._shares())
        fresh = PrivateCopy(trial.subject, self.draw, self.seed)
        before = self._maps(trial, fresh.subject) if self.samples else {r: _plain(f) for r, f in trial.maps.items()}
        rounds = len(stages) * (2 if self.independent and len(stages) > 1 else 1)
        with progress(self.title, rounds * len(trial.maps)) as bar:
            cascade = []
            for names in stages:
                fresh.randomize(names)
                cascade.append(self._maps(trial, fresh.subject))
                bar.advance(len(trial.maps))
            alone = []
            for names in stages if rounds > len(stages) else ():
                fresh.restore()
                fresh.randomize(names)
                alone.append(self._maps(trial, fresh.subject))
                bar.advance(len(trial.maps))
        trial.facts["stages"] = [[n or "(the network itself)" for n in names] for names in stages]
        return self._columns(trial, before, cascade, alone)

    def _shares(self) -> tuple[float, ...]:
        if not self.shares or not all(0 < share <= 1 for share in self.shares):
            raise OptionError(f"{self.title}: shares of the layers", got=self.shares, expected="above 0, to 1")
        return tuple(sorted(self.shares))

    def _columns(self, trial: Trial, before: Maps, cascade: list[Maps], alone: list[Maps]) -> list[Measure]:
        last = cascade[-1]
        steps = {r: np.array([_alike(before[r], c[r], spearman) for c in cascade]) for r in before}
        trial.facts["cascade"] = {r: [_number(s) for s in v] for r, v in steps.items()}
        controls = self._controls(trial)
        likeness = {r: _alike(before[r], last[r], ssim) for r in before}
        first = ALL if len(cascade) == 1 and self._shares()[0] == 1 else TOP
        found = [Measure(first, {r: v[0] for r, v in steps.items()} | controls, "", "low")]
        if len(cascade) > 1:
            found.append(Measure(ALL, {r: v[-1] for r, v in steps.items()} | controls, "", "low"))
        found.append(Measure(LIKENESS, likeness | controls, "", "low"))
        if alone:
            single = {r: _mean(np.array([_alike(before[r], a[r], spearman) for a in alone])) for r in before}
            found.append(Measure(ALONE, single | controls, "", "low"))
        rise = {r: np.array([_rise(a, b) for a, b in zip(before[r], last[r], strict=True)]) for r in before}
        return [*found, Measure(RISE, rise, "share", "high")]

    def _controls(self, trial: Trial) -> Maps:
        edges = [r for r in trial.rows(self.controls) if r == EDGES]
        return {row: np.ones(trial.inputs.count) for row in edges}  # no weight of any network changes them

    def _maps(self, trial: Trial, subject: Subject) -> Maps:
        found = {}
        for row in trial.maps:
            try:
                found[row] = self._map(trial, row, subject)
            except FluoroscopeError as error:
                trial.note(f"{row} fails on random weights, which counts as no answer: {error.what}")
                found[row] = np.full_like(_plain(trial.maps[row]), np.nan)
        return found

    def _map(self, trial: Trial, row: str, subject: Subject) -> Array:
        if not self.samples:
            return _plain(trial.explained(row, subject, trial.inputs))
        runs = [_plain(trial.explained(row, subject, self._noisy(trial.inputs, i))) for i in range(self.samples)]
        return np.asarray(np.mean(runs, axis=0))

    def _noisy(self, inputs: Inputs, number: int) -> Inputs:
        main = inputs.main
        flat = main.flatten(1)
        level = (flat.amax(1) - flat.amin(1)) * self.noise
        drawn = [
            torch.randn(main.shape[1:], generator=generator(self.seed, n * 10_007 + number)) for n in range(len(main))
        ]
        return inputs.with_main(main + torch.stack(drawn).to(main) * level.reshape(-1, *[1] * (main.ndim - 1)))

    def verdict(self, row: str, found: Sequence[Measure], trial: Trial) -> str:
        """By the rank correlation with the top layers random: below or above one half, beyond two standard errors."""
        values = found[0].values[row]
        kept = values[np.isfinite(values)]
        if not len(kept):
            return "can't be told: its maps are empty"
        mean, doubt = float(kept.mean()), standard_error(kept)
        number = f"(rank correlation {mean:.2f} once {'all' if found[0].name == ALL else 'the top'} layers are random)"
        if len(kept) > 1 and abs(mean - LIMIT) <= 2 * doubt:
            return f"not decided: the map changes only in part {number}"
        if mean < LIMIT:
            return f"passes: the map changes when the network's weights do {number}"
        end = next((m.values[row] for m in found if m.name == ALL), np.full(1, np.nan))
        if average(end) >= LIMIT:
            return f"fails: the map hardly depends on what the network learned {number}"
        return f"fails: the map hardly notices that the layers next to the output lost what they learned {number}"


def _plain(found: Attribution) -> Array:
    """Magnitudes at the method's own resolution, (N, *cells); channels are summed."""
    return np.abs(np.stack([found.map(n) for n in range(len(found.data))]).astype(np.float64))


def _alike(before: Array, after: Array, measure: Callable[[Array, Array], float]) -> Array:
    """``measure`` example by example; NaN where a map holds no numbers."""
    good = [bool(np.isfinite(a).all() and np.isfinite(b).all()) for a, b in zip(before, after, strict=True)]
    return np.array([measure(a, b) if ok else np.nan for a, b, ok in zip(before, after, good, strict=True)])


def _number(values: Array) -> float | None:
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def _mean(values: Array) -> Array:
    """Mean over the first axis of what is finite, NaN where nothing is."""
    finite = np.isfinite(values)
    counts = finite.sum(0)
    total = np.where(finite, values, 0).sum(0)
    return np.asarray(np.divide(total, counts, out=np.full(values.shape[1:], np.nan), where=counts > 0))


def _rise(before: Array, after: Array) -> float:
    if not (np.isfinite(before).all() and np.isfinite(after).all()) or complexity(before) == 0:
        return float("nan")
    return complexity(after) / complexity(before) - 1
