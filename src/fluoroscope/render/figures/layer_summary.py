"""The table of layers as a figure, with bars for where the parameters and the arithmetic are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.patches import Rectangle

from fluoroscope.render import design
from fluoroscope.render.figures.canvas import CHARACTERS_PER_INCH, Picture, heading, inches_of, new_figure, plain
from fluoroscope.render.figures.label import amount, plural, shortened
from fluoroscope.render.figures.registry import Drawing, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.results import LayerRow, LayerSummary

__all__ = ["LayerSummaryDrawing"]

WIDTH = 9.6  # inches
ROW = 0.225
WIDE = {"layer": 0.0, "type": 0.32, "output": 0.50, "parameters": 0.68, "FLOPs": 0.85}  # left edges
NARROW = {"layer": 0.0, "parameters": 0.46, "FLOPs": 0.74}  # for Axes without room for all columns
ROOM = 6.5  # inches from which all columns fit
WHOLE = 40  # rows that are readable at a glance; deeper levels are left out where there are more
MOST = 80


@drawing("layer-summary")
class LayerSummaryDrawing(Drawing):
    """Options: ``depth``, the deepest level shown (None: as deep as stays readable)."""

    depth: int | None = None

    def on(self, result: LayerSummary, ax: Axes, theme: Theme) -> None:
        """The table on ``ax``."""
        self._draw(result, ax, theme, None)

    def figure(self, result: LayerSummary, theme: Theme) -> Picture:
        """The table, as high as its rows need, with the totals above."""
        rows, _ = self._rows(result)
        with new_figure(WIDTH, ROW * (len(rows) + 1.6) + 1.1, theme) as figure:
            self._draw(result, figure.subplots(), theme, WIDTH)
            heading(figure, result, theme, self._facts(result))
        return figure

    def _rows(self, result: LayerSummary) -> tuple[list[LayerRow], int]:
        """The rows shown and the deepest level among them."""
        deepest = max((r.depth for r in result.rows), default=0)
        if self.depth is not None:
            level = self.depth
        else:
            levels = range(deepest, min((r.depth for r in result.rows), default=0) - 1, -1)
            level = next((d for d in levels if sum(r.depth <= d for r in result.rows) <= WHOLE), 1)
        return [r for r in result.rows if r.depth <= level][:MOST], min(level, deepest)

    def _facts(self, result: LayerSummary) -> list[str]:
        rows, level = self._rows(result)
        totals = f"{amount(result.parameters)} parameters, {amount(result.trainable)} of them trainable"
        facts = [
            f"{totals}; {amount(result.flops)} FLOPs for this input.",
            "Bars: share of the whole; grey where layers are inside.",
        ]
        if len(rows) < len(result.rows):
            facts.append(
                f"{len(rows)} of {plural(len(result.rows), 'module')}: levels 0 to {level}; choose with depth=."
            )
        return facts

    def _draw(self, result: LayerSummary, ax: Axes, theme: Theme, inches: float | None) -> None:
        rows, _ = self._rows(result)
        plain(ax)
        ax.set(xlim=(0, 1), ylim=(len(rows) + 0.1, -1.2))
        width = inches or inches_of(ax)[0]
        columns = WIDE if width >= ROOM else NARROW
        for name, left in columns.items():
            _text(ax, left, -0.6, name, theme.muted)
        ax.axhline(-0.05, color=theme.line, linewidth=0.8)
        least = min((r.depth for r in rows), default=0)
        for i, row in enumerate(rows):
            if i % 2:
                ax.add_patch(Rectangle((0, i), 1, 1, facecolor=theme.raised, alpha=0.5, linewidth=0))
            _words(ax, row, i, columns, width, 0.014 * min(row.depth - least, 8), theme)
            _bar(ax, columns["parameters"], i, row.parameters, result.parameters, row.leaf, theme)
            _bar(ax, columns["FLOPs"], i, row.flops, result.flops, row.leaf, theme)


def _words(
    ax: Axes, row: LayerRow, i: int, columns: dict[str, float], width: float, indent: float, theme: Theme
) -> None:
    """Name, type and output shape, each cut to the room that its column has."""
    shape = " × ".join(map(str, row.output_shape)) if row.output_shape else ("not run" if not row.calls else "—")
    words = {"layer": row.name or "(the model)", "type": row.type, "output": shape}
    edges = list(columns.values())
    for column, left, right in zip(columns, edges, edges[1:], strict=False):
        if column in words:
            inside = indent if column == "layer" else 0.0
            fitting = max(6, int((right - left - inside) * width * CHARACTERS_PER_INCH) - 2)
            first = column == "layer"
            weight = "bold" if first and not row.leaf else "normal"
            color = theme.text if first else theme.muted
            _text(ax, left + inside, i + 0.5, shortened(words[column], fitting), color, weight=weight)


def _bar(ax: Axes, left: float, i: int, value: int, total: int, leaf: bool, theme: Theme) -> None:
    """A bar for the share of the whole, and the number beside it."""
    room = 0.5 * (1 - WIDE["FLOPs"])
    color = theme.accent if leaf else theme.muted
    length = room * value / total if total else 0
    ax.add_patch(Rectangle((left, i + 0.2), length, 0.6, facecolor=color, alpha=1 if leaf else 0.45, linewidth=0))
    _text(ax, left + room + 0.008, i + 0.5, amount(value) if value else "–", theme.text if value else theme.muted)


def _text(ax: Axes, x: float, y: float, text: str, color: str, **style: Any) -> None:
    size = design.points("xs")
    ax.text(x, y, text, color=color, fontsize=size, va="center_baseline", parse_math=False, clip_on=True, **style)
