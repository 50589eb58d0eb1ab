"""A training with a planted fault: what the diagnosis is shown for."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from fluoroscope.demo.recording import Watched, watched
from fluoroscope.demo.scenes import make_scenes
from fluoroscope.demo.training import steps_of, train
from fluoroscope.methods.progress import progress

__all__ = ["FAULT", "SigmoidNet", "faulty_training"]

FAULT = "sigmoids instead of ReLUs, without batch norm and skip connections"
DEPTH = 8


class SigmoidNet(nn.Module):
    """The demo's network as one would have built it in 1990: a chain of convolutions with sigmoids between them."""

    def __init__(self, channels: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, channels, 3, stride=2, padding=1), nn.Sigmoid())
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, stride=2 if i == 0 else 1), nn.Sigmoid())
            for i in range(DEPTH)
        )
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10) of scenes (N, 1, H, W)."""
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return torch.as_tensor(self.fc(self.pool(x).flatten(1)))


def faulty_training(folder: Path, *, scenes: int, epochs: int, seed: int) -> Watched:
    """Train a :class:`SigmoidNet` for a short time into the run ``planted-fault``, and diagnose it."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = SigmoidNet()
    part = make_scenes(scenes, seed + 77)
    held_out = make_scenes(200, seed + 78, split="validation")
    run = watched(folder, "planted-fault", fault=FAULT)
    with progress("Training with a fault", steps_of(scenes, epochs)) as bar:
        train(
            network, lambda _: part, held_out, epochs=epochs, seed=seed, optimizer=_descent,
            progress=lambda step, total, loss, accuracy: bar.advance(), record=run.record,
        )  # fmt: skip
    return run


def _descent(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    return partial(torch.optim.SGD, lr=0.1, momentum=0.9)(parameters)
