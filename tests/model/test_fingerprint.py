"""The fingerprint tells networks apart, also one network before and after a change, however the change was made."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from fluoroscope.model.subject import fingerprint


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 4))


def step(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.01


def write_through_data(model: nn.Module) -> None:
    """As averaged weights are often updated: no counter of changes sees it."""
    for parameter in model.parameters():
        parameter.data.mul_(0.99)


def replace_data(model: nn.Module) -> None:
    model[3].weight.data = model[3].weight.data + 1


def load(model: nn.Module) -> None:
    model.load_state_dict({k: v + 1 for k, v in model.state_dict().items()})


def new_parameter(model: nn.Module) -> None:
    model[0].weight = nn.Parameter(model[0].weight.detach() + 1)


CHANGES = [step, write_through_data, replace_data, load, new_parameter]


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
def test_a_change_is_seen(change: Callable[[nn.Module], None]) -> None:
    model = network()
    before = fingerprint(model)
    assert fingerprint(model) == before == fingerprint(network())
    change(model)
    assert fingerprint(model) != before


def test_layout_in_memory_does_not_matter() -> None:
    assert fingerprint(network().to(memory_format=torch.channels_last)) == fingerprint(network())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtype_matters(dtype: torch.dtype) -> None:
    assert fingerprint(network().to(dtype)) != fingerprint(network())


def test_unusual_tensors() -> None:
    model = network()
    model.register_buffer("flags", torch.tensor([True, False]))
    model.register_buffer("counts", torch.arange(200, dtype=torch.int8))
    model.register_buffer("empty", torch.zeros(0))
    model.register_buffer("phase", torch.ones(3, dtype=torch.complex64))
    model.add_module("later", nn.LazyLinear(3))
    model.add_module("again", model[3])
    first = fingerprint(model)
    model.counts[0] = 9
    assert fingerprint(model) != first
    with torch.inference_mode():
        model.register_buffer("frozen", torch.ones(2))
    second = fingerprint(model)
    with torch.inference_mode():
        model.frozen += 1
    assert fingerprint(model) not in (first, second)


def test_meta_network() -> None:
    with torch.device("meta"):
        model = nn.Linear(3, 4)
    assert fingerprint(model) == fingerprint(model)
