"""Healthy trainings of different tasks and habits: regression, noise, fine-tuning, small batches, restarts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, huber_loss, mse_loss

from tests.diagnosis.programs.data import batches, clouds, digits, surface, text
from tests.diagnosis.programs.fitting import fit, validation
from tests.diagnosis.programs.networks import cnn, mlp
from tests.diagnosis.programs.program import Lab, healthy


@healthy
def regression_mlp(lab: Lab) -> None:
    """Regression with a dense network."""
    model = mlp(8, 48, 48, 1)
    fit(lab, model, torch.optim.Adam(model.parameters(), 3e-3), surface(lab.seed), loss=mse_loss)


@healthy
def regression_noise(lab: Lab) -> None:
    """Regression of targets that are mostly noise: the loss can't fall far."""
    model = mlp(8, 32, 1)
    fit(lab, model, torch.optim.Adam(model.parameters(), 2e-3), surface(lab.seed, noise=1.0), loss=mse_loss)


@healthy
def regression_linear(lab: Lab) -> None:
    """Linear regression to convergence, SGD."""
    data = surface(lab.seed)
    w = torch.linspace(-1, 1, 8)[:, None]
    data = data.replace(y=data.x @ w + 0.1 * torch.randn(1200, 1), vy=data.vx @ w + 0.1 * torch.randn(400, 1))
    model = nn.Linear(8, 1)
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.02), data, steps=300, loss=mse_loss)


@healthy
def regression_huber(lab: Lab) -> None:
    """Outliers among the targets and a robust loss."""
    data = surface(lab.seed)
    far = (torch.rand(len(data.y), 1) < 0.03).float()
    data = data.replace(y=data.y + 8 * far * torch.randn(len(data.y), 1))
    model = mlp(8, 48, 1)
    fit(lab, model, torch.optim.Adam(model.parameters(), 3e-3), data, loss=huber_loss)


@healthy
def logistic_regression(lab: Lab) -> None:
    """Logistic regression, momentum."""
    model = nn.Linear(64, 10)
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9), digits(lab.seed), classes=10)


@healthy
def binary(lab: Lab) -> None:
    """Two classes with one logit, imbalanced one to nine."""
    data = clouds(lab.seed, classes=10)
    data = data.replace(y=(data.y == 0).float()[:, None], vy=(data.vy == 0).float()[:, None])
    model = mlp(12, 32, 1)
    fit(lab, model, torch.optim.Adam(model.parameters(), 3e-3), data, loss=binary_cross_entropy_with_logits)


@healthy
def imbalanced(lab: Lab) -> None:
    """Ten classes of which one has two thirds of the examples."""
    data = clouds(lab.seed, classes=10, count=3000)
    keep = (data.y == 0) | (torch.rand(len(data.y)) < 0.2)
    data = data.replace(x=data.x[keep], y=data.y[keep])
    model = mlp(12, 32, 10)
    fit(lab, model, torch.optim.Adam(model.parameters(), 3e-3), data, classes=10)


@healthy
def autoencoder(lab: Lab) -> None:
    """An autoencoder of digits."""
    data = digits(lab.seed)
    data = data.replace(y=data.x, vy=data.vx)
    model = mlp(64, 32, 8, 32, 64)
    fit(lab, model, torch.optim.Adam(model.parameters(), 3e-3), data, loss=mse_loss)


