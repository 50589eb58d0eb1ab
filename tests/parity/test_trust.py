"""Infidelity and max-sensitivity against captum.metrics, which is given the very perturbations that ours drew.

Networks and maps are in float64 on both sides: squares of differences of scores lose half of float32's digits. What is
left is the order of sums over thousands of pixels: 1e-8 of the value.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

import fluoroscope as fs
from fluoroscope.trust.check import Check
from fluoroscope.trust.trial import Trial
from tests.parity.agreement import agree
from tests.parity.conftest import Subject

ROUNDING = 1e-8
METHOD = fs.Saliency(reduce="none")
DRAWS = 8


@pytest.fixture(params=["resnet20_cifar10", "lenet_cifar10"])
def real(request: pytest.FixtureRequest, load_asset: Any, assets: Any) -> Subject:
    """A trained network in float64 with test pictures."""
    from PIL import Image

    network, preprocess, _ = load_asset(request.param)
    files = sorted((assets / "data" / "cifar10_test20").iterdir())[:4]
    x = torch.cat([preprocess(Image.open(f).convert("RGB")) for f in files])
    return Subject(copy.deepcopy(network).double().eval(), x.double(), ())


def ours(check: Check, real: Subject) -> dict[str, np.ndarray]:
    """The check's columns, example by example."""
    trial = Trial.of(METHOD, real.network, real.inputs, None, real.predicted(), seed=0, batch_size=32)
    return {m.name: np.asarray(m.values["Saliency"]) for m in check.measures(trial)}


def gradient(real: Subject) -> Any:
    from captum.attr import Saliency

    def explained(x: Any, target: Any) -> Any:
        if isinstance(x, tuple):  # as sensitivity_max gives the inputs themselves
            return (explained(x[0], target),)
        return Saliency(real.network).attribute(x.clone().requires_grad_(), target=target, abs=False).detach()

    return explained


@pytest.mark.parametrize("baseline", ["mean", "zero"])
@pytest.mark.parametrize("scaled", [True, False])
def test_infidelity_equals_captum(captum: Any, real: Subject, baseline: str, scaled: bool) -> None:
    from captum.metrics import infidelity

    from fluoroscope.model.inputs import Inputs
    from fluoroscope.trust.places import Places

    x, targets = real.inputs, real.predicted()
    check = fs.Infidelity(subsets=DRAWS, baseline=baseline, scaled=scaled, controls=False)
    places = Places.of(Inputs((x,), {}, len(x)), METHOD(real.network, x, target=targets))
    marks = torch.as_tensor(np.concatenate([check._regions(n, places) for n in range(len(x))]))[:, None]
    empty = x.mean((2, 3), keepdim=True).expand_as(x) if baseline == "mean" else torch.zeros_like(x)
    others = empty.repeat_interleave(DRAWS, dim=0)

    def perturb(inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert torch.equal(inputs, x.repeat_interleave(DRAWS, dim=0))
        return (inputs - others) * marks, torch.where(marks, others, inputs)

    values = gradient(real)(x, targets)
    with torch.no_grad():
        theirs = infidelity(real.network, perturb, x, values, target=targets, n_perturb_samples=DRAWS, normalize=scaled)
    found = ours(check, real)
    agree(found["infidelity"][:, None], theirs[:, None], ROUNDING)
    assert (found["change left unexplained"] > 0.01).all()


def test_max_sensitivity_equals_captum(captum: Any, real: Subject) -> None:
    from captum.metrics import sensitivity_max

    from fluoroscope.model.inputs import Inputs

    x, targets = real.inputs, real.predicted()
    check = fs.MaxSensitivity(samples=DRAWS)
    drawn = torch.stack([check._changed(Inputs((x,), {}, len(x)), i).main for i in range(DRAWS)], 1).flatten(0, 1)
    reach = (x.flatten(1).amax(1) - x.flatten(1).amin(1)) * check.radius
    moved = (drawn - x.repeat_interleave(DRAWS, 0)).flatten(1).abs().amax(1)
    assert (moved <= reach.repeat_interleave(DRAWS) * (1 + 1e-12)).all()
    theirs = sensitivity_max(gradient(real), x, perturb_func=lambda _: drawn, n_perturb_samples=DRAWS, target=targets)
    found = ours(check, real)["greatest relative change"]
    agree(found[:, None], theirs.detach()[:, None], ROUNDING)
    assert (found > 0.05).all()
