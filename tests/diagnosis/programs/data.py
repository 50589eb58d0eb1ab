"""Data of the programs: scikit-learn's digits and sets that are drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Data:
    """Inputs and targets to learn from (``x``, ``y``) and to validate on (``vx``, ``vy``)."""

    x: Tensor
    y: Tensor
    vx: Tensor
    vy: Tensor

    def replace(self, **changes: Tensor) -> Data:
        return replace(self, **changes)

    def few(self, count: int) -> Data:
        return self.replace(x=self.x[:count], y=self.y[:count])


@lru_cache(maxsize=1)
def _digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.tensor(found.data / 16 - 0.3, dtype=torch.float32), torch.tensor(found.target)


def digits(seed: int, images: bool = False) -> Data:
    """1297 digits to learn from and 500 to validate on, shuffled by ``seed``; rows of 64 or images (1, 8, 8)."""
    x, y = _digits()
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(y)))
    x, y = x[order], y[order]
    x = x.reshape(-1, 1, 8, 8) if images else x
    return Data(x[500:], y[500:], x[:500], y[:500])


def clouds(seed: int, classes: int = 4, width: int = 12, count: int = 1200, spread: float = 1.0) -> Data:
    """Gaussian clouds around random centres, which overlap a little."""
    random = np.random.default_rng(seed)
    centres = 1.2 * random.standard_normal((classes, width))
    y = random.integers(0, classes, count + 400)
    x = centres[y] + spread * random.standard_normal((count + 400, width))
    return _split(torch.tensor(x, dtype=torch.float32), torch.tensor(y), 400)


def surface(seed: int, width: int = 8, count: int = 1200, noise: float = 0.1) -> Data:
    """A smooth function of ``width`` variables with noise, to regress."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((count + 400, width))
    a, b = random.standard_normal((2, width)) / width**0.5
    y = np.sin(2 * x @ a) + (x @ b) ** 2 * 0.5 + noise * random.standard_normal(count + 400)
    return _split(torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None], 400)


def waves(seed: int, length: int = 24, count: int = 900) -> Data:
    """Noisy sine waves (T, 1) of three frequencies, to tell apart."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, count + 300)
    time = np.arange(length)[None, :]
    x = np.sin(time * (0.3 + 0.25 * y)[:, None] + random.uniform(0, 6.3, (count + 300, 1)))
    x = x + 0.3 * random.standard_normal(x.shape)
    return _split(torch.tensor(x, dtype=torch.float32)[..., None], torch.tensor(y), 300)


def text(seed: int, length: int = 24, count: int = 1200, letters: int = 16) -> Data:
    """Strings of a random Markov chain over ``letters``; the target is each next letter."""
    random = np.random.default_rng(seed)
    chain = random.dirichlet(np.full(letters, 0.15), letters)
    found = np.empty((count + 200, length + 1), dtype=np.int64)
    found[:, 0] = random.integers(0, letters, count + 200)
    for t in range(1, length + 1):
        steps = chain[found[:, t - 1]].cumsum(1)
        found[:, t] = (random.random((count + 200, 1)) > steps).sum(1).clip(0, letters - 1)
    whole = torch.tensor(found)
    return _split(whole[:, :-1], whole[:, 1:], 200)


def _split(x: Tensor, y: Tensor, held_out: int) -> Data:
    return Data(x[held_out:], y[held_out:], x[:held_out], y[:held_out])


def batches(data: Data, size: int, steps: int, *, shuffle: bool = True) -> Iterator[tuple[Tensor, Tensor]]:
    """``steps`` batches, epoch after epoch, each epoch in a new random order; the remainder is left out."""
    count, size = len(data.y), min(size, len(data.y))
    done = 0
    while done < steps:
        order = torch.randperm(count) if shuffle else torch.arange(count)
        for start in range(0, count - size + 1, size):
            if done == steps:
                return
            chosen = order[start : start + size]
            yield data.x[chosen], data.y[chosen]
            done += 1
