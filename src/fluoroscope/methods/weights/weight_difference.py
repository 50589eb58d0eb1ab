"""Difference of two sets of weights: tensor by tensor, of two networks or two files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import nn

from fluoroscope.arguments import checked
from fluoroscope.errors import NotApplicable, OptionError
from fluoroscope.methods.base import versions
from fluoroscope.methods.progress import progress
from fluoroscope.methods.weights.looking import chosen, with_values
from fluoroscope.methods.weights.summary import MANY, MARGIN, Look, planned
from fluoroscope.model.subject import Subject, as_subject
from fluoroscope.model.weights import Checkpoint, Weight, weights_of
from fluoroscope.options import check_options, option
from fluoroscope.results import Comparison, TensorRecord, TensorSummary

__all__ = ["WeightDifference"]

Weights = nn.Module | Subject | Checkpoint | str | Path


@checked
@dataclass(frozen=True, kw_only=True)
class WeightDifference:
    """What changed from one set of weights to another: ``WeightDifference()(before, after)``.

    Each of the two is a network, or the path of a file or folder of weights, which is read piece by piece. Tensors of
    the same name and shape are subtracted, after minus before, in double precision; the result has the statistics,
    histogram and picture of the difference, and in ``statistics`` also ``l2_before``, ``l2_after``, ``relative``
    = |after - before| / |before| and ``cosine`` between the two. Names that only one of them has, and tensors of
    another shape, are told in ``comparison``. Buffers of networks count, for files hold them too.

    Raises:
        NotApplicable: the two have no tensor of the same name and shape.
        OptionError: no tensor's name fits ``match``, or an option is outside what is accepted.
        InputError, ModelError: a file is missing, truncated or corrupt.
    """

    title: ClassVar[str] = "Difference of weights"

    match: str = option("*", "which tensors, as a pattern of names: 'layer1.*', '*.weight'")
    side: int = option(256, "largest side of the coarsest picture, in cells", low=8, high=4096)
    zoom: int = option(1 << 22, "cells of all finer pictures together", low=0)
    bins: int = option(64, "bars of each histogram", low=2, high=4096)

    def __post_init__(self) -> None:
        check_options(self)

    @checked
    def __call__(self, before: Weights, after: Weights) -> TensorSummary:
        """The differences, as a summary of tensors with a ``comparison``."""
        started = time.perf_counter()
        notes: list[str] = []
        (first, old), (second, new) = _weights(before), _weights(after)
        wanted = _any_name([*old, *new], self.match)
        old, new = [w for w in old if w.name in wanted], [w for w in new if w.name in wanted]
        pairs, comparison = _paired(first, old, second, new)
        if not pairs:
            raise NotApplicable(
                "there is no difference: the two have no tensor of the same name and shape",
                got=f"{first} with {len(old)} tensors, {second} with {len(new)}",
            )
        for side in ("before", "after"):
            there = {id(w) for w in with_values([getattr(p, side) for p in pairs], notes.append)}
            pairs = [p for p in pairs if id(getattr(p, side)) in there]
        tensors = self._records(pairs)
        same = tuple(t.name for t in tensors if t.statistics["l2"] == 0 and not t.statistics["nonfinite"])
        meta = {
            "method": "weight-difference",
            "options": {"match": self.match, "side": self.side, "zoom": self.zoom, "bins": self.bins},
            "model": f"{first} to {second}",
            "seconds": round(time.perf_counter() - started, 4),
            "versions": versions(),
            "notes": list(dict.fromkeys(notes)),
        }
        count = f"{len(tensors):,} {'tensor' if len(tensors) == 1 else 'tensors'}"
        return TensorSummary(
            title="Difference of the weights",
            caption=f"{second} minus {first}: {count}, {len(same):,} of them unchanged",
            meta=meta,
            tensors=tensors,
            comparison=comparison.replace(unchanged=same),
        )

    def _records(self, pairs: Sequence[_Pair]) -> tuple[TensorRecord, ...]:
        how = Look(self.bins, 1.0, MARGIN if len(pairs) <= MANY else self.side)
        made = []
        with progress("Difference of the weights", len(pairs)) as bar:
            for pair, steps in zip(pairs, planned(pairs, self.side, self.zoom), strict=True):
                record = how.at(pair, steps)
                numbers = {k: v for k, v in record.statistics.items() if k not in ("dead", "duplicates")}
                made.append(
                    record.replace(
                        statistics={**numbers, **pair.products(numbers["l2"])},
                        dead=None,
                        duplicates=None,
                        likeness=None,
                    )
                )
                bar.advance()
        return tuple(made)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pair(Weight):
    """After minus before. While entries are read for the first time their products are added up."""

    before: Weight
    after: Weight
    sums: dict[str, float] = field(default_factory=lambda: {"at": 0, "before": 0.0, "after": 0.0, "both": 0.0})

    def flat(self, start: int, stop: int) -> Any:
        old = self.before.flat(start, stop).astype(np.float64)
        new = self.after.flat(start, stop).astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            change = new - old
        if start == self.sums["at"]:
            finite = np.isfinite(change)
            old, new = (old, new) if finite.all() else (np.where(finite, old, 0), np.where(finite, new, 0))
            for name, one, other in (("before", old, old), ("after", new, new), ("both", old, new)):
                self.sums[name] += float(np.vdot(one, other))
            self.sums["at"] = stop
        return change

    def products(self, change: float) -> dict[str, float]:
        before, after = self.sums["before"] ** 0.5, self.sums["after"] ** 0.5
        both = before * after
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = float(np.divide(change, before))
            cosine = float(np.clip(np.divide(self.sums["both"], both), -1, 1))
        return {"l2_before": before, "l2_after": after, "relative": relative, "cosine": cosine}


def _weights(given: Weights) -> tuple[str, list[Weight]]:
    if isinstance(given, (str, Path)):
        given = Checkpoint.open(given)
    if isinstance(given, Checkpoint):
        return given.title, list(given.weights)
    subject = as_subject(given)
    return subject.title, list(weights_of(subject.module, buffers=True))


def _any_name(weights: Sequence[Weight], pattern: str) -> set[str]:
    if not weights:
        raise OptionError("there are no tensors to compare", got="two sets of weights without tensors")
    return {w.name for w in chosen(weights, pattern)}


def _paired(first: str, old: Sequence[Weight], second: str, new: Sequence[Weight]) -> tuple[list[_Pair], Comparison]:
    """Tensors of the same name and shape, and what is left; a shared tensor is known by each of its names."""
    known = {n: w for w in new for n in (w.name, *w.shared_with)}
    pairs, missing, reshaped = [], [], []
    for weight in old:
        other = next((known[n] for n in (weight.name, *weight.shared_with) if n in known), None)
        if other is None:
            missing.append(weight.name)
        elif other.shape != weight.shape:
            reshaped.append((weight.name, weight.shape, other.shape))
        else:
            pairs.append(_pair(weight, other))
    names = {n for w in old for n in (w.name, *w.shared_with)}
    extra = tuple(w.name for w in new if not names & {w.name, *w.shared_with})
    found = Comparison(before=first, after=second, missing=tuple(missing), extra=extra, reshaped=tuple(reshaped))
    return pairs, found


def _pair(before: Weight, after: Weight) -> _Pair:
    dtype = before.dtype if before.dtype == after.dtype else f"{before.dtype} to {after.dtype}"
    return _Pair(
        name=before.name,
        shape=before.shape,
        dtype=dtype,
        role=before.role,
        shared_with=before.shared_with,
        before=before,
        after=after,
    )
