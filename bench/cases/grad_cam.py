"""Grad-CAM on the last stage of a ResNet-50: against a bare forward, and against the peers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

import fluoroscope as fs
from bench.case import Bar, Row, Setting, Unmeasured, case
from bench.equality import difference, same_values
from bench.memory import saved_bytes
from bench.networks import pictures, resnet50
from bench.peers import GRAD_CAMS, GradCamPeer
from bench.timing import ratio_row, time_pair

LAYER = "layer4"
REPEATED = 3
FORWARD = Bar(1.10)
FASTER = {"captum": Bar(2, at_least=True), "torchcam": Bar(2, at_least=True), "pytorch_grad_cam": Bar(6, at_least=True)}
MEMORY = Bar(0.05)


@case("grad-cam", "Grad-CAM on the last stage")
def grad_cam(setting: Setting) -> Iterator[Row | Unmeasured]:
    """`fs.GradCAM(layer="layer4")` on a network of ResNet-50's shape at 224 x 224, for the class that the network
    predicts. Values are the raw maps at the layer's own 7 x 7 positions, after the ReLU and before any scaling or
    enlarging; their difference is a share of the largest value of the same map. Times are those of each library's
    documented call, from input to map (captum with `relu_attributions=True`; torchcam's and pytorch-grad-cam's calls
    also scale the map, and the latter enlarges it). Memory is what autograd saves for the backward, each storage once,
    the network's own tensors left out. captum and torchcam, in the versions measured here, also go back no further
    than the layer: against them time is saved where the memory that they keep costs time, and by running the part
    before the layer as a program, from the third call with the same network and shape on. What is timed and compared
    are such calls; the proof that the network is unchanged is part of their time. Beside each difference of values
    stands how far both sides are from the map of the same network in float64.
    """
    network = resnet50(setting.device)
    for batch in setting.batches:
        yield from _against_forward(network, batch, setting)
        for peer in GRAD_CAMS:
            yield from _against_peer(peer, network, batch, setting)


def _ours(network: torch.nn.Module, inputs: torch.Tensor, targets: list[int]) -> Callable[[], fs.Attribution]:
    return lambda: fs.GradCAM(layer=LAYER)(network, inputs, target=targets)


def _predicted(network: torch.nn.Module, inputs: torch.Tensor) -> list[int]:
    """The predicted classes: for another class the whole map may be zero, and zeros prove nothing."""
    with torch.inference_mode():
        return network(inputs).argmax(1).tolist()


def _against_forward(network: torch.nn.Module, batch: int, setting: Setting) -> Iterator[Row]:
    inputs = pictures(batch, device=setting.device)

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return network(inputs)

    pair = time_pair(_ours(network, inputs, _predicted(network, inputs)), forward, rounds=setting.rounds)
    yield ratio_row(f"batch {batch}: time, in bare inference_mode forwards", pair, FORWARD, "ours", "a forward")


def _from_double(network: torch.nn.Module, inputs: torch.Tensor, targets: list[int], ours: Any, theirs: Any) -> str:
    if inputs.device.type != "cpu":
        return ""
    truth = _ours(copy.deepcopy(network).double(), inputs.double(), targets)().values
    return f"from float64: ours {difference(ours, truth):.1e}, theirs {difference(theirs, truth):.1e}"


def _against_peer(
    peer: GradCamPeer, network: torch.nn.Module, batch: int, setting: Setting
) -> Iterator[Row | Unmeasured]:
    title = f"batch {batch}: {peer.name}"
    if not peer.installed:
        yield Unmeasured(title, "not installed")
        return
    inputs = pictures(batch, device=setting.device)
    targets = _predicted(network, inputs)
    ours = _ours(network, inputs, targets)

    def theirs() -> object:
        return peer.run(network, LAYER, inputs, targets)

    raw = peer.raw(network, LAYER, inputs, targets)
    for _ in range(REPEATED):
        ours()
    found = ours().values
    row = same_values(f"{title}, difference of values", found, raw, setting)
    yield replace(row, detail=_from_double(network, inputs, targets, found, raw))
    saved, others = saved_bytes(ours, network), saved_bytes(theirs, network)
    detail = f"{saved:,} of {others:,} bytes"
    yield Row(f"{title}, our memory for autograd / theirs", saved / others, "of theirs", MEMORY, detail=detail)
    pair = time_pair(theirs, ours, rounds=setting.rounds)
    yield ratio_row(f"{title}, its time / ours", pair, FASTER[peer.module], "theirs", "ours")