@healthy
def variational_autoencoder(lab: Lab) -> None:
    """A variational autoencoder."""

    class Vae(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.decode = mlp(64, 48, 16), mlp(8, 48, 64)

        def forward(self, x: Tensor) -> Tensor:
            mean, log = self.encode(x).chunk(2, 1)
            self.kl = 0.5 * (mean.square() + log.exp() - log - 1).sum(1).mean()
            return self.decode(mean + torch.randn_like(mean) * (log / 2).exp())

    data = digits(lab.seed)
    data = data.replace(y=data.x, vy=data.vx)
    model = Vae()

    def loss(output: Tensor, y: Tensor) -> Tensor:
        return (output - y).square().sum(1).mean() / 0.2 + model.kl

    fit(lab, model, torch.optim.Adam(model.parameters(), 2e-3), data, loss=loss)


def _pretrained(lab: Lab) -> nn.Sequential:
    model, data = cnn(), digits(lab.seed + 1, images=True)
    data = data.replace(y=data.y % 5)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for x, y in batches(data, 64, 120):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


@healthy
def fine_tuning_frozen(lab: Lab) -> None:
    """A pretrained network whose first layers are frozen with requires_grad; a new head."""
    model = _pretrained(lab)
    for p in model[:6].parameters():
        p.requires_grad_(False)
    model[-1] = nn.Linear(64, 10)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 5e-3)
    fit(lab, model, optimizer, digits(lab.seed, images=True), classes=10)


@healthy
def fine_tuning_slow(lab: Lab) -> None:
    """All of a pretrained network at a small learning rate, its head at a larger one."""
    model = _pretrained(lab)
    model[-1] = nn.Linear(64, 10)
    groups = [{"params": model[:-1].parameters(), "lr": 2e-4}, {"params": model[-1].parameters(), "lr": 5e-3}]
    fit(lab, model, torch.optim.AdamW(groups), digits(lab.seed, images=True), classes=10)


@healthy
def small_batches(lab: Lab) -> None:
    """Batches of four: the loss is noisy."""
    model = mlp(64, 48, 10)
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.03), digits(lab.seed), size=4, steps=500, classes=10)


@healthy
def full_batch(lab: Lab) -> None:
    """Gradient descent with all the data at once: no noise at all."""
    model = mlp(64, 48, 10)
    fit(lab, model, torch.optim.SGD(model.parameters(), 0.5), digits(lab.seed), size=1297, steps=150, classes=10)


@healthy
def label_smoothing(lab: Lab) -> None:
    """Label smoothing of 0.1: the loss has a floor of its own."""
    model = mlp(64, 64, 10)

    def loss(output: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(output, y, label_smoothing=0.1)

    fit(lab, model, torch.optim.Adam(model.parameters(), 2e-3), digits(lab.seed), loss=loss, steps=300, classes=10)


@healthy
def noisy_labels(lab: Lab) -> None:
    """A fifth of the training labels are wrong and training stops in time."""
    data = digits(lab.seed)
    wrong = torch.rand(len(data.y)) < 0.2
    data = data.replace(y=torch.where(wrong, torch.randint(0, 10, data.y.shape), data.y))
    model = mlp(64, 48, 10)
    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-3), data, steps=240, classes=10)


@healthy
def overlapping_classes(lab: Lab) -> None:
    """Classes that overlap: the best possible accuracy is about a half."""
    data = clouds(lab.seed, classes=4, spread=3.5)
    model = mlp(12, 16, 4)
    fit(lab, model, torch.optim.Adam(model.parameters(), 2e-3), data, classes=4)


@healthy
def converged_long_ago(lab: Lab) -> None:
    """An easy task that is learned at once and then trained on: the loss comes down to almost nothing."""
    data = clouds(lab.seed, classes=4, spread=0.4)
    model = mlp(12, 32, 4)
    fit(lab, model, torch.optim.Adam(model.parameters(), 5e-3), data, steps=500, classes=4)


@healthy
def warm_restarts(lab: Lab) -> None:
    """A cosine schedule that restarts: the loss rises at every restart."""
    model = mlp(64, 64, 10)
    optimizer = torch.optim.SGD(model.parameters(), 0.2, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 60)
    fit(lab, model, optimizer, digits(lab.seed), steps=300, schedule=schedule, classes=10)


