"""Saliency against captum: the signed gradient for each channel, and its largest magnitude over the channels."""

from __future__ import annotations

from typing import Any

import torch

import fluoroscope as fs
from tests.parity.agreement import agree
from tests.parity.conftest import Subject


def theirs(subject: Subject, targets: list[int], absolute: bool) -> torch.Tensor:
    from captum.attr import Saliency

    inputs = subject.inputs.clone().requires_grad_()
    return Saliency(subject.network).attribute(inputs, target=targets, abs=absolute).detach()


def test_trained_networks(captum: Any, trained: Subject) -> None:
    for targets in (trained.predicted(), trained.second()):
        ours = fs.Saliency()(trained.network, trained.inputs, target=targets)
        agree(ours.values, theirs(trained, targets, absolute=True).amax(1))


def test_every_kind_of_relu(captum: Any, small: Subject) -> None:
    targets = small.predicted()
    agree(fs.Saliency()(small.network, small.inputs, target=targets).values, theirs(small, targets, True).amax(1))


def test_signed_gradient(captum: Any, small: Subject) -> None:
    targets = small.second()
    ours = fs.Saliency(reduce="none")(small.network, small.inputs, target=targets)
    agree(ours.values, theirs(small, targets, absolute=False))
