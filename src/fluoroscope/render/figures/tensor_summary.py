"""Tensors as figures: an overview of all distributions, or pictures and histograms of a few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fluoroscope.errors import OptionError, nearest
from fluoroscope.render import design
from fluoroscope.render.figures.canvas import Picture, heading, new_figure, quiet
from fluoroscope.render.figures.distribution import draw_boxes, draw_histogram
from fluoroscope.render.figures.filters import draw_filters, filter_rows
from fluoroscope.render.figures.label import number, plural, shortened, title
from fluoroscope.render.figures.matrix import draw_matrix
from fluoroscope.render.figures.registry import Drawing, drawing
from fluoroscope.render.figures.scale import color_bar, missing_note, scale_of
from fluoroscope.render.figures.strip import draw_series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.results import TensorRecord, TensorSummary

__all__ = ["TensorSummaryDrawing"]

FEW = 4  # tensors that are shown one by one; more get the overview
SPANS = 32  # names of parts of the network that fit below the overview


@drawing("tensor-summary")
class TensorSummaryDrawing(Drawing):
    """Options of the drawing.

    ``tensor`` by name; ``view`` of it on given Axes: its picture or its histogram; ``view="overview"`` shows the
    distributions of all (None: the overview from five tensors on, pictures below).
    """

    tensor: str | None = None
    view: Literal["overview", "picture", "histogram"] | None = None

    def on(self, result: TensorSummary, ax: Axes, theme: Theme) -> None:
        """One tensor, or the distributions of all, on ``ax``."""
        tensors = self._tensors(result)
        view = self.view or ("picture" if len(tensors) == 1 else "overview")
        if view == "overview":
            self._boxes(tensors, ax, theme)
            _spans(ax, tensors, theme)
        elif view == "picture":
            _picture(ax, tensors[0], theme)
        else:
            draw_histogram(ax, tensors[0], theme)
            _head(ax, tensors[0], theme)

    def figure(self, result: TensorSummary, theme: Theme) -> Picture:
        """A page of all distributions, or a row with picture and histogram for each of a few tensors."""
        tensors = self._tensors(result)
        if self.view == "overview" or (self.view is None and len(tensors) > FEW):
            return self._overview(result, tensors, theme)
        return self._details(result, tensors[:FEW], theme)

    def _tensors(self, result: TensorSummary) -> Sequence[TensorRecord]:
        if not result.tensors:
            raise OptionError("there is no tensor to draw", got="an empty summary", expected="at least one tensor")
        if self.tensor is None:
            return result.tensors
        for record in result.tensors:
            if self.tensor == record.name or self.tensor in record.shared_with:
                return (record,)
        near = nearest(self.tensor, [t.name for t in result.tensors])
        raise OptionError("there is no such tensor", got=self.tensor, expected="a name from .tensors", nearest=near)

    def _details(self, result: TensorSummary, tensors: Sequence[TensorRecord], theme: Theme) -> Picture:
        heights = [_height(t) for t in tensors]
        with new_figure(9.6, sum(heights) + 0.5 * len(tensors) + 0.9, theme) as figure:
            axes = figure.subplots(len(tensors), 2, squeeze=False, width_ratios=(5, 3), height_ratios=heights)
            for (left, right), tensor in zip(axes, tensors, strict=True):
                _picture(left, tensor, theme, 5.2)
                if tensor.form != "vector" and left.images[-1].get_array().ndim == 2:  # colours have no scale
                    color_bar(figure, left.images[-1], left, "", theme, aspect=18, fraction=0.04, anchor=(0, 1))
                draw_histogram(right, tensor, theme)
                title(
                    right,
                    _statistics(tensor, ("mean", "std")),
                    theme,
                    _statistics(tensor, ("min", "max", "zero_share")),
                )
            more = len(self._tensors(result)) - len(tensors)
            facts = [f"{more} more tensors; choose one with tensor=."] if more else []
            if any(t.reduced for t in tensors):
                facts.append(
                    "Reduced: every cell shows the entry of greatest magnitude among those that it stands for."
                )
            heading(figure, result, theme, facts)
        return figure

    def _overview(self, result: TensorSummary, tensors: Sequence[TensorRecord], theme: Theme) -> Picture:
        with new_figure(min(max(7.0, 3.0 + 0.062 * len(tensors)), 14.0), 6.4, theme) as figure:
            boxes, spread, zeros = figure.subplots(3, 1, sharex=True, height_ratios=(3.4, 1.4, 1.0))
            self._boxes(tensors, boxes, theme)
            colors = _colors(tensors)
            _points(spread, tensors, "std", colors, theme, "standard deviation")
            spread.set_yscale("log", nonpositive="mask")
            _points(zeros, tensors, "zero_share", colors, theme, "zeros")
            zeros.set_ylim(-0.05, 1.05)
            zeros.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g} %")
            _spans(zeros, tensors, theme, (boxes, spread))
            heading(figure, result, theme, self._facts(tensors))
        return figure

    def _facts(self, tensors: Sequence[TensorRecord]) -> list[str]:
        sizes = sum(t.size for t in tensors)
        facts = [
            f"{plural(len(tensors), 'tensor')} in order, {sizes:,} entries.",
            "Line: least to greatest; thicker: 1 % to 99 %; thickest: middle half; dot: median.",
        ]
        lost = [t for t in tensors if t.statistics.get("nonfinite", 0)]
        if lost:
            names = ", ".join([*(shortened(t.name, 40) for t in lost[:3]), *(["…"] if len(lost) > 3 else [])])
            facts.append(f"{plural(len(lost), 'tensor')} with values that are not finite (red): {names}")
        return facts

    def _boxes(self, tensors: Sequence[TensorRecord], ax: Axes, theme: Theme) -> None:
        draw_boxes(ax, tensors, _colors(tensors), theme)
        for i, tensor in enumerate(tensors):
            if tensor.statistics.get("nonfinite", 0):
                ax.axvspan(i - 0.5, i + 0.5, color=theme.bad, alpha=0.3, linewidth=0)
        title(ax, "values", theme)
        _roles(ax, tensors, theme)


def _picture(ax: Axes, tensor: TensorRecord, theme: Theme, room: float | None = None) -> None:
    """The values themselves: filters, matrix or vector."""
    scale = scale_of([tensor.picture], signed=tensor.form != "vector")
    if tensor.form == "filters":
        draw_filters(ax, tensor.picture, scale, theme, room)
    elif tensor.form == "matrix":
        draw_matrix(
            ax, tensor.picture, scale, scale.norm(), theme, ("row", "column" + (" (reduced)" if tensor.reduced else ""))
        )
    else:
        draw_series(ax, tensor.picture.ravel(), scale, scale.norm(), theme, (0.0, 1.0))
    _head(ax, tensor, theme)


def _head(ax: Axes, tensor: TensorRecord, theme: Theme) -> None:
    shape = " × ".join(map(str, tensor.shape)) or "scalar"
    lost = missing_note(tensor.picture).split(" of ")[0]
    facts = [
        shape,
        shortened(tensor.dtype, 16),
        "reduced" if tensor.reduced else "",
        f"{lost} not finite (hatched)" if lost else "",
    ]
    title(ax, shortened(tensor.name, 56), theme, " · ".join(filter(None, facts)))


def _statistics(tensor: TensorRecord, names: tuple[str, ...]) -> str:
    words = {"zero_share": "zeros"}
    known = [(words.get(n, n), tensor.statistics[n], n) for n in names if n in tensor.statistics]
    return "   ".join(f"{word} {100 * v:.3g} %" if n == "zero_share" else f"{word} {number(v)}" for word, v, n in known)


def _height(tensor: TensorRecord) -> float:
    if tensor.form == "filters":
        return max(filter_rows(tensor.picture, 4.6), 1.5)
    return 2.4 if tensor.form == "matrix" else 1.6


def _colors(tensors: Sequence[TensorRecord]) -> list[str]:
    """A categorical colour for every role."""
    roles = list(dict.fromkeys(t.role for t in tensors))
    known = design.palette("categorical")
    return [known[roles.index(t.role) % len(known)] for t in tensors]


def _roles(ax: Axes, tensors: Sequence[TensorRecord], theme: Theme) -> None:
    from matplotlib.lines import Line2D

    roles = {t.role: color for t, color in zip(tensors, _colors(tensors), strict=True)}
    if len(roles) < 2:
        return
    handles = [
        Line2D([], [], color=c, linewidth=5, label=shortened(r, 20) or "other") for r, c in list(roles.items())[:8]
    ]
    place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": len(handles), "borderpad": 0}
    legend = ax.legend(
        handles=handles, handlelength=0.7, labelcolor=theme.muted, fontsize=design.points("xs"), frameon=False, **place
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _points(
    ax: Axes, tensors: Sequence[TensorRecord], statistic: str, colors: list[str], theme: Theme, name: str
) -> None:
    values = np.array([t.statistics.get(statistic, np.nan) for t in tensors], dtype=float)
    ax.scatter(np.arange(len(values)), values, c=colors, s=12, linewidth=0)
    quiet(ax, theme, "y")
    title(ax, name, theme)


def _spans(ax: Axes, tensors: Sequence[TensorRecord], theme: Theme, above: tuple[Axes, ...] = ()) -> None:
    """Parts of the network, by the first words of the names, as bands with their names below."""
    spans = _parts([t.name for t in tensors])
    for i, (_, start, end) in enumerate(spans):
        for other in (ax, *above):
            other.tick_params(axis="x", length=0)
            if i % 2:
                other.axvspan(start - 0.5, end - 0.5, color=theme.raised, linewidth=0, zorder=0)
    named = _apart(spans, len(tensors) / SPANS)
    middles = [(start + end - 1) / 2 for _, start, end in named]
    ax.set_xticks(
        middles,
        [shortened(name, 18) for name, _, _ in named],
        parse_math=False,
        rotation=35,
        ha="right",
        rotation_mode="anchor",
    )
    ax.tick_params(axis="x", length=0, labelcolor=theme.muted, labelsize=design.points("xs"))


def _parts(names: list[str]) -> list[tuple[str, int, int]]:
    """Runs of names with a common beginning (name, start, end): as many words as leave the runs few."""
    best: list[tuple[str, int, int]] = []
    for words in range(1, 6):
        runs: list[tuple[str, int, int]] = []
        for i, name in enumerate(names):
            start = ".".join(name.split(".")[:-1][:words]) or name  # the last word is the tensor's own
            if runs and runs[-1][0] == start:
                runs[-1] = (start, runs[-1][1], i + 1)
            else:
                runs.append((start, i, i + 1))
        if best and len(runs) > SPANS:
            break
        best = runs
    return best


def _apart(spans: list[tuple[str, int, int]], distance: float) -> list[tuple[str, int, int]]:
    """The parts whose names have room: larger ones before smaller ones, middles at least ``distance`` columns apart."""
    kept: list[tuple[str, int, int]] = []
    for span in sorted(spans, key=lambda s: s[1] - s[2]):
        if all(abs((span[1] + span[2]) - (other[1] + other[2])) / 2 >= distance * 0.8 for other in kept):
            kept.append(span)
    return sorted(kept, key=lambda s: s[1])
