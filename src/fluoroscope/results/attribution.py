"""Attribution: how much each part of an input speaks for a target."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Any, ClassVar

import numpy as np

from fluoroscope import axes as ax
from fluoroscope.errors import NotApplicable, OptionError
from fluoroscope.results.record import Array, array, record, value
from fluoroscope.results.result import Result, Samples

__all__ = ["Attribution"]


@record
class Attribution(Result):
    """Contribution of input positions to a target's score, raw and unscaled.

    Shapes: ``values`` is (N, [K,] ...) by ``axes``: (N, H, W) for maps of images, (N, C, H, W) per channel, (N, L) for
    tokens, (N, D) for table columns, (N, T) for series; K is there when several targets were asked for. The map keeps
    the method's own resolution; ``size`` is that of the input, and :meth:`resized` gives any other.
    ``centers`` has, for each spatial axis, the middle of the first cell and the distance of cells in input pixels; None
    means that the cells tile the input evenly. ``signed`` says whether negative values speak against the target.
    ``groups`` (N, D) numbers the columns of a table where several are one feature, such as those that code a category:
    each of them has the feature's whole value. ``errors``, shaped like the values, are their standard errors where the
    method samples; None where it does not.
    ``regions`` (N, H', W') are masks over the input's area where the target was a region, at the resolution of the
    network's output; ``boxes`` (N, 4) are x0, y0, x1, y1 as shares of width and height where it was a box; else None.
    """

    kind: ClassVar[str] = "attribution"
    data: Array = value(join="concat")
    axes: tuple[str, ...] = value()
    scores: Array = array((ax.N,), (ax.N, ax.K))
    targets: Array = array((ax.N,), (ax.N, ax.K))
    labels: tuple[tuple[str, ...], ...] = value(join="concat", default=())
    size: tuple[int, ...] = value(default=())
    centers: tuple[tuple[float, float], ...] | None = value(default=None)
    signed: bool = value(default=False)
    unit: str = value(default="")
    samples: Samples = value(default_factory=Samples)
    errors: Array | None = value(join="concat", default=None)
    regions: Array | None = value(join="concat", default=None)
    boxes: Array | None = value(join="concat", default=None)
    groups: Array | None = value(join="concat", default=None)

    @property
    def values(self) -> Array:
        """Raw attribution, shape by ``axes``."""
        return self.data

    @property
    def has_targets(self) -> bool:
        """Whether there is a target axis K."""
        return ax.K in self.axes

    @property
    def spatial_axes(self) -> tuple[str, ...]:
        """The axes that are positions: (H, W) for images, (T,) for series, (Z, H, W) for volumes."""
        return tuple(a for a in self.axes if a in ax.SPACE)

    def label(self, n: int, k: int = 0) -> str:
        """What example ``n`` was explained for: the class name or a description of the target."""
        return self.labels[n][k] if n < len(self.labels) and k < len(self.labels[n]) else ""

    def map(self, n: int, k: int = 0) -> Array:
        """The map of one example and target over positions only; channels, where there are any, are summed."""
        chosen = self.data[n, k] if self.has_targets else self.data[n]
        rest = [a for a in self.axes if a not in (ax.N, ax.K)]
        extra = tuple(i for i, a in enumerate(rest) if a == ax.C)
        return np.asarray(chosen.sum(axis=extra) if extra else chosen)

    def table(self, n: int, k: int = 0) -> tuple[tuple[str, ...], Array]:
        """Names and values of the features of one row of a table, columns that are one feature as one: ``age = 38``,
        ``colour = red`` where one of the columns of a category is 1.

        Raises:
            NotApplicable: the attribution is not over columns.
        """
        if self.axes[-1:] != (ax.D,):
            raise NotApplicable("only rows of a table have columns", got=f"axes {self.axes}", expected="(..., D)")
        values = self.map(n, k)
        known = self.samples.features[n] if n < len(self.samples.features) else ()
        names = [*known[: len(values)], *(f"feature {i}" for i in range(len(known), len(values)))]
        row = self.samples.rows[n] if self.samples.rows is not None and n < len(self.samples.rows) else None
        columns: dict[int, list[int]] = {}
        for i, group in enumerate(range(len(values)) if self.groups is None else self.groups[n].tolist()):
            columns.setdefault(group, []).append(i)
        shown = tuple(feature_name([names[i] for i in c], None if row is None else row[c]) for c in columns.values())
        return shown, np.asarray([values[c[0]] for c in columns.values()])

    def resized(self, height: int, width: int) -> Array:
        """Bilinear interpolation to (..., height, width), cell centres where the method put them (half-pixel
        convention).

        A cell that is not finite makes the points between it and its neighbours NaN, and no others.

        Raises:
            NotApplicable: the attribution is not over (H, W).
            OptionError: no such height or width.
        """
        if self.axes[-2:] != (ax.H, ax.W):
            raise NotApplicable(
                "only a map over height and width can be resized", got=f"axes {self.axes}", expected="(..., H, W)"
            )
        sides: dict[str, Any] = {"height": height, "width": width}
        for name, given in sides.items():
            if not isinstance(given, int | np.integer) or given < 1:
                raise OptionError(
                    f"{name} is a number of points", got=repr(given), expected="a whole number, at least 1"
                )
        rows = self._weights(self.data.shape[-2], height, -2)
        columns = self._weights(self.data.shape[-1], width, -1)
        finite = np.isfinite(self.data)
        full = rows @ np.where(finite, self.data, 0) @ columns.T
        if not finite.all():
            full[rows @ (~finite).astype(float) @ columns.T > 0] = np.nan
        return np.asarray(full, dtype=self.data.dtype)

    def _weights(self, cells: int, length: int, axis: int) -> Array:
        size = self.size[axis] if self.size else cells
        first, step = self.centers[axis] if self.centers else (size / cells / 2, size / cells)
        position = ((np.arange(length) + 0.5) * size / length - first) / step
        return linear_weights(np.clip(position, 0, cells - 1), cells)


def feature_name(names: list[str], row: Array | None) -> str:
    """A column and its number; of several columns what their names begin with, and the one of them that is 1."""
    if len(names) == 1:
        return names[0] if row is None else f"{names[0]} = {row[0]:.4g}"
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    start = "".join(letters[0] for letters in alike)
    cut = re.match(r".*[ _=:.\-/]", start)  # names of categories may begin alike, too
    stem = (cut.group() if cut else start).rstrip(" _=:.-/") or f"{names[0]} and {len(names) - 1} more"
    if row is not None and sorted(row.tolist()) == [0.0] * (len(names) - 1) + [1.0]:
        chosen = names[int(row.argmax())]
        return f"{stem} = {chosen[len(stem) :].lstrip(' _=:.-/') or chosen}" if chosen.startswith(stem) else chosen
    return stem


def linear_weights(position: Array, cells: int) -> Array:
    """Rows of weights (len(position), cells) that interpolate linearly between neighbouring cells."""
    lower = np.minimum(np.floor(position).astype(int), max(cells - 2, 0))
    upper = np.minimum(lower + 1, cells - 1)
    share = position - lower
    weights = np.zeros((len(position), cells))
    rows = np.arange(len(position))
    np.add.at(weights, (rows, lower), 1 - share)
    np.add.at(weights, (rows, upper), share)
    return weights
