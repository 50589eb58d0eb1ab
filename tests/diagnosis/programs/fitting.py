"""The loop that most programs share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.diagnosis.programs.data import Data, batches
from tests.diagnosis.programs.program import Lab

Loss = Callable[[Tensor, Tensor], Tensor]


def fit(
    lab: Lab,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Data,
    *,
    steps: int = 240,
    size: int = 32,
    loss: Loss = cross_entropy,
    schedule: Any = None,
    clip: float | None = None,
    every: int = 20,
    shuffle: bool = True,
    zero_grad: bool = True,
    sign: float = 1.0,
    stream: Iterable[tuple[Tensor, Tensor]] | None = None,
    classes: int | None = None,
    validate: bool = True,
    on_step: Callable[[int], None] | None = None,
) -> None:
    """Train and record; ``loss`` of the network's output and the target is what is logged."""
    config: dict[str, Any] = {"batch_size": size, "steps_per_epoch": len(data.y) // size}
    if classes is not None:
        config["classes"] = classes
    with lab.record(model, optimizer, **config) as run:
        model.train()
        for step, (x, y) in enumerate(stream or batches(data, size, steps, shuffle=shuffle), 1):
            output = model(x)
            value = loss(output, y)
            if zero_grad:
                optimizer.zero_grad()
            (sign * value).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            if schedule is not None:
                schedule.step()
            run.log(loss=value.detach(), **_accuracy(output, y, "accuracy"))
            if validate and (step % every == 0 or step == 1):
                run.log(**validation(model, data, loss))
            if on_step is not None:
                on_step(step)


def _accuracy(output: Any, y: Tensor, name: str) -> dict[str, float]:
    if y.dtype != torch.int64 or not isinstance(output, Tensor):
        return {}
    axis = 1 if output.ndim == y.ndim + 1 else -1
    return {name: float((output.detach().argmax(axis) == y).float().mean())}


@torch.no_grad()
def validation(model: nn.Module, data: Data, loss: Loss) -> dict[str, float]:
    """Loss and, for classes, accuracy on the validation part, in eval mode."""
    model.eval()
    output = model(data.vx)
    found = {"val_loss": float(loss(output, data.vy)), **_accuracy(output, data.vy, "val_accuracy")}
    model.train()
    return found
