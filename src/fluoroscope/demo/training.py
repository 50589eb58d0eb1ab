"""A plain training loop that keeps, step by step, what is worth looking at."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fluoroscope.demo.scenes import Scenes
from fluoroscope.errors import OptionError
from fluoroscope.results import History, Series
from fluoroscope.results.record import Array
from fluoroscope.training.recorder.recording import Recording

__all__ = ["Progress", "Recorder", "TrainingRun", "accuracy", "as_history", "steps_of", "train", "validated"]

Progress = Callable[[int, int, float, float], None]
"""Called after each step with its number (from 1), the number of steps, the batch's loss and its accuracy."""

Recorder = Callable[[nn.Module, torch.optim.Optimizer], Recording]
"""Opens a recording, as ``fs.record`` does."""

TOTAL = "total"
BATCH = 64  # scenes of a step
WARM_UP = 0.2  # share of the steps in which the learning rate rises


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingRun:
    """What a training left behind.

    By step (S,): ``loss`` in nats, ``learning_rate``, ``batch_accuracy`` before the step, and ``gradient_norms``, L2 by
    stage of the network and over all of it (``"total"``). By epoch (E,): ``epoch_steps``, how many steps had been done
    at its end, ``train_accuracy`` over its batches and ``validation_accuracy`` after it. ``examples`` counts the scenes
    seen.
    """

    loss: Array
    learning_rate: Array
    batch_accuracy: Array
    gradient_norms: dict[str, Array]
    epoch_steps: Array
    train_accuracy: Array
    validation_accuracy: Array
    examples: int
    seconds: float
    seed: int


def train(
    network: nn.Module,
    scenes: Callable[[int], Scenes],
    validation: Scenes,
    *,
    epochs: int = 8,
    batch_size: int = BATCH,
    learning_rate: float = 6e-3,
    weight_decay: float = 0.02,
    seed: int = 0,
    progress: Progress | None = None,
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] | None = None,
    record: Recorder | None = None,
) -> TrainingRun:
    """Train ``network`` where it lies with AdamW or another ``optimizer``, and leave it in eval mode.

    ``scenes(epoch)`` gives the scenes of an epoch, all epochs of one size, for example ``lambda e: make_scenes(4000,
    e)``, so that no scene is seen twice. The learning rate rises and falls once (one cycle, Smith and Topin 2018,
    arXiv:1708.07120). Equal arguments give equal weights on one machine: the order comes from ``seed``, and torch's
    global random state is as before afterwards. ``record(network, optimizer)`` gives the recording that is told the
    loss and accuracy of each step, and of the validation scenes after each epoch.

    Raises:
        OptionError: fewer than one epoch, batches of fewer than two scenes, or epochs of different sizes.
    """
    _check(epochs, batch_size)
    started = time.perf_counter()
    with _own_randomness(seed), _channels_last(network), torch.enable_grad():
        part = scenes(0)
        made = optimizer or partial(torch.optim.AdamW, lr=learning_rate, weight_decay=weight_decay)
        loop = _Loop(network, made(network.parameters()), min(batch_size, len(part)), epochs, len(part), progress)
        with contextlib.nullcontext() if record is None else record(network, loop.optimizer) as loop.recording:
            for epoch in range(epochs):
                loop.epoch(_of_size(scenes(epoch), len(part)) if epoch else part)
                loop.end(validation)
    return loop.run(time.perf_counter() - started, seed)


