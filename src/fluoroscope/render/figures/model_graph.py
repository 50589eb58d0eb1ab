"""The graph of a network as a figure: the nested flow diagram, or the slabs of a CNN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fluoroscope.render.figures.canvas import Picture, heading, new_figure
from fluoroscope.render.figures.label import amount, plural
from fluoroscope.render.figures.registry import Drawing, drawing
from fluoroscope.render.figures.sheet import draw_sheet
from fluoroscope.render.graph.flow import FlowOptions, flow_sheet
from fluoroscope.render.graph.slab import slab_sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.render.graph.sheet import Sheet
    from fluoroscope.results import ModelGraph

__all__ = ["ModelGraphDrawing"]

LARGEST = 40.0  # inches; a picture that would be larger is made smaller, lines and type with it
LEAST = 4.2
HEADING = 0.6


@drawing("model-graph")
class ModelGraphDrawing(FlowOptions, Drawing):
    """Options of the picture.

    ``style`` is ``"flow"`` or ``"slab"``; ``depth`` how many levels of modules are open (None: as many as are
    readable); ``color_by`` is ``"class"``, ``"parameters"``, ``"flops"``, ``"activations"``, ``"none"`` or numbers by
    name of node; ``direction`` is ``"down"`` or ``"right"``; ``shapes`` on wires are ``"changes"``, ``"all"`` or
    ``"none"``. Shown or not: ``dtypes``, ``costs``, ``names``, ``attributes`` (such as kernel sizes, each cut to
    ``attribute_length`` characters), ``trainable``, ``saved`` (tensors kept for the backward), ``hubs``, ``legend``.
    """

    style: Literal["flow", "slab"] = "flow"

    def on(self, result: ModelGraph, ax: Axes, theme: Theme) -> None:
        """The diagram on ``ax``, as large as fits."""
        draw_sheet(ax, self.sheet(result, theme))

    def figure(self, result: ModelGraph, theme: Theme) -> Picture:
        """The diagram at its natural size, with the totals below."""
        sheet = self.sheet(result, theme)
        shrink = min(1.0, LARGEST * 72 / max(sheet.width, sheet.height))
        width, height = sheet.width * shrink / 72, sheet.height * shrink / 72
        with new_figure(max(width, LEAST), height + HEADING, theme) as figure:
            draw_sheet(figure.subplots(), sheet, (max(width, LEAST), height))
            heading(figure, result, theme, self._facts(result))
        return figure

    def sheet(self, result: ModelGraph, theme: Theme) -> Sheet:
        """The marks of the diagram."""
        if self.style == "slab":
            return slab_sheet(result, theme, self.color_by, self.depth)
        return flow_sheet(result, theme, self)

    def _facts(self, result: ModelGraph) -> list[str]:
        facts = []
        costs = [f"{amount(result.parameters)} parameters"] if result.parameters else []
        costs += [f"{amount(result.flops)} FLOPs"] if result.flops else []
        costs += [plural(result.operations, "operation")] if result.operations else []
        if costs and not result.caption:
            facts.append(", ".join(costs) + ".")
        if not result.complete:
            facts.append("The trace ended early: what follows the box with the red frame is missing.")
        if any(n.assumed for n in result.nodes):
            facts.append("Dashed frames: something had to be assumed there.")
        return facts
