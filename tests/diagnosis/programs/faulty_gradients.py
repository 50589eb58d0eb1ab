"""Trainings whose gradient explodes, is never zeroed, or leads nowhere."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, one_hot

from tests.diagnosis.programs.data import Data, digits, surface, waves
from tests.diagnosis.programs.fitting import fit
from tests.diagnosis.programs.networks import Recurrent, cnn, he, mlp
from tests.diagnosis.programs.program import Lab, faulty

EXPLODES = (
    "loss-spikes",
    "learning-rate-high",
    "diverging",
    "plateau",
    "chance-level",
    "nan-origin",
    "initialization",
    "overfitting",
    "dead-units",
    "vanishing-gradients",
    "gradients-grow-backwards",
)


class ReluRNN(nn.RNN):
    """A recurrent layer with ReLU, which does not bound its state."""

    def __init__(self, *args: int, **options: bool) -> None:
        super().__init__(*args, nonlinearity="relu", **options)


@faulty("exploding-gradients", also=EXPLODES)
def recurrent_explodes(lab: Lab) -> None:
    """A recurrent ReLU layer whose recurrence grows, without clipping."""
    model = Recurrent(ReluRNN, 1, 24, 3)
    with torch.no_grad():
        model.rnn.weight_hh_l0.copy_(0.95 * torch.eye(24))
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.003, momentum=0.9), waves(lab.seed, length=48), classes=3)


def sums(seed: int, length: int = 60, count: int = 1000) -> Data:
    """The adding problem (Hochreiter and Schmidhuber 1997): numbers (T, 2), two of them marked; their sum is asked."""
    random = np.random.default_rng(seed)
    values, marks = random.random((count, length)), np.zeros((count, length))
    for row in marks:
        row[random.choice(length, 2, replace=False)] = 1
    x = torch.tensor(np.stack([values, marks], 2), dtype=torch.float32)
    y = torch.tensor((values * marks).sum(1), dtype=torch.float32)[:, None]
    return Data(x[200:], y[200:], x[:200], y[:200])


@faulty("exploding-gradients", also=EXPLODES)
def identity_recurrence(lab: Lab) -> None:
    """The adding problem with a recurrent ReLU layer that starts as the identity, Adam, without clipping."""
    model = Recurrent(ReluRNN, 2, 32, 1)
    with torch.no_grad():
        model.rnn.weight_hh_l0.copy_(torch.eye(32))
    fit(lab, model, torch.optim.Adam(model.parameters(), 0.01), sums(lab.seed), loss=mse_loss)


@faulty("exploding-gradients", also=EXPLODES)
def lstm_long_sequences(lab: Lab) -> None:
    """An LSTM over a hundred steps, Adam at 0.05, without clipping."""
    model = Recurrent(nn.LSTM, 1, 32, 3)
    fit(lab, model, torch.optim.Adam(model.parameters(), 0.05), waves(lab.seed, length=100), classes=3)


class Sum(nn.Module):
    """x + f(x) without normalization."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.relu, self.outer = nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(self.relu(self.inner(x)))


@faulty("exploding-gradients", also=EXPLODES)
def sums_without_normalization(lab: Lab) -> None:
    """Ten residual blocks without normalization and with He's initialization: each doubles the spread."""
    model = he(nn.Sequential(nn.Linear(64, 48), *(Sum(48) for _ in range(10)), nn.Linear(48, 10)))
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.003, momentum=0.9), digits(lab.seed), classes=10)


@faulty("gradients-grow-backwards", also=(*EXPLODES, "exploding-gradients"))
def wide_batch_norm_without_skips(lab: Lab) -> None:
    """Forty layers of 48 units with batch normalization and no skip connections, Adam."""
    model = mlp(64, *[48] * 40, 10, norm=True)
    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-3), digits(lab.seed), steps=60, classes=10)


ADDED = (
    "learning-rate-high",
    "exploding-gradients",
    "loss-spikes",
    "diverging",
    "dead-units",
    "plateau",
    "overfitting",
    "chance-level",
    "vanishing-gradients",
)


@faulty("accumulating-gradients", also=ADDED)
def gradients_never_zeroed(lab: Lab) -> None:
    """zero_grad is never called, SGD."""
    model = mlp(64, 48, 48, 10)
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.005), digits(lab.seed), zero_grad=False, classes=10)


@faulty("accumulating-gradients", also=ADDED)
def gradients_never_zeroed_adam(lab: Lab) -> None:
    """zero_grad is never called, Adam on a recurrent network."""
    model = Recurrent(nn.GRU, 1, 20, 3)
    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-3), waves(lab.seed), zero_grad=False, classes=3)


@faulty("accumulating-gradients", also=ADDED)
def gradients_never_zeroed_cnn(lab: Lab) -> None:
    """zero_grad is never called, SGD with momentum on a convolutional network with batch normalization."""
    model = cnn()
    optimizer = torch.optim.SGD(model.parameters(), 0.002, momentum=0.9)
    fit(lab, model, optimizer, digits(lab.seed, images=True), zero_grad=False, classes=10)


@faulty("plateau", also=("saturated-units", "vanishing-gradients"))
def squared_error_of_a_sigmoid(lab: Lab) -> None:
    """Sigmoid layers up to the answer and a squared error: the network learns the share of each class, and stays."""
    model = mlp(64, 48, 48, 10, activation=nn.Sigmoid).append(nn.Sigmoid())

    def loss(output: Tensor, y: Tensor) -> Tensor:
        return mse_loss(output, one_hot(y, 10).float())

    fit(lab, model, torch.optim.SGD(model.parameters(), 0.5), digits(lab.seed), loss=loss, steps=300, classes=10)


@faulty("plateau", also=("initialization",))
def saddle_of_small_weights(lab: Lab) -> None:
    """Four tanh layers that start near zero, a saddle: a product of two inputs has no linear part to lead away."""
    data = surface(lab.seed)
    data = data.replace(y=data.x[:, :1] * data.x[:, 1:2], vy=data.vx[:, :1] * data.vx[:, 1:2])
    model = mlp(8, 32, 32, 32, 1, activation=nn.Tanh)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(0.3)
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.1), data, size=600, loss=mse_loss, steps=300)
