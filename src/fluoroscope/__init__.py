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
    "Detection": "model.tasks",
    "Similarity": "model.tasks",
    "Token": "model.tasks",
    # methods
    "Activations": "methods.activations.activations",
    "Initialization": "methods.activations.initialization",
    "GradCAM": "methods.cam.grad_cam",
    "AblationCAM": "methods.cam.ablation_cam",
    "CAM": "methods.cam.cam",
    "EigenCAM": "methods.cam.eigen_cam",
    "EigenGradCAM": "methods.cam.eigen_grad_cam",
    "ElementWiseCAM": "methods.cam.element_wise_cam",
    "FinerCAM": "methods.cam.finer_cam",
    "FullGrad": "methods.cam.full_grad",
    "GradCAMPlusPlus": "methods.cam.grad_cam_plus_plus",
    "GuidedGradCAM": "methods.cam.guided_grad_cam",
    "HiResCAM": "methods.cam.hires_cam",
    "ISCAM": "methods.cam.is_cam",
    "LayerCAM": "methods.cam.layer_cam",
    "RandomCAM": "methods.cam.random_cam",
    "SSCAM": "methods.cam.ss_cam",
    "ScoreCAM": "methods.cam.score_cam",
    "ShapleyCAM": "methods.cam.shapley_cam",
    "SmoothGradCAMPlusPlus": "methods.cam.smooth_grad_cam_plus_plus",
    "XGradCAM": "methods.cam.xgrad_cam",
    "LayerTable": "methods.architecture.layer_table",
    "Architecture": "methods.architecture.architecture",
    "NeuronView": "methods.architecture.neuron_view",
    "InputXGradient": "methods.gradient.input_x_gradient",
    "GuidedBackprop": "methods.gradient.guided_backprop",
    "Deconvnet": "methods.gradient.deconvnet",
    "SmoothGrad": "methods.gradient.smooth_grad",
    "VarGrad": "methods.gradient.var_grad",
    "SquareGrad": "methods.gradient.square_grad",
    "IntegratedGradients": "methods.gradient.integrated_gradients",
    "ExpectedGradients": "methods.gradient.expected_gradients",
    "DeepLIFT": "methods.gradient.deep_lift",
    "Saliency": "methods.gradient.saliency",
    "FeatureAblation": "methods.perturbation.feature_ablation",
    "HSIC": "methods.perturbation.hsic",
    "KernelSHAP": "methods.perturbation.kernel_shap",
    "LIME": "methods.perturbation.lime",
    "Occlusion": "methods.perturbation.occlusion",
    "RISE": "methods.perturbation.rise",
    "ShapleySampling": "methods.perturbation.shapley_sampling",
    "Sobol": "methods.perturbation.sobol",
    "WeightDifference": "methods.weights.weight_difference",
    "WeightMaps": "methods.weights.weight_maps",
    "WeightSpectrum": "methods.weights.weight_spectrum",
    "explain": "methods.explain",
    # results
    "Attribution": "results",
    "FeatureMaps": "results",
    "Findings": "results",
    "History": "results",
    "LayerSummary": "results",
    "Media": "results",
    "ModelGraph": "results",
    "write_graph": "render.exports",
    "NeuronDiagram": "results",
    "Result": "results",
    "Samples": "results",
    "Scorecard": "results",
    "Spectra": "results",
    "TensorHistory": "results",
    "TensorSummary": "results",
    "open_result": "results",
    # trust
    "Agreement": "trust.agreement",
    "Deletion": "trust.deletion",
    "Infidelity": "trust.infidelity",
    "Insertion": "trust.deletion",
    "Localization": "trust.localization",
    "MaxSensitivity": "trust.max_sensitivity",
    "PointingGame": "trust.localization",
    "ROAD": "trust.road",
    "Randomization": "trust.randomization",
    "SensitivityN": "trust.sensitivity_n",
    "check_trust": "trust.checking",
    "with_verdict": "trust.checking",
    # training
    "StopTraining": "training.diagnosis",
    "Watcher": "training.diagnosis",
    "Webhook": "training.diagnosis",
    "diagnose": "training.diagnosis",
    "open_runs": "training.store",
    "record": "training.record",
    # pages
    "report": "reporting",
    # errors
    "FluoroscopeError": "errors",
}

__all__ = [*sorted(_NAMES), "__version__"]

