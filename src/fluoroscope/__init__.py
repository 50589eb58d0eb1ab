"""Fluoroscope shows people the inside of a deep network: before training, during it, after it, and at inference.

>>> import fluoroscope as fs
>>> maps = fs.GradCAM()(model, images, target=281)      # doctest: +SKIP
>>> maps.plot()                                         # doctest: +SKIP

Names load on first use, so that importing the package costs nothing: neither torch nor matplotlib comes with it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_NAMES = {
    # the network under study
    "Subject": "model.subject",
    "layers": "methods.architecture.layer_table",
    "load": "model.spec",
    "ImagePreprocess": "model.preprocess",
    "Region": "model.targets",
    # methods
    "Activations": "methods.activations.activations",
    "GradCAM": "methods.cam.grad_cam",
    "LayerTable": "methods.architecture.layer_table",
    "Saliency": "methods.gradient.saliency",
    "WeightMaps": "methods.weights.weight_maps",
    "explain": "methods.explain",
    # results
    "Attribution": "results",
    "FeatureMaps": "results",
    "History": "results",
    "LayerSummary": "results",
    "Result": "results",
    "Samples": "results",
    "Scorecard": "results",
    "TensorSummary": "results",
    "open_result": "results",
    # pages
    "report": "reporting",
    # errors
    "FluoroscopeError": "errors",
}

__all__ = [*sorted(_NAMES), "__version__"]

if TYPE_CHECKING:
    from fluoroscope.errors import FluoroscopeError
    from fluoroscope.methods.activations.activations import Activations
    from fluoroscope.methods.architecture.layer_table import LayerTable, layers
    from fluoroscope.methods.cam.grad_cam import GradCAM
    from fluoroscope.methods.explain import explain
    from fluoroscope.methods.gradient.saliency import Saliency
    from fluoroscope.methods.weights.weight_maps import WeightMaps
    from fluoroscope.model.preprocess import ImagePreprocess
    from fluoroscope.model.spec import load
    from fluoroscope.model.subject import Subject
    from fluoroscope.model.targets import Region
    from fluoroscope.reporting import report
    from fluoroscope.results import (
        Attribution,
        FeatureMaps,
        History,
        LayerSummary,
        Result,
        Samples,
        Scorecard,
        TensorSummary,
        open_result,
    )


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'fluoroscope' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"fluoroscope.{_NAMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, *(n for n in globals() if n.startswith("__"))]
