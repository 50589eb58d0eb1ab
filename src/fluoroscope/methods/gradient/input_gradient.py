"""What gradient methods share: which tensor is explained, and how its gradient becomes a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from fluoroscope import axes as ax
from fluoroscope.errors import OptionError
from fluoroscope.methods.attributing import attribution
from fluoroscope.methods.base import Batch, Method, option
from fluoroscope.model.capture import Tape
from fluoroscope.model.source import Source
from fluoroscope.model.study import Study
from fluoroscope.model.targets import Picked
from fluoroscope.results import Attribution

__all__ = ["InputGradient", "reduce_option", "worst"]

DEFAULT_ROWS = 16


def reduce_option(default: str = "max") -> Any:
    """The option that says how channels (of tokens: features) become one number."""
    return option(
        default,
        "over channels: largest magnitude, length, or none (signed)",
        choices=("max", "norm", "none"),
    )


@dataclass(frozen=True, kw_only=True)
class InputGradient(Method):
    """A method about one tensor: an input, or the output of an embedding, layer ``at``.

    Several inputs: ``input`` chooses the one that is explained; the others stay as they are. Whole numbers (tokens)
    have no gradient: the first embedding that looks them up is found, noted, and its output explained, one number per
    token.
    """

    family: ClassVar[str] = "gradient"
    returns: ClassVar[type[Attribution]] = Attribution

    at: str | nn.Module | None = option(
        None, "layer whose output is explained, such as an embedding; found for token numbers"
    )
    input: int | str | None = option(None, "which of several inputs: number or name; else the first of real numbers")

    def source_of(self, study: Study, batch: Batch) -> Source:
        """The tensor that is explained."""
        found = Source(study, batch.inputs, self.at, self.input)
        if found.layer is not None:
            study.facts.update({"layer": str(found.layer), "layer_found": self.at is None})
        return found

    def reduced(self, source: Source, gradient: torch.Tensor, reduce: str) -> torch.Tensor:
        """(N, ...) without channels or token features; with ``"none"`` channels are second and nothing is lost."""
        channel = feature_axis(source)
        if channel is None:
            return gradient
        if reduce == "none":
            if source.tokens:
                raise OptionError(
                    "a token's gradient is a vector, one number has to be made of it",
                    got="reduce='none'",
                    expected="'max' or 'norm'",
                )
            return gradient.movedim(channel, 1)
        return gradient.abs().amax(channel) if reduce == "max" else gradient.norm(dim=channel)

    def summed(self, source: Source, contributions: torch.Tensor) -> torch.Tensor:
        """Contributions (N, ...) to a sum: token features are added up, channels are kept, as the second axis."""
        channel = feature_axis(source)
        if channel is None:
            return contributions
        return contributions.sum(-1) if source.tokens else contributions.movedim(channel, 1)

    def result(
        self,
        study: Study,
        batch: Batch,
        source: Source,
        picked: Picked,
        maps: Sequence[torch.Tensor],
        *,
        signed: bool,
        unit: str,
        caption: str = "",
    ) -> Attribution:
        """The attribution from one map (N, ...) per target."""
        return attribution(
            self, study, batch, picked, torch.stack(list(maps), 1) if picked.scores.ndim == 2 else maps[0],
            map_axes(source, maps[0].ndim), signed=signed, unit=unit, caption=caption, about=source.chosen,
        )  # fmt: skip


def feature_axis(source: Source) -> int | None:
    """The axis of channels, or of the features of tokens; None where there is none (rows of a table)."""
    if source.tokens:
        return source.value.ndim - 1
    axes = source.axes
    return axes.index(ax.C) if ax.C in axes else None


def map_axes(source: Source, rank: int) -> tuple[str, ...]:
    """Axis names of a map of the source with ``rank`` axes, the examples first and channels, where kept, second."""
    if source.tokens:
        return ax.N, ax.L
    axes = source.axes
    rest = tuple(a for a in axes[1:] if a != ax.C)
    return (ax.N, ax.C, *rest) if ax.C in axes and rank == len(axes) else (ax.N, *rest)


def worst(study: Study, name: str, values: Any) -> None:
    """Tell ``name`` of this batch's examples: each as ``name_per_example``, the largest as ``name``."""
    numbers = np.asarray(values, dtype=np.float64)
    told = study.facts.setdefault(f"{name}_per_example", [])
    told.extend(numbers.tolist())
    study.facts[name] = float(np.max(told))


def add_up(study: Study, name: str, values: Any) -> None:
    """Tell a number of each example as ``name_per_example``, and their sum as ``name``."""
    told = study.facts.setdefault(f"{name}_per_example", [])
    told.extend(int(v) for v in values)
    study.facts[name] = sum(told)


def named_tape(taped: Tape) -> str:
    """The one name of a tape of a source."""
    return next(iter(taped.tensors))
