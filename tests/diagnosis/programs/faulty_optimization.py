"""Trainings with a fault in the optimization: learning rate, schedule, clipping, decay, sign."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import mse_loss

from tests.diagnosis.programs.data import clouds, digits, surface, text
from tests.diagnosis.programs.fitting import fit
from tests.diagnosis.programs.networks import Transformer, cnn, he, mlp
from tests.diagnosis.programs.program import Lab, faulty

HIGH = (
    "exploding-gradients",
    "loss-spikes",
    "dead-units",
    "diverging",
    "plateau",
    "chance-level",
    "unchanged-parameters",
    "nan-origin",
    "vanishing-gradients",
    "saturated-units",
    "overfitting",
    "initialization",
)


@faulty("learning-rate-high", also=HIGH)
def sgd_too_fast(lab: Lab) -> None:
    """SGD with momentum at twenty times a good learning rate."""
    model = mlp(64, 64, 64, 10)
    fit(lab, model, torch.optim.SGD(model.parameters(), 1.0, momentum=0.9), digits(lab.seed), classes=10)


@faulty("learning-rate-high", also=HIGH)
def adam_too_fast(lab: Lab) -> None:
    """Adam at a learning rate of 0.3."""
    model = mlp(64, 64, 64, 10)
    fit(lab, model, torch.optim.Adam(model.parameters(), 0.3), digits(lab.seed), classes=10)


@faulty("learning-rate-high", also=HIGH)
def transformer_too_fast(lab: Lab) -> None:
    """A post-norm transformer with Adam at 0.3 and no warm-up."""
    model = Transformer(norm_first=False)
    fit(lab, model, torch.optim.Adam(model.parameters(), 0.3), text(lab.seed), steps=160, classes=16)


@faulty("learning-rate-high", also=HIGH)
def regression_bounces(lab: Lab) -> None:
    """Full-batch gradient descent beyond 2 / curvature."""
    data = surface(lab.seed)
    model = nn.Linear(8, 1)
    x = torch.cat([data.x, torch.ones(len(data.x), 1)], 1)
    sharpest = float(torch.linalg.eigvalsh(2 * x.T @ x / len(x))[-1])
    optimizer = torch.optim.SGD(model.parameters(), 2.06 / sharpest)
    fit(lab, model, optimizer, data, size=1200, steps=120, loss=mse_loss)


@faulty("learning-rate-low", also=("plateau", "chance-level"))
def sgd_too_slow(lab: Lab) -> None:
    """SGD at a ten-thousandth of a good learning rate."""
    model = mlp(64, 64, 10)
    fit(lab, model, torch.optim.SGD(model.parameters(), 1e-5, momentum=0.9), digits(lab.seed), classes=10)


@faulty("learning-rate-low", also=("plateau", "chance-level"))
def adam_too_slow(lab: Lab) -> None:
    """Adam at a learning rate of 1e-6 on a convolutional network."""
    model = cnn()
    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-6), digits(lab.seed, images=True), classes=10)


@faulty("schedule-ended", also=("plateau", "learning-rate-low", "unchanged-parameters"))
def schedule_too_short(lab: Lab) -> None:
    """A cosine schedule for 60 steps in a training of 300: nothing is learned afterwards."""
    model = mlp(64, 64, 10)
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: max(0.0, 1 - s / 60))
    fit(lab, model, optimizer, digits(lab.seed), steps=300, schedule=schedule, classes=10)


@faulty("schedule-ended", also=("plateau", "learning-rate-low", "unchanged-parameters"))
def decays_every_step(lab: Lab) -> None:
    """A decay that was meant for each epoch runs at each step."""
    model = cnn()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    fit(lab, model, optimizer, digits(lab.seed, images=True), steps=300, schedule=schedule, classes=10)


@faulty("clipping-always", also=("learning-rate-low", "plateau", "chance-level"))
def clipped_to_nothing(lab: Lab) -> None:
    """Gradients clipped to a norm of 0.001 under SGD."""
    model = mlp(64, 64, 10)
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.05), digits(lab.seed), clip=1e-3, classes=10)


@faulty("clipping-always", also=("learning-rate-low", "plateau", "chance-level"))
def clipped_to_nothing_cnn(lab: Lab) -> None:
    """Gradients clipped to a norm of 0.002, SGD with momentum on a convolutional network."""
    model = cnn()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    fit(lab, model, optimizer, digits(lab.seed, images=True), clip=2e-3, classes=10)


@faulty(
    "weights-collapse",
    also=(
        "plateau",
        "chance-level",
        "vanishing-gradients",
        "dead-units",
        "diverging",
        "learning-rate-high",
        "overfitting",
    ),
)
def decay_too_strong(lab: Lab) -> None:
    """AdamW with a weight decay of 20: the weights shrink to nothing."""
    model = mlp(64, 64, 64, 10)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=20.0)
    fit(lab, model, optimizer, digits(lab.seed), classes=10)


@faulty(
    "weights-collapse",
    also=("plateau", "chance-level", "vanishing-gradients", "dead-units", "diverging", "overfitting"),
)
def l2_too_strong(lab: Lab) -> None:
    """SGD with an L2 penalty of 0.5."""
    model = he(mlp(64, 64, 64, 10))
    optimizer = torch.optim.SGD(model.parameters(), 0.05, weight_decay=0.5)
    fit(lab, model, optimizer, digits(lab.seed), classes=10)


@faulty(
    "diverging",
    also=(
        "exploding-gradients",
        "learning-rate-high",
        "overfitting",
        "loss-spikes",
        "dead-units",
        "nan-origin",
        "vanishing-gradients",
    ),
)
def wrong_sign(lab: Lab) -> None:
    """The loss is maximized."""
    model = mlp(12, 32, 4)
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.01), clouds(lab.seed), sign=-1.0, classes=4)


@faulty("diverging", also=("exploding-gradients", "learning-rate-high", "overfitting"))
def wrong_sign_regression(lab: Lab) -> None:
    """The squared error of a regression is maximized, Adam."""
    model = mlp(8, 32, 1)
    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-3), surface(lab.seed), sign=-1.0, loss=mse_loss)


@faulty("loss-spikes", also=("exploding-gradients", "learning-rate-high"))
def corrupted_batches(lab: Lab) -> None:
    """A few batches arrive a hundred times too bright."""
    data = digits(lab.seed)
    model = mlp(64, 64, 10)
    from tests.diagnosis.programs.data import batches

    def stream():  # type: ignore[no-untyped-def]
        for step, (x, y) in enumerate(batches(data, 32, 300), 1):
            yield (x * 100 if step in (120, 171, 233, 260) else x), y

    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-3), data, stream=stream(), classes=10)


@faulty("loss-spikes", also=("exploding-gradients", "plateau"))
def outlying_targets(lab: Lab) -> None:
    """Four of the targets of a regression are sixty times too large, under a squared error."""
    data, model = surface(lab.seed), mlp(8, 48, 1)
    y = data.y.clone()
    y[torch.randperm(len(y))[:4]] *= 60
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    fit(lab, model, optimizer, data.replace(y=y), loss=mse_loss, steps=300)
