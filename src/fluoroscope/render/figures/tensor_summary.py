"""Tensors as figures: an overview of all distributions, or pictures and histograms of a few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fluoroscope.errors import OptionError, nearest
from fluoroscope.render import design
from fluoroscope.render.figures.canvas import DPI, Picture, heading, inches_of, new_figure, plain, quiet
from fluoroscope.render.figures.comparison import compared
from fluoroscope.render.figures.distribution import draw_boxes, draw_histogram, draw_log_histogram
from fluoroscope.render.figures.experts import draw_experts, expert_figure, grids_of
from fluoroscope.render.figures.filters import draw_filters, filter_rows
from fluoroscope.render.figures.label import note, number, plural, shortened, title
from fluoroscope.render.figures.margins import draw_margin, mark_outliers, mark_rows, usual_scale
from fluoroscope.render.figures.matrix import draw_matrix
from fluoroscope.render.figures.registry import Drawing, drawing
from fluoroscope.render.figures.scale import missing_note, scale_of
from fluoroscope.render.figures.spans import mark_spans
from fluoroscope.render.figures.strip import draw_series
from fluoroscope.results.pyramid import coarsest_step, reduced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.results import Array, TensorRecord, TensorSummary

__all__ = ["TensorSummaryDrawing"]

FEW = 4  # tensors that are shown one by one; more get the overview


@drawing("tensor-summary")
class TensorSummaryDrawing(Drawing):
    """Options of the drawing.

    ``tensor`` by name; ``view`` of it on given Axes: its picture, or its histogram by value or by magnitude;
    ``view="overview"`` shows the distributions of all, ``"experts"`` the tables of experts (None: the overview from
    five tensors on, pictures below). ``order`` of filters: by number, the strongest first, or like beside like.
    """

    tensor: str | None = None
    view: Literal["overview", "picture", "histogram", "log-histogram", "experts"] | None = None
    order: Literal["number", "norm", "similar"] = "number"

    def on(self, result: TensorSummary, ax: Axes, theme: Theme) -> None:
        """One tensor, or the distributions of all, on ``ax``."""
        if self.view == "experts":
            draw_experts(ax, grids_of(result)[0], None, theme)
            return
        tensors = self._tensors(result)
        view = self.view or ("picture" if len(tensors) == 1 else "overview")
        if view == "overview":
            self._boxes(tensors, ax, theme)
            mark_spans(ax, [t.name for t in tensors], theme)
        elif view == "picture":
            self._picture(ax, tensors[0], theme)
            _head(ax, tensors[0], theme)
        else:
            _histogram(ax, tensors[0], theme, by_magnitude=view == "log-histogram")
            _head(ax, tensors[0], theme)

    def figure(self, result: TensorSummary, theme: Theme) -> Picture:
        """A page of all distributions, or a row with picture and histogram for each of a few tensors."""
        if self.view == "experts":
            return expert_figure(result, theme)
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
        facts = self._remarks(result, tensors)
        with new_figure(12.4, sum(heights) + 0.5 * len(tensors) + 0.9, theme) as figure:
            rows = figure.add_gridspec(len(tensors), 3, width_ratios=(5.6, 2.6, 2.6), height_ratios=heights)
            for i, tensor in enumerate(tensors):
                self._with_margins(figure, rows[i, 0], tensor, theme)
                left, right = figure.add_subplot(rows[i, 1]), figure.add_subplot(rows[i, 2])
                _histogram(left, tensor, theme, by_magnitude=False)
                _histogram(right, tensor, theme, by_magnitude=True)
                title(left, _statistics(tensor, ("mean", "std")), theme, _statistics(tensor, ("min", "max")))
                title(right, _statistics(tensor, ("zero_share",)), theme, "by magnitude")
            heading(figure, result, theme, facts)
        return figure

    def _with_margins(self, figure: Any, place: Any, tensor: TensorRecord, theme: Theme) -> None:
        """The picture, and around a matrix the norms of its rows and columns."""
        shown = tensor.form == "matrix" and tensor.row_norms is not None and tensor.column_norms is not None
        if not shown or not tensor.size:
            ax = figure.add_subplot(place)
            self._picture(ax, tensor, theme, 5.2)
            _head(ax, tensor, theme)
            return
        inner = place.subgridspec(2, 2, height_ratios=(1, 6), width_ratios=(12, 1.2), hspace=0.02, wspace=0.02)
        top, ax, side = (figure.add_subplot(inner[i]) for i in ((0, 0), (1, 0), (1, 1)))
        self._picture(ax, tensor, theme, 5.2)
        draw_margin(top, np.asarray(tensor.column_norms), tensor.size // tensor.shape[0], False, theme)
        draw_margin(side, np.asarray(tensor.row_norms), tensor.shape[0], True, theme)
        _head(top, tensor, theme)

    def _remarks(self, result: TensorSummary, tensors: Sequence[TensorRecord]) -> list[str]:
        more = len(self._tensors(result)) - len(tensors)
        facts = [f"{more} more tensors; choose one with tensor=."] if more else []
        if any(t.form == "matrix" for t in tensors):
            cells = "Each cell of a reduced matrix shows its entry of greatest magnitude."
            facts.append(f"{cells} Strips: L2 norms of columns and rows.")
        facts += [f"{t.name}: {text}" for t in tensors if (text := _outlying(t))]
        facts += [f"{t.name}: {text}" for t in tensors if (text := _rows_text(t))]
        return facts + compared(result)

    def _overview(self, result: TensorSummary, tensors: Sequence[TensorRecord], theme: Theme) -> Picture:
        compared_ones = result.comparison is not None
        with new_figure(min(max(7.0, 3.0 + 0.062 * len(tensors)), 14.0), 6.4, theme) as figure:
            boxes, spread, zeros = figure.subplots(3, 1, sharex=True, height_ratios=(3.4, 1.4, 1.0))
            self._boxes(tensors, boxes, theme)
            colors = _colors(tensors, theme)
            first = ("relative", "relative change") if compared_ones else ("std", "standard deviation")
            _points(spread, tensors, first[0], colors, theme, first[1])
            if any(t.statistics.get(first[0], 0) > 0 for t in tensors):
                spread.set_yscale("log", nonpositive="mask", subs=(2, 5))  # more would touch one another
                low, high = spread.get_ylim()
                spread.yaxis.set_minor_formatter(lambda v, _: number(v) if high < 30 * low else "")
            second = ("cosine", "cosine of before and after") if compared_ones else ("zero_share", "near zero")
            _points(zeros, tensors, second[0], colors, theme, second[1])
            if not compared_ones:
                zeros.set_ylim(-0.05, 1.05)
                zeros.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g} %")
            mark_spans(zeros, [t.name for t in tensors], theme, (boxes, spread))
            facts = [*self._facts(tensors), *compared(result)]
            if result.grids:
                facts.append("There is a mixture of experts: view='experts' shows its tables.")
            heading(figure, result, theme, facts)
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

    def _picture(self, ax: Axes, tensor: TensorRecord, theme: Theme, room: float | None = None) -> None:
        """The values themselves: filters, matrix or vector."""
        if not tensor.size:
            plain(ax)
            note(ax, "no entries", theme)
        elif tensor.form == "filters":
            order = None if self.order == "number" else tensor.orders.get(self.order)
            scale = scale_of([tensor.picture], signed=True)
            draw_filters(ax, tensor.picture, scale, theme, room, order, _marks(tensor))
        elif tensor.form == "matrix":
            _matrix(ax, tensor, theme)
        else:
            scale = scale_of([tensor.picture])
            draw_series(ax, tensor.picture.ravel(), scale, scale.norm(), theme, (0.0, 1.0))

    def _boxes(self, tensors: Sequence[TensorRecord], ax: Axes, theme: Theme) -> None:
        draw_boxes(ax, tensors, _colors(tensors, theme), theme)
        for i, tensor in enumerate(tensors):
            if tensor.statistics.get("nonfinite", 0):
                ax.axvspan(i - 0.5, i + 0.5, color=theme.bad, alpha=0.3, linewidth=0)
        title(ax, "values", theme)
        _roles(ax, tensors, theme)


def _matrix(ax: Axes, tensor: TensorRecord, theme: Theme) -> None:
    """As many cells as there are pixels, each the entry of largest magnitude, so that none is lost in drawing."""
    across, down = (size * DPI for size in inches_of(ax))
    picture, rows = tensor.picture, max(1, tensor.shape[0])
    steps = [coarsest_step(n, max(8, int(room))) for n, room in zip(picture.shape, (down, across), strict=True)]
    picture = reduced(picture, steps[0], steps[1])
    scale, _ = usual_scale(picture)
    entries = (rows, max(1, tensor.size // rows))
    draw_matrix(ax, picture, scale, scale.norm(), theme, ("row", "column"), entries=entries)
    cells = (entries[0] / picture.shape[0], entries[1] / picture.shape[1])
    mark_outliers(ax, picture, cells, scale, theme)
    mark_rows(ax, tensor, theme)


def _histogram(ax: Axes, tensor: TensorRecord, theme: Theme, by_magnitude: bool) -> None:
    if by_magnitude and tensor.log_edges is not None and tensor.log_counts is not None:
        draw_log_histogram(ax, tensor, theme)
    else:
        draw_histogram(ax, tensor, theme)


def _outlying(tensor: TensorRecord) -> str:
    """Where the largest entry is, in words, if the colours do not reach it."""
    if tensor.form != "matrix" or not tensor.size or not tensor.peak:
        return ""
    scale, largest = usual_scale(tensor.picture)
    place = f"row {tensor.peak[0]:,}, column {tensor.peak[1]:,}"
    return f"the largest magnitude, {number(largest)}, is at {place} (circled)" if largest > scale.high else ""


def _marks(tensor: TensorRecord) -> dict[int, str]:
    """What is said beside the number of a filter: that it is dead, or which one it repeats."""
    found = {int(row): "dead" for row in (tensor.dead if tensor.dead is not None else ())}
    pairs = tensor.duplicates if tensor.duplicates is not None else ()
    return {**found, **{int(row): f"= {int(first)}" for row, first in pairs}}


def _rows_text(tensor: TensorRecord) -> str:
    """Dead rows and duplicates, in words."""
    word = "filters" if tensor.form == "filters" else "rows"
    said = []
    if tensor.dead is not None and len(tensor.dead):
        said.append(f"{len(tensor.dead):,} of {tensor.shape[0]:,} {word} dead ({_few(tensor.dead)})")
    if tensor.duplicates is not None and len(tensor.duplicates):
        pairs = [f"{a} = {b}" for a, b in tensor.duplicates[:4]]
        more = len(tensor.duplicates) - len(pairs)
        said.append(
            f"{len(tensor.duplicates):,} duplicates ({', '.join(pairs)}{f' and {more:,} more' if more else ''})"
        )
    return "; ".join(said)


def _few(numbers: Array) -> str:
    shown = ", ".join(str(int(n)) for n in numbers[:6])
    return shown + (f" and {len(numbers) - 6:,} more" if len(numbers) > 6 else "")


def _head(ax: Axes, tensor: TensorRecord, theme: Theme) -> None:
    shape = " × ".join(map(str, tensor.shape)) or "scalar"
    lost = missing_note(tensor.picture).split(" of ")[0]
    facts = [
        shape,
        shortened(tensor.dtype, 24),
        "reduced" if tensor.reduced else "",
        f"{lost} not finite (hatched)" if lost else "",
    ]
    if tensor.form == "matrix" and tensor.size and tensor.peak:
        facts.append(f"colours to ±{number(usual_scale(tensor.picture)[0].high)}")
    title(ax, shortened(tensor.name, 56), theme, " · ".join(filter(None, facts)))


def _statistics(tensor: TensorRecord, names: tuple[str, ...]) -> str:
    words = {"zero_share": "near zero"}
    known = [(words.get(n, n), tensor.statistics[n], n) for n in names if n in tensor.statistics]
    return "   ".join(f"{word} {100 * v:.3g} %" if n == "zero_share" else f"{word} {number(v)}" for word, v, n in known)


def _height(tensor: TensorRecord) -> float:
    if tensor.form == "filters":
        return max(filter_rows(tensor.picture, 4.6), 1.5)
    return 2.4 if tensor.form == "matrix" else 1.6


def _colors(tensors: Sequence[TensorRecord], theme: Theme) -> list[str]:
    """A categorical colour for every role."""
    roles = list(dict.fromkeys(t.role for t in tensors))
    known = theme.series
    return [known[roles.index(t.role) % len(known)] for t in tensors]


def _roles(ax: Axes, tensors: Sequence[TensorRecord], theme: Theme) -> None:
    from matplotlib.lines import Line2D

    roles = {t.role: color for t, color in zip(tensors, _colors(tensors, theme), strict=True)}
    if len(roles) < 2:
        return
    names, room = [], inches_of(ax)[0] * 14 - 12  # characters beside the title
    for role in list(roles)[:8]:
        name = shortened(role, 20) or "other"
        room -= len(name) + 4
        names += [(name, roles[role])] if room > 0 else []
    handles = [Line2D([], [], color=color, linewidth=5, label=name) for name, color in names]
    if not handles:
        return
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