@healthy
def accumulation(lab: Lab) -> None:
    """Gradients of four small batches are added up for each step."""
    model, data = mlp(64, 48, 10), digits(lab.seed)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    with lab.record(model, optimizer, batch_size=32, classes=10) as run:
        total = 0.0
        for i, (x, y) in enumerate(batches(data, 8, 640), 1):
            loss = cross_entropy(model(x), y) / 4
            loss.backward()
            total += float(loss.detach())
            if i % 4 == 0:
                optimizer.step()
                optimizer.zero_grad()
                run.log(loss=total)
                total = 0.0
                if i % 80 == 0:
                    run.log(**validation(model, data, cross_entropy))


@healthy
def distillation(lab: Lab) -> None:
    """A small network learns a teacher's soft answers."""
    data = digits(lab.seed)
    teacher = mlp(64, 64, 10)
    slow = torch.optim.Adam(teacher.parameters(), 5e-3)
    for x, y in batches(data, 64, 150):
        slow.zero_grad()
        cross_entropy(teacher(x), y).backward()
        slow.step()
    with torch.no_grad():
        data = data.replace(y=(teacher(data.x) / 3).softmax(1), vy=(teacher(data.vx) / 3).softmax(1))
    model = mlp(64, 24, 10)
    fit(lab, model, torch.optim.Adam(model.parameters(), 3e-3), data, classes=10)


@healthy
def bag_of_letters(lab: Lab) -> None:
    """An embedding whose rows mostly get no gradient, Adagrad."""
    data = text(lab.seed)
    data = data.replace(x=data.x[:, 4:6], y=data.x[:, 6], vx=data.vx[:, 4:6], vy=data.vx[:, 6])
    model = nn.Sequential(nn.Embedding(400, 16), nn.Flatten(), nn.Linear(32, 16))
    fit(lab, model, torch.optim.Adagrad(model.parameters(), 0.03), data, classes=16)


@healthy
def multi_label(lab: Lab) -> None:
    """Several labels at once."""
    data = surface(lab.seed, width=12)
    w = torch.randn(12, 6)
    data = data.replace(y=(data.x @ w > 1).float(), vy=(data.vx @ w > 1).float())
    model = mlp(12, 48, 6)
    fit(lab, model, torch.optim.Adam(model.parameters(), 3e-3), data, loss=binary_cross_entropy_with_logits)


@healthy
def augmented(lab: Lab) -> None:
    """Strong noise on the training inputs only: validation is easier than training."""
    data = digits(lab.seed)
    model = mlp(64, 96, 10)
    stream = ((x + 0.5 * torch.randn_like(x), y) for x, y in batches(data, 32, 300))
    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-3), data, stream=stream, classes=10)


@healthy
def fixed_order(lab: Lab) -> None:
    """Data in a fixed random order, not shuffled again in each epoch."""
    model = mlp(64, 48, 10)
    fit(lab, model, torch.optim.Adam(model.parameters(), 1e-3), digits(lab.seed), shuffle=False, classes=10)


@healthy
def heavy_decay_that_helps(lab: Lab) -> None:
    """AdamW with a strong but useful weight decay."""
    model = mlp(64, 64, 10)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=1.0)
    fit(lab, model, optimizer, digits(lab.seed), steps=300, classes=10)


@healthy
def little_data(lab: Lab) -> None:
    """Two hundred digits with weight decay and dropout, stopped in time."""
    model = mlp(64, 64, 10, dropout=0.3)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.1)
    fit(lab, model, optimizer, digits(lab.seed).few(200), steps=120, every=10, classes=10)


@healthy
def full_batch_slowly(lab: Lab) -> None:
    """All the data at once and small steps: the gradient hardly changes from step to step."""
    model = mlp(64, 48, 10)
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    fit(lab, model, optimizer, digits(lab.seed), size=1297, steps=150, classes=10)


@healthy
def goes_on_with_a_trained_network(lab: Lab) -> None:
    """A training that goes on where another had arrived: the loss lies low from the first step and stays."""
    model, data = mlp(64, 48, 10), digits(lab.seed)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for x, y in batches(data, 32, 500):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    fit(lab, model, torch.optim.Adam(model.parameters(), 2e-4), data, classes=10)
