"""Trainings with a fault in the data: order, labels, inputs, too few of them, a leak."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tests.diagnosis.programs.data import Data, clouds, digits
from tests.diagnosis.programs.fitting import fit
from tests.diagnosis.programs.networks import cnn, mlp, residual
from tests.diagnosis.programs.program import Lab, faulty


@faulty("chance-level", also=("plateau",))
def random_labels(lab: Lab) -> None:
    """Labels that have nothing to do with the inputs."""
    data = clouds(lab.seed, classes=10, count=6000)
    data = data.replace(y=data.y[torch.randperm(len(data.y))], vy=data.vy[torch.randperm(len(data.vy))])
    model = mlp(12, 32, 10)
    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-3), data, steps=300, classes=10)


@faulty("chance-level", also=("plateau", "unchanged-parameters", "dead-units"))
def inputs_all_zero(lab: Lab) -> None:
    """A loader that hands out blank images."""
    data = digits(lab.seed, images=True)
    data = data.replace(x=torch.zeros_like(data.x), vx=torch.zeros_like(data.vx))
    model = cnn(norm=False)
    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-3), data, classes=10)


@faulty("chance-level", also=("plateau", "overfitting"))
def labels_shuffled_apart(lab: Lab) -> None:
    """Inputs are shuffled each epoch and labels are not."""
    data = digits(lab.seed)

    def stream() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(8):
            order = torch.randperm(len(data.y))
            for i in range(0, 1280, 32):
                yield data.x[order[i : i + 32]], data.y[i : i + 32]

    model = mlp(64, 48, 10)
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.02, momentum=0.9), data, stream=stream(), classes=10)


@faulty("chance-level", also=("overfitting", "plateau"))
def memorizes_random_labels(lab: Lab) -> None:
    """A large network learns random labels by heart; validation never beats chance."""
    data = digits(lab.seed).few(256)
    data = data.replace(y=data.y[torch.randperm(256)])
    model = mlp(64, 256, 256, 10)
    fit(lab, model, torch.optim.Adam(model.parameters(), 2e-3), data, steps=400, classes=10)


def _sorted(data: Data) -> Data:
    order = data.y.argsort(stable=True)
    return data.replace(x=data.x[order], y=data.y[order])


@faulty(
    "data-order",
    also=("loss-spikes", "overfitting", "exploding-gradients", "learning-rate-high", "plateau", "diverging"),
)
def sorted_by_class(lab: Lab) -> None:
    """Digits come sorted by class, epoch after epoch."""
    model = mlp(64, 48, 10)
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.5)
    fit(lab, model, optimizer, _sorted(digits(lab.seed)), steps=320, shuffle=False, classes=10)


@faulty(
    "data-order",
    also=("loss-spikes", "overfitting", "exploding-gradients", "learning-rate-high", "plateau", "diverging"),
)
def sorted_clouds(lab: Lab) -> None:
    """Four classes one after the other, Adam."""
    model = mlp(12, 32, 4)
    data = _sorted(clouds(lab.seed, spread=1.5))
    fit(lab, model, torch.optim.Adam(model.parameters(), 2e-3), data, steps=300, shuffle=False, classes=4)


@faulty("overfitting")
def too_few_examples(lab: Lab) -> None:
    """Eighty noisy examples and a large network."""
    data = clouds(lab.seed, classes=4, spread=2.6).few(80)
    model = mlp(12, 128, 128, 4)
    fit(lab, model, torch.optim.Adam(model.parameters(), 3e-3), data, steps=300, every=10, classes=4)


@faulty("overfitting")
def noisy_labels_by_heart(lab: Lab) -> None:
    """A third of the labels are wrong and the network learns them all."""
    data = digits(lab.seed).few(300)
    wrong = torch.rand(300) < 0.33
    data = data.replace(y=torch.where(wrong, torch.randint(0, 10, (300,)), data.y))
    model = mlp(64, 256, 256, 10)
    fit(lab, model, torch.optim.Adam(model.parameters(), 2e-3), data, steps=360, every=12, classes=10)


@faulty("validation-leak")
def label_in_validation_inputs(lab: Lab) -> None:
    """The validation set was built from the easiest copies of training examples, seen without their noise."""
    data = clouds(lab.seed, classes=4, spread=3.0)
    centres = torch.stack([data.x[data.y == c].mean(0) for c in range(4)])
    data = data.replace(vx=centres[data.vy] * 3)
    model = mlp(12, 32, 4)
    fit(lab, model, torch.optim.Adam(model.parameters(), 2e-3), data, steps=300, every=15, classes=4)


@faulty("validation-leak", also=("overfitting",))
def label_as_a_feature(lab: Lab) -> None:
    """One input holds the label: for half of the training examples and all of the validation examples."""
    data = clouds(lab.seed, classes=4, spread=3.5)
    seen = nn.functional.one_hot(data.y, 4) * (torch.rand(len(data.y), 1) < 0.5)
    x = torch.cat([data.x, 4 * seen], 1)
    data = data.replace(x=x, vx=torch.cat([data.vx, 4 * nn.functional.one_hot(data.vy, 4)], 1))
    model = mlp(16, 32, 4)
    fit(lab, model, torch.optim.Adam(model.parameters(), 3e-3), data, steps=300, every=15, classes=4)


@faulty("nan-origin")
def nan_in_the_data(lab: Lab) -> None:
    """One pixel of one example is NaN."""
    data = digits(lab.seed)
    data.x[700, 20] = float("nan")
    model = residual(2)
    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-3), data, classes=10)


@faulty("nan-origin", also=("loss-spikes",))
def infinite_target(lab: Lab) -> None:
    """One target of a regression is infinite."""
    data = clouds(lab.seed, classes=4)
    y = data.x[:, :1] * 0.5
    y[333] = float("inf")
    data = data.replace(y=y, vy=data.vx[:, :1] * 0.5)
    model = mlp(12, 32, 1)
    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-3), data, steps=200, loss=nn.functional.mse_loss)
