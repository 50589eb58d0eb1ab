"""SVG: the drawing as a file of its own, without matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fluoroscope.render import design
from fluoroscope.render.graph.svg import svg_text

if TYPE_CHECKING:
    from fluoroscope.results import ModelGraph

__all__ = ["svg_of"]


def svg_of(graph: ModelGraph, **options: Any) -> str:
    """The drawing with the ``options`` of :meth:`ModelGraph.plot`, text as text. Raises OptionError."""
    from fluoroscope.render.figures.model_graph import ModelGraphDrawing
    from fluoroscope.render.figures.registry import prepared

    how = prepared("model-graph", options)
    if not isinstance(how, ModelGraphDrawing):
        raise TypeError(type(how).__name__)
    theme = design.theme(bool(how.dark))
    return svg_text(how.sheet(graph, theme), theme)
