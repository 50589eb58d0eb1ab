"""Trainings with a fault in the network: its depth, its activations, its first weights, what is connected."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from tests.diagnosis.programs.data import clouds, digits, surface
from tests.diagnosis.programs.fitting import fit
from tests.diagnosis.programs.networks import he, mlp, residual
from tests.diagnosis.programs.program import Lab, faulty

STUCK = ("chance-level", "plateau", "initialization")


@faulty("vanishing-gradients", also=(*STUCK, "learning-rate-low", "saturated-units"))
def deep_sigmoid(lab: Lab) -> None:
    """Ten sigmoid layers without normalization, SGD."""
    model = mlp(64, *[32] * 9, 10, activation=nn.Sigmoid)
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9), digits(lab.seed), classes=10)


@faulty("vanishing-gradients", also=(*STUCK, "learning-rate-low"))
def deep_tanh_small_weights(lab: Lab) -> None:
    """Eight tanh layers whose weights start too small."""
    model = mlp(64, *[40] * 7, 10, activation=nn.Tanh)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(0.3)
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.05), digits(lab.seed), classes=10)


@faulty("vanishing-gradients", also=(*STUCK, "learning-rate-low", "dead-units"))
def deep_relu_small_weights(lab: Lab) -> None:
    """Ten ReLU layers drawn with a quarter of He's spread."""
    model = he(mlp(64, *[48] * 9, 10), gain=0.25)
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.05, momentum=0.9), digits(lab.seed), classes=10)


@faulty(
    "initialization",
    also=("exploding-gradients", "learning-rate-high", "loss-spikes", "dead-units", "plateau", "vanishing-gradients"),
)
def deep_relu_large_weights(lab: Lab) -> None:
    """Ten ReLU layers drawn with almost twice He's spread."""
    model = he(mlp(64, *[48] * 9, 10), gain=1.8)
    fit(lab, model, torch.optim.SGD(model.parameters(), 1e-4), digits(lab.seed), classes=10)


@faulty(
    "gradients-grow-backwards",
    also=("learning-rate-high", "exploding-gradients", "chance-level", "plateau", "loss-spikes", "initialization"),
)
def deep_batch_norm_without_skips(lab: Lab) -> None:
    """Forty-eight dense layers with batch normalization and no skip connections: gradients grow on the way back."""
    model = mlp(64, *[32] * 48, 10, norm=True)
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.01), digits(lab.seed), steps=80, classes=10)


@faulty("initialization", also=("loss-spikes", "learning-rate-high", "exploding-gradients"))
def head_too_large(lab: Lab) -> None:
    """The last layer starts a hundred times too large."""
    model = mlp(64, 48, 48, 10)
    with torch.no_grad():
        model[-1].weight.mul_(100)
    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-3), digits(lab.seed), classes=10)


@faulty("initialization", also=("exploding-gradients", "learning-rate-high", "loss-spikes", "saturated-units"))
def standard_normal_weights(lab: Lab) -> None:
    """Weights drawn from N(0, 1) whatever the width."""
    model = mlp(64, 64, 64, 10)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_()
    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-3), digits(lab.seed), classes=10)


@faulty("initialization", also=("unchanged-parameters", "chance-level", "plateau", "dead-units", "vanishing-gradients"))
def all_zero_weights(lab: Lab) -> None:
    """Every weight starts at zero."""
    model = mlp(64, 48, 48, 10)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.1), digits(lab.seed), classes=10)


@faulty("dead-units", also=(*STUCK, "unchanged-parameters", "vanishing-gradients"))
def negative_bias(lab: Lab) -> None:
    """A hidden layer's biases start at -4, so that its ReLUs never open."""
    model = mlp(64, 64, 48, 10)
    with torch.no_grad():
        model[2].bias.fill_(-4.0)
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.05), digits(lab.seed), classes=10)


@faulty(
    "dead-units",
    also=(
        "learning-rate-high",
        "loss-spikes",
        "exploding-gradients",
        *STUCK,
        "unchanged-parameters",
        "diverging",
        "vanishing-gradients",
    ),
)
def killed_by_first_steps(lab: Lab) -> None:
    """A learning rate that throws most ReLUs to the dead side in the first steps."""
    model = mlp(64, 64, 64, 64, 10)
    fit(lab, model, torch.optim.Adam(model.parameters(), 0.1), digits(lab.seed), classes=10)


@faulty(
    "saturated-units", also=(*STUCK, "vanishing-gradients", "exploding-gradients", "learning-rate-low", "overfitting")
)
def inputs_not_scaled(lab: Lab) -> None:
    """Pixels from 0 to 255 into tanh layers."""
    data = digits(lab.seed)
    data = data.replace(x=(data.x + 0.3) * 255, vx=(data.vx + 0.3) * 255)
    model = mlp(64, 48, 48, 10, activation=nn.Tanh)
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.05), data, classes=10)


