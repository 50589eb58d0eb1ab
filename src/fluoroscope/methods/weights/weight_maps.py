"""Weight maps: what the parameters of a network look like, no data needed."""

from __future__ import annotations

import fnmatch
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from fluoroscope.errors import OptionError
from fluoroscope.methods.base import Batch, Method, method, option
from fluoroscope.model.study import Study
from fluoroscope.model.subject import Subject
from fluoroscope.results import TensorRecord, TensorSummary

__all__ = ["WeightMaps", "largest_magnitude"]

NEAR_ZERO = 1e-3
FILTER_ENTRIES = 1 << 16


@method
class WeightMaps(Method):
    """Weight maps: every parameter tensor with exact statistics, its histogram and a picture of its values.

    Convolutions are shown as filters where they are few enough to be looked at, larger ones and dense layers as
    matrices (outputs x inputs), one-dimensional tensors as they are. Pictures larger than ``side`` are reduced so that
    every cell shows its entry of largest magnitude: an outlier stays visible. ``zero_share`` is the share of entries
    below a thousandth of the tensor's root mean square. Tied tensors appear once.

    Source: Krizhevsky et al., *ImageNet Classification with Deep CNNs*, 2012, figure 3, for filter grids.

    Returns a :class:`~fluoroscope.results.TensorSummary`; values in the units of the weights.

    Raises:
        NotApplicable: the network has no parameters.
        OptionError: no tensor's name fits ``match``.
    """

    name: ClassVar[str] = "weights"
    title: ClassVar[str] = "Weights"
    in_report: ClassVar[bool] = True
    family: ClassVar[str] = "weights"
    phase: ClassVar[Any] = "before"
    returns: ClassVar[type[TensorSummary]] = TensorSummary
    needs: ClassVar[Any] = frozenset()
    joins: ClassVar[bool] = False
    source: ClassVar[str] = "Krizhevsky et al., 2012, fig. 3"

    match: str = option("*", "which tensors, as a pattern of names: 'layer1.*', '*.weight'")
    side: int = option(256, "largest side of a picture, in cells", low=8, high=4096)
    bins: int = option(64, "bars of each histogram", low=2, high=4096)

    def check(self, subject: Subject) -> str | None:
        """A network without parameters, or without their values, has nothing to show."""
        first = next(subject.module.parameters(), None)
        if first is None:
            return "it has no parameters"
        return "its parameters are on the meta device and have no values" if first.device.type == "meta" else None

    def compute(self, study: Study, batch: Batch) -> TensorSummary:
        """One tensor after the other, so that memory holds one at a time."""
        groups = _tied(study.module)
        chosen = [(p, names) for p, names in groups if any(fnmatch.fnmatchcase(n, self.match) for n in names)]
        if not chosen:
            raise OptionError(
                "no tensor's name fits the pattern",
                got=self.match,
                expected=f"one of {len(groups)} names such as {groups[0][1][0]!r}",
            )
        tensors = tuple(self._record(study.module, p, names) for p, names in chosen)
        return TensorSummary(
            title=self.title,
            caption=f"{len(tensors)} tensors, {sum(t.size for t in tensors):,} values",
            tensors=tensors,
        )

    def _record(self, root: nn.Module, parameter: torch.Tensor, names: list[str]) -> TensorRecord:
        real = parameter.detach().cpu()
        real = real.abs() if real.is_complex() else real
        values = real.to(torch.float64 if real.dtype == torch.float64 else torch.float32).numpy()
        statistics, edges, counts = describe(values, self.bins)
        picture, form, reduced = self._picture(values)
        return TensorRecord(
            name=names[0],
            shape=tuple(parameter.shape),
            dtype=str(parameter.dtype).removeprefix("torch."),
            role=_role(root, names[0]),
            shared_with=tuple(names[1:]),
            statistics=statistics,
            edges=edges,
            counts=counts,
            picture=picture,
            form=form,
            reduced=reduced,
        )

    def _picture(self, values: Any) -> tuple[Any, Any, bool]:
        if (
            values.ndim == 4
            and values.shape[2] * values.shape[3] > 1
            and (values.size <= FILTER_ENTRIES or values.shape[1] <= 4)
        ):
            return values, "filters", False
        if values.ndim >= 2:
            flat = values.reshape(values.shape[0], -1)
            small = largest_magnitude(flat, self.side)
            return small, "matrix", small.shape != flat.shape
        line = values.reshape(1, -1)
        small = largest_magnitude(line, self.side * self.side)
        return small[0], "vector", small.shape != line.shape


def _tied(root: nn.Module) -> list[tuple[nn.Parameter, list[str]]]:
    """Each parameter once, with all its names."""
    groups: dict[nn.Parameter, list[str]] = {}
    for name, parameter in root.named_parameters(remove_duplicate=False):
        groups.setdefault(parameter, []).append(name)
    return list(groups.items())


def _role(root: nn.Module, name: str) -> str:
    """What the tensor is for, in the field's words: its module's class and its own last name."""
    owner, _, last = name.rpartition(".")
    return f"{type(root.get_submodule(owner)).__name__} {last}"


def describe(values: Any, bins: int) -> tuple[dict[str, float], Any, Any]:
    """Statistics, histogram edges (B + 1,) and counts (B,) of all finite values; edges are symmetric about zero."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        nothing = dict.fromkeys(("mean", "std", "min", "max", "l2", "zero_share"), float("nan"))
        return (
            {**nothing, "nonfinite": float(values.size)},
            np.linspace(-1, 1, bins + 1),
            np.zeros(bins, dtype=np.int64),
        )
    exact = finite.astype(np.float64, copy=False)
    square = float(np.square(exact).sum())
    magnitude = float(np.abs(exact).max()) or 1.0
    counts, edges = np.histogram(exact, bins=bins, range=(-magnitude, magnitude))
    statistics = {
        "mean": float(exact.mean()),
        "std": float(exact.std()),
        "min": float(exact.min()),
        "max": float(exact.max()),
        "l2": square**0.5,
        "zero_share": float((np.abs(exact) <= NEAR_ZERO * (square / exact.size) ** 0.5).mean()),
        "nonfinite": float(values.size - finite.size),
    }
    return statistics, edges, counts


def largest_magnitude(matrix: Any, side: int) -> Any:
    """The matrix cut into at most ``side`` x ``side`` cells, each showing its entry of largest magnitude, sign kept."""
    for axis in (0, 1):
        length = matrix.shape[axis]
        if length > side:
            starts = np.linspace(0, length, side + 1).astype(int)[:-1]
            low, high = np.minimum.reduceat(matrix, starts, axis=axis), np.maximum.reduceat(matrix, starts, axis=axis)
            matrix = np.where(np.abs(low) > np.abs(high), low, high)
    return matrix
