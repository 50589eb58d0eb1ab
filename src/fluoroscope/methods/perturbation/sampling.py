"""What sampling methods share: masks as questions, answered in batches, until the standard error is small enough.

A method is written for one example, as a generator: it yields masks (:class:`Ask`), is sent the scores of the example
with those features kept and the others replaced, and returns an :class:`Estimate`. All examples of a batch are driven
side by side, so that their variants share the network's batches; each has a random generator of its own, so that
batches do not matter.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from fluoroscope import axes as ax
from fluoroscope.errors import OptionError
from fluoroscope.methods.attributing import attribution
from fluoroscope.methods.base import Batch, Method, option
from fluoroscope.methods.baselines import baseline_of, baseline_option, data_option
from fluoroscope.methods.perturbation.features import Features, Layout, features_of, groups_of, layout, without_padding
from fluoroscope.methods.perturbation.variants import Variants
from fluoroscope.model.fast_forward import PRECISION, PRECISIONS
from fluoroscope.model.seeding import generator
from fluoroscope.model.source import chosen_input
from fluoroscope.model.study import Study
from fluoroscope.model.tables import numbers_of
from fluoroscope.results import Array, Attribution

__all__ = [
    "Ask",
    "CoalitionSampling",
    "Estimate",
    "Example",
    "MaskSampling",
    "Sampler",
    "SegmentSampling",
    "all_coalitions",
    "relative",
    "too_few",
]

BLOCK = 64


@dataclass(frozen=True)
class Ask:
    """Which scores are wanted: ``masks`` (S, features), True or 1 where a feature is kept.

    Masks of real numbers mix: 0.3 is three tenths of the input and seven of what replaces it. ``bases`` (S, ...) gives
    every mask a replacement of its own in place of the example's baseline.
    """

    masks: torch.Tensor
    bases: torch.Tensor | None = None


@dataclass(frozen=True)
class Estimate:
    """What a sampler found for one example: values and standard errors (K, features)."""

    values: Array
    errors: Array


Sampler = Generator[Ask, Array, Estimate]
"""Yields what it asks, is sent scores (S, K) in float64, returns its estimate."""


@dataclass(frozen=True)
class Example:
    """What a sampler knows of its example: features, random generator, own scores (K,), and data to draw from."""

    features: Features
    random: torch.Generator
    scores: Array
    background: torch.Tensor | None = None

    @property
    def count(self) -> int:
        """The number of features."""
        return self.features.count

    def coins(self, count: int, share: float = 0.5) -> torch.Tensor:
        """Masks (count, features) in which every feature is kept with probability ``share``."""
        return torch.rand(count, self.count, generator=self.random) < share


@dataclass(frozen=True, kw_only=True)
class MaskSampling(Method):
    """A method that asks for the scores of many variants of each example; subclasses write :meth:`sampler`.

    ``meta`` has ``evaluations`` (variants that went through the network; equal ones go once) and ``standard_error``:
    the length of the standard errors of all values as a share of the length of the values, the largest of all examples
    and targets; both also one by one, ``..._per_example``. The result's ``errors`` are the standard errors of the
    values.
    """

    family: ClassVar[str] = "perturbation"
    returns: ClassVar[type[Attribution]] = Attribution
    averages: ClassVar[bool] = True

    samples: int = option(1000, "most variants of each example that are run", low=2)
    stop_error: float | None = option(None, "stop when the relative standard error is at most this", low=0.0)
    baseline: Any = baseline_option("what replaces a feature")
    precision: str = option("float32", PRECISION, choices=PRECISIONS)
    input: int | str | None = option(None, "which of several inputs: number or name; else the first of real numbers")

    def sampler(self, example: Example) -> Sampler:
        """The questions about one example, and the estimate made of the answers."""
        raise NotImplementedError

    def features(self, tensor: torch.Tensor, place: Layout, start: int) -> list[Features]:
        """What is kept or replaced together."""
        raise NotImplementedError

    def background_rows(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """Data (B, ...) that replace features in place of the baseline: scores are averaged over them (``averages``),
        or the sampler draws from them.
        """
        return None

    def reading(self) -> tuple[bool, str]:
        """Whether values have a sign, and their unit."""
        return True, "score"

    def compute(self, study: Study, batch: Batch) -> Attribution:
        """All examples of a batch side by side."""
        tensor = batch.inputs.main if self.input is None else chosen_input(batch.inputs, self.input)
        place = layout(tensor, batch.inputs.axes_of(tensor))
        features, rows = self.features(tensor, place, batch.start), self.background_rows(tensor)
        features = without_padding(features, batch.inputs)
        averaged = rows if self.averages else None
        bases = averaged
        if bases is None:
            axes = batch.inputs.axes_of(tensor)
            bases = baseline_of(self.baseline, tensor, study.subject, axes=axes, start=batch.start, seed=self.seed)
        variants = Variants(
            study, batch, tensor, place, features, bases, self.batch_size, averaged is not None, self.precision
        )
        examples = [
            Example(f, generator(self.seed, batch.start + n), variants.own[n], rows) for n, f in enumerate(features)
        ]
        found = drive([self.sampler(e) for e in examples], variants)
        self._tell(study, variants, found)
        return self._result(study, batch, variants, found)

    def blocks(self, total: int, size: int = BLOCK) -> list[int]:
        """Sizes of the portions in which ``total`` samples are drawn: one where nothing could stop it earlier."""
        if self.stop_error is None:
            return [total]
        return [min(size, total - start) for start in range(0, total, size)]

    def enough(self, found: Estimate) -> bool:
        """Whether the standard errors are as small as they were asked to be."""
        return self.stop_error is not None and relative(found) <= self.stop_error

    def _tell(self, study: Study, variants: Variants, found: Sequence[Estimate]) -> None:
        errors = study.facts.setdefault("standard_error_per_example", [])
        errors.extend(relative(f) for f in found)
        spent = study.facts.setdefault("evaluations_per_example", [])
        spent.extend(variants.spent)
        study.facts.update({"standard_error": max(errors), "evaluations": sum(spent)})
        if self.stop_error is not None and max(errors) > self.stop_error:
            study.note(f"samples={self.samples} were spent before the standard error came down to {self.stop_error:g}")

    def _result(self, study: Study, batch: Batch, variants: Variants, found: Sequence[Estimate]) -> Attribution:
        many, parts = variants.picked.scores.ndim == 2, variants.features

        def painted(rows: Sequence[Array]) -> Array:
            maps = np.stack([f.painted(row) for f, row in zip(parts, rows, strict=True)])
            return (maps if many else maps[:, 0]).astype(variants.dtype)

        signed, unit = self.reading()
        result = attribution(
            self, study, batch, variants.picked, torch.from_numpy(painted([f.values for f in found])),
            (ax.N, *variants.place.axes), signed=signed, unit=unit, caption=self._caption(parts), about=variants.tensor,
        )  # fmt: skip
        size = variants.place.size if variants.place.spatial else ()
        groups = groups_of(parts, variants.place)
        return result.replace(errors=painted([f.errors for f in found]), size=size, groups=groups)

    def _caption(self, parts: Sequence[Features]) -> str:
        grid, counts = parts[0].grid, sorted({f.count for f in parts})
        shape = " x ".join(map(str, grid)) + " cells" if grid else f"{counts[0]} features"
        return shape if len(counts) == 1 else f"{counts[0]} to {counts[-1]} features"


@dataclass(frozen=True, kw_only=True)
class SegmentSampling(MaskSampling):
    """A method about segments: cells, superpixels, windows of time, columns, tokens."""

    segments: Any = option("grid", "features: 'grid', 'superpixels', or an array of numbers shaped like the positions")
    count: int = option(49, "about how many cells or superpixels an image or series is cut into", low=1)

    def features(self, tensor: torch.Tensor, place: Layout, start: int) -> list[Features]:
        """Segments as asked for."""
        return features_of(tensor, place, self.segments, self.count, start)


@dataclass(frozen=True, kw_only=True)
class CoalitionSampling(SegmentSampling):
    """A method that keeps some segments and replaces the others, from a baseline or from data."""

    background: Any = data_option("rows of data (B, ...) that replace features in place of the baseline, for tables")

    def background_rows(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """The background as a tensor (B, ...), None where there is none. Raises OptionError where it does not fit."""
        if self.background is None:
            return None
        rows = torch.as_tensor(numbers_of(self.background)).to(tensor.device, tensor.dtype)
        if rows.ndim != tensor.ndim or rows.shape[1:] != tensor.shape[1:] or not len(rows):
            raise OptionError(
                "the background does not fit the input",
                got=f"shape {tuple(rows.shape)}",
                expected=f"rows of shape {tuple(tensor.shape[1:])}, (B, ...)",
            )
        return rows


def drive(samplers: Sequence[Sampler], answer: Variants) -> list[Estimate]:
    """Ask and answer until every sampler has returned its estimate."""
    asked: dict[int, Ask] = {n: next(s) for n, s in enumerate(samplers)}
    found: dict[int, Estimate] = {}
    while asked:
        for n, scores in answer({n: (a.masks, a.bases) for n, a in asked.items()}).items():
            try:
                asked[n] = samplers[n].send(scores)
            except StopIteration as stop:
                found[n] = stop.value
                del asked[n]
    return [found[n] for n in range(len(samplers))]


def relative(found: Estimate) -> float:
    """Length of the standard errors over length of the values, the largest of the targets; 0 where nothing varies."""
    error, length = np.linalg.norm(found.errors, axis=-1), np.linalg.norm(found.values, axis=-1)
    return float(np.where(error > 0, error / np.maximum(length, 1e-300), 0.0).max())


def too_few(title: str, given: int, needed: int, features: int) -> OptionError:
    """The error for fewer samples than an estimate with a standard error needs."""
    return OptionError(
        f"{title}: too few samples for this many features",
        got=f"samples={given} for {features} features",
        expected=f"at least {needed}",
        remedy="give more samples, or make fewer features of the input with count= or segments=",
    )


def all_coalitions(count: int) -> Array:
    """Every subset of ``count`` features as masks (2^count, count); row number in binary, the first feature lowest."""
    return (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(bool)