@faulty("saturated-units", also=(*STUCK, "vanishing-gradients", "exploding-gradients", "overfitting"))
def sigmoid_weights_too_large(lab: Lab) -> None:
    """Sigmoid layers whose weights start forty times too large."""
    model = mlp(64, 48, 48, 10, activation=nn.Sigmoid)
    with torch.no_grad():
        for i in (0, 2):
            model[i].weight.mul_(40)
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.1), digits(lab.seed), classes=10)


@faulty("unchanged-parameters", also=("accumulating-gradients",))
def forgotten_by_the_optimizer(lab: Lab) -> None:
    """Only the head's parameters were given to the optimizer."""
    model = mlp(64, 48, 48, 10)
    fit(lab, model, torch.optim.Adam(model[-1].parameters(), 3e-3), digits(lab.seed), classes=10)


@faulty("unchanged-parameters")
def detached_stem(lab: Lab) -> None:
    """A detach() in the middle cuts the first layers off."""

    class Cut(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            for i, layer in enumerate(self):
                x = layer(x).detach() if i == 3 else layer(x)
            return x

    model = Cut(*mlp(64, 48, 48, 32, 10))
    fit(lab, model, torch.optim.Adam(model.parameters(), 3e-3), digits(lab.seed), classes=10)


@faulty("unchanged-parameters", also=(*STUCK, "learning-rate-low"))
def stale_optimizer(lab: Lab) -> None:
    """The optimizer holds the parameters of another copy of the network."""
    model, other = mlp(64, 48, 10), mlp(64, 48, 10)
    optimizer = torch.optim.Adam(other.parameters(), 1e-3)
    fit(lab, model, optimizer, digits(lab.seed), classes=10, zero_grad=False, on_step=lambda _: model.zero_grad())


@faulty("unchanged-parameters", also=("vanishing-gradients",))
def blocks_left_out(lab: Lab) -> None:
    """Blocks in a list that the forward never runs."""

    class Forgets(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Linear(64, 48), nn.Linear(48, 10)
            self.blocks = nn.ModuleList(nn.Linear(48, 48) for _ in range(4))
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.relu(self.stem(x)))

    model = Forgets()
    fit(lab, model, torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0), digits(lab.seed), classes=10)


@faulty("double-softmax", also=("plateau",))
def softmax_twice(lab: Lab) -> None:
    """The network ends in a softmax and the loss applies another."""
    model = nn.Sequential(*mlp(64, 64, 10), nn.Softmax(1))
    fit(lab, model, torch.optim.Adam(model.parameters(), 5e-3), digits(lab.seed), steps=500, classes=10)


@faulty("double-softmax", also=("plateau",))
def softmax_twice_deep(lab: Lab) -> None:
    """A residual network ends in a softmax and the loss applies another."""
    model = nn.Sequential(*residual(3), nn.Softmax(1))
    fit(lab, model, torch.optim.Adam(model.parameters(), 3e-3), digits(lab.seed), steps=400, classes=10)


@faulty("nan-origin", also=("exploding-gradients", "loss-spikes"))
def distance_to_itself(lab: Lab) -> None:
    """Distances of pairs: where an example meets itself, the gradient of the square root at zero is not a number."""

    class Distance(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = mlp(64, 48, 8)

        def forward(self, x: Tensor) -> Tensor:
            first, second = x.chunk(2, 1)
            return (self.embed(first) - self.embed(second)).square().sum(1).sqrt()

    data, model = digits(lab.seed), Distance()

    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(240):
            a, b = torch.randint(0, len(data.y), (2, 48))
            yield torch.cat([data.x[a], data.x[b]], 1), (data.y[a] != data.y[b]).float()

    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-3), data, stream=pairs(), loss=mse_loss, validate=False)


@faulty("nan-origin", also=("loss-spikes", "exploding-gradients"))
def logarithm_of_zero(lab: Lab) -> None:
    """Cross-entropy written by hand: the network becomes sure, 1 - p is exactly zero, and so its logarithm infinite."""
    model, data = mlp(12, 32, 1), clouds(lab.seed, classes=2, spread=0.7)
    data = data.replace(y=data.y[:, None].float(), vy=data.vy[:, None].float())

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        p = torch.sigmoid(logits)
        return -(y * p.log() + (1 - y) * (1 - p).log()).mean()

    fit(lab, model, torch.optim.Adam(model.parameters(), 3e-2), data, loss=loss, validate=False)


@faulty(
    "nan-origin",
    also=("exploding-gradients", "learning-rate-high", "loss-spikes", "diverging", "vanishing-gradients", "dead-units"),
)
def regression_overflows(lab: Lab) -> None:
    """SGD on a regression whose step is too large: weights overflow."""
    model = mlp(8, 32, 32, 1)
    fit(lab, model, torch.optim.SGD(model.parameters(), 3.0), surface(lab.seed), loss=mse_loss)
