"""Trainings whose memory grows: two that keep every graph, and one that fills a cache and stops."""

from __future__ import annotations

import ctypes
import sys

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.diagnosis.programs.data import batches, digits
from tests.diagnosis.programs.fitting import fit
from tests.diagnosis.programs.networks import mlp
from tests.diagnosis.programs.program import Lab, faulty, healthy


def _give_back() -> None:
    """Give memory that earlier programs have freed back to the system, so that this run's memory is its own."""
    if sys.platform == "linux" and hasattr(found := ctypes.CDLL(None), "malloc_trim"):
        found.malloc_trim(0)


@faulty("memory-growth", also=("overfitting",))
def sum_of_losses(lab: Lab) -> None:
    """``total += loss`` without detach: every step's graph stays alive."""
    _give_back()
    data = digits(lab.seed)
    model = mlp(64, 2048, 10)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with lab.record(model, optimizer, batch_size=96, classes=10) as run:
        total = torch.zeros(())
        for step, (x, y) in enumerate(batches(data, 96, 320), 1):
            loss = cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward(retain_graph=True)
            optimizer.step()
            total = total + loss
            run.log(loss=loss.detach(), mean_so_far=total.detach() / step)


@faulty("memory-growth", also=("overfitting",))
def list_of_activations(lab: Lab) -> None:
    """A hook keeps the hidden activations of every step in a list, to look at them later."""
    _give_back()
    model = mlp(64, 1024, 10)
    kept: list[Tensor] = []
    model[1].register_forward_hook(lambda module, inputs, output: kept.append(output))
    fit(lab, model, torch.optim.Adam(model.parameters(), 5e-4), digits(lab.seed), size=128, steps=320, validate=False,
        classes=10)  # fmt: skip


@healthy
def cache_that_fills(lab: Lab) -> None:
    """Enlarged images are kept in memory: it grows in the first epoch, and stays."""
    _give_back()
    data = digits(lab.seed, images=True)
    model = nn.Sequential(nn.Flatten(), *mlp(64, 48, 10))
    numbered = data.replace(x=torch.arange(len(data.y))[:, None])
    kept: dict[int, Tensor] = {}

    def enlarged(i: int) -> Tensor:
        if i not in kept:
            kept[i] = data.x[i].repeat_interleave(24, 1).repeat_interleave(24, 2)
        return kept[i]

    stream = ((torch.stack([enlarged(int(i))[:, ::24, ::24] for i in n]), y) for n, y in batches(numbered, 32, 300))
    fit(lab, model, torch.optim.Adam(model.parameters(), 2e-3), data, stream=stream, classes=10)
