"""Saliency on a ResNet-50: against a bare forward, and against captum."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

import fluoroscope as fs
from bench.case import Bar, Row, Setting, Unmeasured, case
from bench.equality import same_values
from bench.networks import pictures, resnet50
from bench.peers import load_peer
from bench.timing import ratio_row, time_pair

FORWARD = Bar(2.1)
LENGTH = 0.05
REPEATED = 3


@case("saliency", "Saliency")
def saliency(setting: Setting) -> Iterator[Row | Unmeasured]:
    """`fs.Saliency()` on the same network and classes, against one bare `inference_mode` forward, and against captum's
    Saliency. Values are the largest magnitude over the channels, (N, 224, 224), taken from captum's per-channel result
    in the same way. A bare gradient is what torch itself needs with frozen parameters, without any library: forward on
    the tape, `autograd.grad` with respect to the input. The first two calls with a network run it as torch does, and
    give captum's numbers. Later calls run a program; that adds up in another order, so that some rectifiers whose
    input is zero up to rounding open or close, which moves single pixels by up to some percent. So does captum's own
    arithmetic against the same network in float64: the length of the difference from that gradient, as a share of its
    length, is given for both, and the map of the program may differ from captum's by 5 % of the length at most.
    """
    network = resnet50(setting.device)
    for batch in setting.batches:
        yield from _batch(network, pictures(batch, device=setting.device), setting)


def _batch(network: torch.nn.Module, inputs: torch.Tensor, setting: Setting) -> Iterator[Row | Unmeasured]:
    with torch.inference_mode():
        targets = network(inputs).argmax(1).tolist()
    title = f"batch {len(inputs)}"

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return network(inputs)

    def ours() -> fs.Attribution:
        return fs.Saliency()(network, inputs, target=targets)

    def theirs() -> torch.Tensor:
        from captum.attr import Saliency

        return Saliency(network).attribute(inputs.clone().requires_grad_(), target=targets)

    def bare() -> torch.Tensor:
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        leaf = inputs.clone().requires_grad_()
        scores = network(leaf).gather(1, torch.as_tensor(targets, device=inputs.device)[:, None])
        gradient = torch.autograd.grad(scores.sum(), leaf)[0]
        for parameter in network.parameters():
            parameter.requires_grad_(True)
        return gradient

    captum = load_peer("captum") is not None
    if captum:
        found = theirs().amax(1).cpu().numpy()
        yield same_values(f"{title}: captum Saliency, difference of values, first call", ours().values, found, setting)
        yield _later(title, network, inputs, targets, ours, found)
    pair = time_pair(ours, forward, rounds=setting.rounds)
    yield ratio_row(f"{title}: time, in bare inference_mode forwards", pair, FORWARD, "ours", "a forward")
    pair = time_pair(bare, forward, rounds=setting.rounds)
    yield ratio_row(f"{title}: a bare gradient, in bare inference_mode forwards", pair, None, "it", "a forward")
    pair = time_pair(ours, bare, rounds=setting.rounds)
    yield ratio_row(f"{title}: time, in bare gradients", pair, None, "ours", "a bare gradient")
    if not captum:
        yield Unmeasured(f"{title}: captum Saliency", "not installed")
        return
    pair = time_pair(theirs, ours, rounds=setting.rounds)
    yield ratio_row(f"{title}: captum Saliency, its time / ours", pair, None, "theirs", "ours")


def _later(
    title: str, network: torch.nn.Module, inputs: torch.Tensor, targets: list[int], ours: Any, theirs: Any
) -> Row:
    """How far the map of later calls is from captum's, and both from float64's."""
    for _ in range(REPEATED):
        ours()
    found, detail = ours().values, ""
    if inputs.device.type == "cpu":
        truth = fs.Saliency()(copy.deepcopy(network).double(), inputs.double(), target=targets).values
        detail = f"from float64: ours {_apart(found, truth):.1e}, theirs {_apart(theirs, truth):.1e}"
    name = f"{title}: captum Saliency, length of the difference, later calls"
    return Row(name, _apart(found, theirs), "of the length", Bar(LENGTH), detail=detail, values=True)


def _apart(ours: Any, theirs: Any) -> float:
    a, b = (np.asarray(v, np.float64).reshape(len(v), -1) for v in (ours, theirs))
    return float((np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max())
