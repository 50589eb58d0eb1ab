"""The peers: importing them without torchvision's native operators, and the way each one's own manual uses it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["GRAD_CAMS", "PEERS", "GradCamPeer", "load_peer", "versions"]

PEERS = {"captum": "captum", "torchcam": "torchcam", "pytorch_grad_cam": "grad-cam", "lime": "lime"}
"""Module and distribution of each peer."""

_LIBRARIES: list[Any] = []


def load_peer(module: str) -> ModuleType | None:
    """The peer's module, or None where it is not installed."""
    _define_torchvision_operators()
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module:
            return None
        raise


def versions() -> dict[str, str]:
    """Versions of the peers that are installed, by name of distribution."""
    found = {}
    for name in PEERS.values():
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _define_torchvision_operators() -> None:
    """torchvision's import asks for two operators of its native part, which must not be there beside a CPU torch."""
    if _LIBRARIES:
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        try:
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        except RuntimeError:  # a complete torchvision has defined it already
            continue
    _LIBRARIES.append(library)  # the definitions live as long as this object


class GradCamPeer:
    """One peer's Grad-CAM: ``run`` as its manual shows it, and ``raw`` for the map before any scaling, at the layer's
    size.
    """

    def __init__(self, name: str, module: str, run: Callable[..., Any], raw: Callable[..., Any]) -> None:
        self.name, self.module, self.run, self.raw = name, module, run, raw

    @property
    def installed(self) -> bool:
        """Whether this peer can be measured here."""
        return load_peer(self.module) is not None


def _captum(network: nn.Module, layer: str, inputs: torch.Tensor, targets: Sequence[int]) -> torch.Tensor:
    from captum.attr import LayerGradCam

    method = LayerGradCam(network, network.get_submodule(layer))
    return method.attribute(inputs, target=list(targets), relu_attributions=True)


def _captum_raw(network: nn.Module, layer: str, inputs: torch.Tensor, targets: Sequence[int]) -> np.ndarray:
    return _captum(network, layer, inputs, targets).detach()[:, 0].cpu().numpy()


def _torchcam(
    network: nn.Module, layer: str, inputs: torch.Tensor, targets: Sequence[int], normalized: bool = True
) -> torch.Tensor:
    from torchcam.methods import GradCAM

    with GradCAM(network, layer) as extractor:
        scores = network(inputs)
        return extractor(list(targets), scores, normalized=normalized)[0]


def _torchcam_raw(network: nn.Module, layer: str, inputs: torch.Tensor, targets: Sequence[int]) -> np.ndarray:
    return _torchcam(network, layer, inputs, targets, normalized=False).cpu().numpy()


def _grad_cam(network: nn.Module, layer: str, inputs: torch.Tensor, targets: Sequence[int]) -> np.ndarray:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with GradCAM(model=network, target_layers=[network.get_submodule(layer)]) as cam:
        return cam(input_tensor=inputs, targets=[ClassifierOutputTarget(t) for t in targets])


def _grad_cam_raw(network: nn.Module, layer: str, inputs: torch.Tensor, targets: Sequence[int]) -> np.ndarray:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    module = network.get_submodule(layer)
    wanted = [ClassifierOutputTarget(t) for t in targets]
    with GradCAM(model=network, target_layers=[module]) as cam:
        cam(input_tensor=inputs, targets=wanted)
        seen = cam.activations_and_grads
        activations, gradients = seen.activations[0].numpy(), seen.gradients[0].numpy()
        return np.maximum(cam.get_cam_image(inputs, module, wanted, activations, gradients), 0)


GRAD_CAMS = (
    GradCamPeer("captum LayerGradCam", "captum", _captum, _captum_raw),
    GradCamPeer("torchcam GradCAM", "torchcam", _torchcam, _torchcam_raw),
    GradCamPeer("pytorch-grad-cam GradCAM", "pytorch_grad_cam", _grad_cam, _grad_cam_raw),
)
