"""Neurons and weights of a small network as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fluoroscope.errors import OptionError
from fluoroscope.render.figures.canvas import Picture, heading, new_figure
from fluoroscope.render.figures.label import clean
from fluoroscope.render.figures.registry import Drawing, drawing
from fluoroscope.render.figures.sheet import draw_sheet
from fluoroscope.render.graph.neurons import neuron_sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fluoroscope.render.design import Theme
    from fluoroscope.render.graph.sheet import Sheet
    from fluoroscope.results import NeuronDiagram

__all__ = ["NeuronDiagramDrawing"]

HEADING = 0.75


@drawing("neuron-diagram")
class NeuronDiagramDrawing(Drawing):
    """Options: ``example``, the number of the input whose activations are shown; ``lines``, ``"weights"`` or ``"flow"``
    (weight x activation, what each adds for this input); ``neurons``, how many of each column are shown.
    """

    example: int = 0
    lines: Literal["weights", "flow"] = "weights"
    neurons: int = 16

    def on(self, result: NeuronDiagram, ax: Axes, theme: Theme) -> None:
        """The diagram on ``ax``, as large as fits."""
        draw_sheet(ax, self.sheet(result, theme))

    def figure(self, result: NeuronDiagram, theme: Theme) -> Picture:
        """The diagram at its natural size."""
        sheet = self.sheet(result, theme)
        width, height = max(sheet.width / 72, 4.5), sheet.height / 72
        with new_figure(width, height + HEADING, theme) as figure:
            draw_sheet(figure.subplots(), sheet, (width, height))
            names = result.samples.names
            shown = f"Activations of {clean(names[self.example])}." if self.example < len(names) else ""
            heading(figure, result, theme, [shown])
        return figure

    def sheet(self, result: NeuronDiagram, theme: Theme) -> Sheet:
        """The marks of the diagram. Raises OptionError for an example that is not there."""
        count = len(result.layers[0].after)
        if self.example >= count:
            raise OptionError(
                "example of the drawing of neuron-diagram", got=self.example, expected=f"a number from 0 to {count - 1}"
            )
        return neuron_sheet(result, theme, self.example, self.lines, max(1, self.neurons))