def steps_of(examples: int, epochs: int, batch_size: int = BATCH) -> int:
    """Steps of a training: of each epoch the remainder that does not fill a batch is left out."""
    return epochs * (examples // min(batch_size, examples))


def _check(epochs: int, batch_size: int) -> None:
    if epochs < 1:
        raise OptionError("training takes at least one epoch", got=epochs, expected="epochs >= 1")
    if batch_size < 2:
        raise OptionError("batch normalization takes at least two scenes", got=batch_size, expected="batch_size >= 2")


def _of_size(scenes: Scenes, size: int) -> Scenes:
    if len(scenes) != size:
        raise OptionError("the epochs are of different sizes", got=f"{len(scenes)} scenes", expected=f"{size} scenes")
    return scenes


@contextlib.contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    """Torch's random numbers come from ``seed`` inside the block and are as before after it."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextlib.contextmanager
def _channels_last(network: nn.Module) -> Iterator[None]:
    """Convolutions of one processor run about twice as fast with channels last; the usual order is restored."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        yield
    finally:
        network.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


class _Loop:
    """The state of a training while it runs."""

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        batch_size: int,
        epochs: int,
        examples: int,
        progress: Progress | None,
    ) -> None:
        self.network, self.optimizer, self.batch_size, self.progress = network, optimizer, batch_size, progress
        self.steps = steps_of(examples, epochs, batch_size)
        peak = optimizer.param_groups[0]["lr"]
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, self.steps, pct_start=WARM_UP)
        self.step = 0
        self.recording: Recording | None = None
        self.rows: list[tuple[float, float, float]] = []
        self.norms: list[dict[str, float]] = []
        self.ends: list[tuple[int, float]] = []

    def epoch(self, scenes: Scenes) -> None:
        """Every scene once, in random order; a remainder that does not fill a batch is left out."""
        self.network.train()
        images, labels = tensors(scenes, self.network)
        order = torch.randperm(len(labels))
        for start in range(0, len(labels) - self.batch_size + 1, self.batch_size):
            batch = order[start : start + self.batch_size]
            self.batch(images[batch], labels[batch])

    def batch(self, images: Tensor, labels: Tensor) -> None:
        """One step of descent, and what was seen at it."""
        logits = self.network(images.contiguous(memory_format=torch.channels_last))
        loss = cross_entropy(logits, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.norms.append(gradient_norms(self.network))
        rate = float(self.schedule.get_last_lr()[0])
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        right = float((logits.detach().argmax(1) == labels).float().mean())
        self.rows.append((float(loss.detach()), rate, right))
        if self.recording is not None:
            self.recording.log(loss=self.rows[-1][0], accuracy=right)
        if self.progress is not None:
            self.progress(self.step, self.steps, self.rows[-1][0], right)

    def end(self, validation: Scenes) -> None:
        """The end of an epoch: how well the network does on scenes it does not learn from."""
        loss, right = validated(self.network, validation)
        self.ends.append((self.step, right))
        if self.recording is not None:
            self.recording.log(validation_loss=loss, validation_accuracy=right)

    def run(self, seconds: float, seed: int) -> TrainingRun:
        """The record of the finished training."""
        for parameter in self.network.parameters():
            parameter.grad = None
        loss, rate, right = np.array(self.rows).T
        ends = np.array([step for step, _ in self.ends])
        return TrainingRun(
            loss=loss,
            learning_rate=rate,
            batch_accuracy=right,
            gradient_norms={name: np.array([row[name] for row in self.norms]) for name in self.norms[0]},
            epoch_steps=ends,
            train_accuracy=right.reshape(len(ends), -1).mean(1),
            validation_accuracy=np.array([share for _, share in self.ends]),
            examples=self.step * self.batch_size,
            seconds=seconds,
            seed=seed,
        )


def tensors(scenes: Scenes, network: nn.Module) -> tuple[Tensor, Tensor]:
    """Images (N, 1, H, W) and labels (N,) where the network lies."""
    device = next(network.parameters()).device
    return torch.from_numpy(scenes.images).to(device), torch.from_numpy(scenes.labels).to(device)


def gradient_norms(network: nn.Module) -> dict[str, float]:
    """L2 norm of the gradient over each child of ``network`` that has one, and over all of it."""
    squares: dict[str, Tensor] = {}
    for name, stage in network.named_children():
        parts = [p.grad.square().sum() for p in stage.parameters() if p.grad is not None]
        if parts:
            squares[name] = torch.stack(parts).sum()
    norms = torch.stack([torch.stack(list(squares.values())).sum(), *squares.values()]).sqrt().tolist()
    return dict(zip([TOTAL, *squares], norms, strict=True))


def accuracy(network: nn.Module, scenes: Scenes, batch_size: int = 250) -> float:
    """Share of ``scenes`` that ``network`` classifies rightly in eval mode; its mode is as before afterwards."""
    return validated(network, scenes, batch_size)[1]


@torch.no_grad()
def validated(network: nn.Module, scenes: Scenes, batch_size: int = 250) -> tuple[float, float]:
    """Loss in nats and share of ``scenes`` classified rightly, in eval mode; the mode is as before afterwards."""
    mode = network.training
    network.eval()
    images, labels = tensors(scenes, network)
    try:
        logits = torch.cat([network(images[i : i + batch_size]) for i in range(0, len(labels), batch_size)])
    finally:
        network.train(mode)
    return float(cross_entropy(logits, labels)), float((logits.argmax(1) == labels).float().mean())


def as_history(run: TrainingRun) -> History:
    """The training as a result: groups ``loss``, ``accuracy``, ``gradient norm`` and ``learning rate`` over steps."""
    every = np.arange(1, len(run.loss) + 1)
    series = {
        "loss": Series(steps=every, values=run.loss, unit="nats", group="loss"),
        "training accuracy": Series(steps=run.epoch_steps, values=run.train_accuracy, unit="share", group="accuracy"),
        "validation accuracy": Series(
            steps=run.epoch_steps, values=run.validation_accuracy, unit="share", group="accuracy"
        ),
        **{
            f"gradient norm, {name}": Series(steps=every, values=values, unit="L2", group="gradient norm")
            for name, values in run.gradient_norms.items()
        },
        "learning rate": Series(steps=every, values=run.learning_rate, group="learning rate"),
    }
    caption = f"{len(every)} steps, {run.examples:,} scenes, {run.seconds:.0f} s, seed {run.seed}"
    return History(series=series, title="Training", caption=caption, meta={"seed": run.seed, "seconds": run.seconds})
