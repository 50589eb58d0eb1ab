"""The tape starts at the layer; softmax, switched-off gradients and the network's own modes are seen all the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import fluoroscope as fs
from fluoroscope.model.capture import tape
from fluoroscope.model.inputs import prepare_inputs
from fluoroscope.model.modes import FunctionTap
from fluoroscope.model.study import Study


class Tail(nn.Module):
    """Two convolutions and a classifier, wrapped in ways that a watcher has to see through."""

    def __init__(self, ending: Callable[[Tensor], Tensor] = lambda scores: scores, how: str = "plain") -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.first, self.second, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3), nn.Linear(6, 5)
        self.ending, self.how, self.runs = ending, how, 0

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).relu()).relu()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "frozen":
            with torch.no_grad():
                x = self.features(x)
        elif self.how == "own mode":
            with FunctionTap({}):
                x = self.features(x)
        else:
            x = self.features(x)
        return self.ending(self.fc(x.mean((2, 3))))


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(2)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("how", ["plain", "frozen", "own mode"])
@pytest.mark.parametrize("layer", ["first", "second"])
def test_map_is_that_of_the_plain_network(how: str, layer: str, images: torch.Tensor) -> None:
    expected = fs.GradCAM(layer=layer)(Tail(), images, target=2).values
    assert expected.any()
    for ending in (lambda s: s, lambda s: s.softmax(1)):
        found = fs.GradCAM(layer=layer)(Tail(ending, how), images, target=2)
        assert abs(found.values - expected).max() <= 1e-6 * abs(expected).max()


def test_softmax_before_the_layer_is_no_ending(images: torch.Tensor) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Softmax(1), nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    result = fs.GradCAM(layer="2")(network, images, target=1)
    assert not any("softmax" in note for note in result.meta["notes"])


@pytest.mark.parametrize("how", ["plain", "frozen", "own mode"])
def test_modes_and_tape_are_as_before(how: str, images: torch.Tensor) -> None:
    network = Tail(how=how)
    depth = torch._C._len_torch_function_stack()
    with torch.no_grad():
        fs.GradCAM(layer="first")(network, images, target=0)
        assert not torch.is_grad_enabled()
    network.ending = lambda scores: scores[:, :, 7]  # fails after the layer has run
    with pytest.raises(fs.FluoroscopeError):
        fs.GradCAM(layer="first")(network, images, target=0)
    assert torch._C._len_torch_function_stack() == depth
    assert torch.is_grad_enabled()


def test_gradient_of_the_input_passes_a_frozen_backbone(images: torch.Tensor) -> None:
    subject = fs.Subject(Tail(how="frozen"))
    with Study(subject) as study:
        inputs = prepare_inputs(images, subject)
        leaf = inputs.main.clone().requires_grad_()
        taped = tape(study, inputs.with_main(leaf), [study.layer("second")])
        (gradient,) = torch.autograd.grad(taped.scores[:, 0].sum(), leaf)
    assert gradient.any()
