"""What was found: a dozen kinds of result, NumPy only, that know no method."""

from fluoroscope.results.attribution import Attribution
from fluoroscope.results.feature_maps import FeatureMaps
from fluoroscope.results.findings import Finding, Findings
from fluoroscope.results.history import History, Series
from fluoroscope.results.layer_summary import LayerRow, LayerSummary
from fluoroscope.results.media import ImageSeries, Media, TextSeries
from fluoroscope.results.model_graph import GraphEdge, GraphNode, GraphTensor, ModelGraph
from fluoroscope.results.neuron_diagram import NeuronDiagram, NeuronLayer
from fluoroscope.results.record import Array, Record, joined
from fluoroscope.results.result import Result, Samples
from fluoroscope.results.scorecard import Scorecard
from fluoroscope.results.spectra import SPECTRAL, Spectra, Spectrum
from fluoroscope.results.store import atomic_write, open_result, save
from fluoroscope.results.tensor_history import TensorHistograms, TensorHistory
from fluoroscope.results.tensor_summary import STATISTICS, Comparison, ExpertGrid, TensorRecord, TensorSummary

__all__ = [
    "SPECTRAL",
    "STATISTICS",
    "Array",
    "Attribution",
    "Comparison",
    "ExpertGrid",
    "FeatureMaps",
    "Finding",
    "Findings",
    "GraphEdge",
    "GraphNode",
    "GraphTensor",
    "History",
    "ImageSeries",
    "LayerRow",
    "LayerSummary",
    "Media",
    "ModelGraph",
    "NeuronDiagram",
    "NeuronLayer",
    "Record",
    "Result",
    "Samples",
    "Scorecard",
    "Series",
    "Spectra",
    "Spectrum",
    "TensorHistograms",
    "TensorHistory",
    "TensorRecord",
    "TensorSummary",
    "TextSeries",
    "atomic_write",
    "joined",
    "open_result",
    "save",
]
