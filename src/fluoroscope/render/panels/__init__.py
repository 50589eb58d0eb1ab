"""Panels of the page: one file per kind of result. A builder says for which kind it is; nothing here knows a method."""

from fluoroscope.render.panels import (
    attribution,
    feature_maps,
    findings,
    history,
    layer_summary,
    media,
    model_graph,
    neuron_diagram,
    scorecard,
    spectra,
    tensor_history,
    tensor_summary,
)
from fluoroscope.render.panels.registry import Panel, PanelError, builder, kinds, panels_of

__all__ = [
    "Panel",
    "PanelError",
    "attribution",
    "builder",
    "feature_maps",
    "findings",
    "history",
    "kinds",
    "layer_summary",
    "media",
    "model_graph",
    "neuron_diagram",
    "panels_of",
    "scorecard",
    "spectra",
    "tensor_history",
    "tensor_summary",
]
