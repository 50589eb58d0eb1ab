"""Grad-CAM against captum, torchcam and pytorch-grad-cam, on the raw maps at the layer's own resolution."""

from __future__ import annotations

from typing import Any

import pytest

import fluoroscope as fs
from tests.parity.agreement import agree
from tests.parity.conftest import Subject


@pytest.mark.parametrize("rank", ["predicted", "second"])
def test_trained_networks(grad_cam_peer: Any, trained: Subject, rank: str) -> None:
    targets = trained.predicted() if rank == "predicted" else trained.second()
    for layer in trained.layers:
        ours = fs.GradCAM(layer=layer)(trained.network, trained.inputs, target=targets)
        agree(ours.values, grad_cam_peer.raw(trained.network, layer, trained.inputs, targets))


def test_every_kind_of_relu(grad_cam_peer: Any, small: Subject) -> None:
    targets = small.predicted()
    for layer in small.layers:
        ours = fs.GradCAM(layer=layer)(small.network, small.inputs, target=targets)
        agree(ours.values, grad_cam_peer.raw(small.network, layer, small.inputs, targets))


def test_layer_found_is_the_peers_last_stage(grad_cam_peer: Any, trained: Subject) -> None:
    """Without a layer: what is found gives the peer's map at the stage that its users name."""
    targets = trained.predicted()
    found = fs.GradCAM()(trained.network, trained.inputs, target=targets)
    agree(found.values, grad_cam_peer.raw(trained.network, trained.layers[0], trained.inputs, targets))


def test_a_planted_fault_is_found(grad_cam_peer: Any, small: Subject) -> None:
    ours = fs.GradCAM(layer="block")(small.network, small.inputs, target=small.predicted()).values.copy()
    ours[0, 0, 0] += 1e-4 * ours[0].max()
    with pytest.raises(AssertionError, match="of the largest value"):
        agree(ours, grad_cam_peer.raw(small.network, "block", small.inputs, small.predicted()))
