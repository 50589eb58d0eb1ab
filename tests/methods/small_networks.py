"""Networks small enough to be differentiated by hand, in the spellings that tools trip over."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Words(nn.Module):
    """Token numbers to two classes: embedding, mixing along the text, a curved head."""

    def __init__(self, vocabulary: int = 11, width: int = 6) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(vocabulary, width), nn.Embedding(9, width)
        self.mix, self.head = nn.Linear(width, width), nn.Linear(width, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids) + self.place(torch.arange(ids.shape[1], device=ids.device))
        return self.after(x)

    def after(self, x: torch.Tensor) -> torch.Tensor:
        """Everything after the embeddings."""
        return self.head(torch.tanh(self.mix(x)).cumsum(1).mean(1))


class Two(nn.Module):
    """Two inputs of different width, multiplied: s = (A a) * (B b)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 2), nn.Linear(4, 2)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.first(a) * self.second(b)


class Bends(nn.Module):
    """Convolution, max pooling and curves; ``spelling`` says how rectifiers are called, the numbers are the same."""

    def __init__(self, spelling: str = "module") -> None:
        super().__init__()
        self.spelling = spelling
        self.a, self.b, self.fc = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(16, 3)
        self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(2)  # one ReLU for both places

    def bend(self, x: torch.Tensor) -> torch.Tensor:
        """A rectifier."""
        calls = {
            "module": self.relu,
            "function": F.relu,
            "method": lambda v: v.relu(),
            "in place": lambda v: F.relu(v, inplace=True),
            "underscore": lambda v: v.relu_(),
        }
        return calls[self.spelling](x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bend(self.a(x))
        x = self.pool(x) if self.spelling == "module" else F.max_pool2d(x, 2)
        x = torch.tanh(self.bend(self.b(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 2).flatten(1))


SPELLINGS = ("module", "function", "method", "in place", "underscore")


def made(kind: type[nn.Module], *arguments: object, seed: int = 3) -> nn.Module:
    """A network with fixed weights, float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(*arguments).double().eval()


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    """Fixed normal numbers, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain_gradient(score: object, x: torch.Tensor) -> np.ndarray:
    """d score(x).sum() / d x, by autograd and nothing else."""
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(leaf).sum(), leaf)  # type: ignore[operator]
    return gradient.numpy()