if TYPE_CHECKING:
    from fluoroscope.errors import FluoroscopeError
    from fluoroscope.methods.activations.activations import Activations
    from fluoroscope.methods.activations.initialization import Initialization
    from fluoroscope.methods.architecture.architecture import Architecture
    from fluoroscope.methods.architecture.layer_table import LayerTable, layers
    from fluoroscope.methods.architecture.neuron_view import NeuronView
    from fluoroscope.methods.cam.ablation_cam import AblationCAM
    from fluoroscope.methods.cam.cam import CAM
    from fluoroscope.methods.cam.eigen_cam import EigenCAM
    from fluoroscope.methods.cam.eigen_grad_cam import EigenGradCAM
    from fluoroscope.methods.cam.element_wise_cam import ElementWiseCAM
    from fluoroscope.methods.cam.finer_cam import FinerCAM
    from fluoroscope.methods.cam.full_grad import FullGrad
    from fluoroscope.methods.cam.grad_cam import GradCAM
    from fluoroscope.methods.cam.grad_cam_plus_plus import GradCAMPlusPlus
    from fluoroscope.methods.cam.guided_grad_cam import GuidedGradCAM
    from fluoroscope.methods.cam.hires_cam import HiResCAM
    from fluoroscope.methods.cam.is_cam import ISCAM
    from fluoroscope.methods.cam.layer_cam import LayerCAM
    from fluoroscope.methods.cam.random_cam import RandomCAM
    from fluoroscope.methods.cam.score_cam import ScoreCAM
    from fluoroscope.methods.cam.shapley_cam import ShapleyCAM
    from fluoroscope.methods.cam.smooth_grad_cam_plus_plus import SmoothGradCAMPlusPlus
    from fluoroscope.methods.cam.ss_cam import SSCAM
    from fluoroscope.methods.cam.xgrad_cam import XGradCAM
    from fluoroscope.methods.explain import explain
    from fluoroscope.methods.gradient.deconvnet import Deconvnet
    from fluoroscope.methods.gradient.deep_lift import DeepLIFT
    from fluoroscope.methods.gradient.expected_gradients import ExpectedGradients
    from fluoroscope.methods.gradient.guided_backprop import GuidedBackprop
    from fluoroscope.methods.gradient.input_x_gradient import InputXGradient
    from fluoroscope.methods.gradient.integrated_gradients import IntegratedGradients
    from fluoroscope.methods.gradient.saliency import Saliency
    from fluoroscope.methods.gradient.smooth_grad import SmoothGrad
    from fluoroscope.methods.gradient.square_grad import SquareGrad
    from fluoroscope.methods.gradient.var_grad import VarGrad
    from fluoroscope.methods.perturbation.feature_ablation import FeatureAblation
    from fluoroscope.methods.perturbation.hsic import HSIC
    from fluoroscope.methods.perturbation.kernel_shap import KernelSHAP
    from fluoroscope.methods.perturbation.lime import LIME
    from fluoroscope.methods.perturbation.occlusion import Occlusion
    from fluoroscope.methods.perturbation.rise import RISE
    from fluoroscope.methods.perturbation.shapley_sampling import ShapleySampling
    from fluoroscope.methods.perturbation.sobol import Sobol
    from fluoroscope.methods.weights.weight_difference import WeightDifference
    from fluoroscope.methods.weights.weight_maps import WeightMaps
    from fluoroscope.methods.weights.weight_spectrum import WeightSpectrum
    from fluoroscope.model.preprocess import ImagePreprocess
    from fluoroscope.model.spec import load
    from fluoroscope.model.subject import Subject
    from fluoroscope.model.targets import Region
    from fluoroscope.model.tasks import Detection, Similarity, Token
    from fluoroscope.render.exports import write_graph
    from fluoroscope.reporting import report
    from fluoroscope.results import (
        Attribution,
        FeatureMaps,
        Findings,
        History,
        LayerSummary,
        Media,
        ModelGraph,
        NeuronDiagram,
        Result,
        Samples,
        Scorecard,
        Spectra,
        TensorHistory,
        TensorSummary,
        open_result,
    )
    from fluoroscope.training.diagnosis import StopTraining, Watcher, Webhook, diagnose
    from fluoroscope.training.record import record
    from fluoroscope.training.store import open_runs
    from fluoroscope.trust.agreement import Agreement
    from fluoroscope.trust.checking import check_trust, with_verdict
    from fluoroscope.trust.deletion import Deletion, Insertion
    from fluoroscope.trust.infidelity import Infidelity
    from fluoroscope.trust.localization import Localization, PointingGame
    from fluoroscope.trust.max_sensitivity import MaxSensitivity
    from fluoroscope.trust.randomization import Randomization
    from fluoroscope.trust.road import ROAD
    from fluoroscope.trust.sensitivity_n import SensitivityN


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        from fluoroscope.errors import nearest

        near = nearest(name, _NAMES)
        raise AttributeError(f"module 'fluoroscope' has no attribute {name!r}" + (f"; nearest: {near}" if near else ""))
    found = getattr(importlib.import_module(f"fluoroscope.{_NAMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, *(n for n in globals() if n.startswith("__"))]
