"""Small networks with the habits that break tools, and snapshots that tell whether a network is as before."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

DEVICE = os.environ.get("FLUOROSCOPE_DEVICE", "cpu")


class Plain(nn.Module):
    """Convolution, batch norm, in-place ReLU, dropout, pooling, dense; a counter and a cache in its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.block = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 5)
        self.calls = 0
        self.kept: list[Any] = []
        self.register_buffer("seen", torch.zeros(()))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(self.stem(x))

    def forward(self, x: torch.Tensor) -> Any:
        self.calls += 1
        self.kept.append(x)
        self.seen += 1
        return self.fc(self.drop(self.features(x)).mean((2, 3)))


class Functional(Plain):
    """The same numbers with functional calls only."""

    def features(self, x: torch.Tensor) -> torch.Tensor:
        for part in (self.stem, self.block):
            x = F.relu(part[1](part[0](x)))
        return x


class Wrapped(Plain):
    """Output in a dict, backbone under no_grad."""

    def forward(self, x: torch.Tensor) -> Any:
        with torch.no_grad():
            y = self.stem(x)
        y = self.block(y)
        return {"features": y, "logits": self.fc(y.mean((2, 3)))}


class Raising(Plain):
    """Fails after its first stage."""

    def forward(self, x: torch.Tensor) -> Any:
        self.calls += 1
        torch.manual_seed(99)
        self.stem(x)
        self.seen += 1
        raise RuntimeError("planted")


def network(kind: type[Plain] = Plain, seed: int = 0) -> Plain:
    """A network with weights and statistics that are not trivial, in training mode with gradients, as a user has it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = kind()
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.3, 0.3)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
        with torch.no_grad():
            made.fc.weight.add_(0.2)  # so that there is evidence for every class, and maps are not empty
        made.train()
        made.fc.weight.grad = torch.ones_like(made.fc.weight)
        made.stem[0].weight.requires_grad_(False)
    return made.to(DEVICE)


def images(count: int = 3, size: tuple[int, int] = (12, 16)) -> torch.Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(1))


def snapshot(module: nn.Module) -> dict[str, Any]:
    """Everything a user could notice about a network and the random generators."""
    return {
        "values": {k: v.clone() for k, v in module.state_dict().items()},
        "training": [m.training for m in module.modules()],
        "wanted": [p.requires_grad for p in module.parameters()],
        "grads": [(id(p.grad), None if p.grad is None else p.grad.clone()) for p in module.parameters()],
        "hooks": [[list(v) for k, v in m.__dict__.items() if k.endswith("_hooks")] for m in module.modules()],
        "attributes": [{k: repr(v) for k, v in m.__dict__.items() if not k.startswith("_")} for m in module.modules()],
        "names": [sorted(m.__dict__) for m in module.modules()],
        "random": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),  # noqa: NPY002
        "grad_mode": torch.is_grad_enabled(),
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names of what changed between two snapshots."""
    changed = [k for k in before if k not in ("values", "grads") and before[k] != after[k]]
    changed += [k for k, v in before["values"].items() if not torch.equal(v, after["values"][k])]
    for (a, x), (b, y) in zip(before["grads"], after["grads"], strict=True):
        if a != b or (x is not None and not torch.equal(x, y)):
            changed.append("grad")
    return changed
