"""What watching a training costs: time and bytes of a step."""

from __future__ import annotations

import contextlib
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import fluoroscope as fs
from bench.case import Bar, Row, Setting, Unmeasured, case
from bench.peers import load_peer
from bench.timing import quartiles
from bench.training_networks import Training, gpt, resnet20

COST, BYTES = Bar(2.0), Bar(15.0)
STEPS, MANY = 40, 400


@case("training-record", "Recording a training", on_accelerator=False)
def training_record(setting: Setting) -> Iterator[Row | Unmeasured]:
    """Time that recording adds to a step, as a share of the step without it, with all that is recorded by default:
    norms, samples and histograms of every parameter's gradient, weight and update at every step, activations at every
    tenth, the loss logged, each step committed to the store. Two trainings from the same start run step by step in
    alternation, one recorded, one not, and the share is that of the medians' difference; beside it what the calls
    themselves took. The peers are given the same: `torch.utils.tensorboard` histograms of every weight and gradient at
    every step, `wandb.watch(log="all", log_freq=1)` offline. Bytes are those of the run's folder, over 400 steps.
    """
    for title, make in (("ResNet-20, batch 128", resnet20), ("GPT of 10.8 M parameters, 8 x 256 tokens", gpt)):
        yield from _training(title, make, setting)


def _training(title: str, make: Callable[[], Training], setting: Setting) -> Iterator[Row | Unmeasured]:
    steps = 12 if setting.quick else STEPS
    with tempfile.TemporaryDirectory() as folder, _stopwatch() as own:
        watched = make()
        with fs.record(watched.network, watched.optimizer, "bench", folder) as run:

            def ours() -> None:
                run.log(loss=watched.step())

            plain, recorded = _alternate(make().step, ours, steps, own.clear)
        calls = [100 * c / p for c, p in zip(own[-steps:], plain, strict=False)]
    yield _share(f"{title}: added by recording", plain, recorded, None)
    low, high = quartiles(calls)
    detail = (
        f"hooks and log, {statistics.fmean(own[-steps:]) * 1000:.2f} ms of {statistics.median(plain) * 1000:.0f} ms"
    )
    mean = 100 * sum(own[-steps:]) / sum(plain)
    yield Row(f"{title}: time inside the recorder", mean, "%", COST, low, high, detail)
    yield _bytes(title, make())
    for name, peer in (("tensorboard", _tensorboard), ("wandb", _wandb)):
        if load_peer(name) is None:
            yield Unmeasured(f"{title}: {name}", "not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            theirs = make()
            with peer(theirs, folder) as step:
                plain, recorded = _alternate(make().step, step, max(6, steps // 4), lambda: None)
        yield _share(f"{title}: added by {name}", plain, recorded, None)


def _bytes(title: str, training: Training) -> Row:
    """Size of a run's folder by step, over so many steps that what is written once does not count. Real gradients of
    one step, each entry times a random number, stand for those of the others: forwards would only take time.
    """
    training.step()
    gradients = [p.grad.clone() for p in training.network.parameters() if p.grad is not None]
    with tempfile.TemporaryDirectory() as folder:
        with fs.record(training.network, training.optimizer, "bench", folder) as run:
            for i in range(MANY):
                for p, gradient in zip(training.network.parameters(), gradients, strict=True):
                    p.grad = gradient * torch.randn_like(gradient)
                training.optimizer.step()
                run.log(loss=1 / (i + 1))
        size = sum(f.stat().st_size for f in run.path.iterdir()) if run.path else 0
    return Row(f"{title}: bytes of a step", size / MANY / 1000, "kB", BYTES, detail=f"{MANY} steps")


def _alternate(
    plain: Callable[[], object], recorded: Callable[[], object], steps: int, ready: Callable[[], object]
) -> tuple[list[float], list[float]]:
    """Seconds of both, step by step in turn, after three steps to warm up."""
    spent: tuple[list[float], list[float]] = ([], [])
    for i in range(steps + 3):
        if i == 3:
            ready()
        for program, seconds in ((plain, spent[0]), (recorded, spent[1])):
            start = time.perf_counter()
            program()
            seconds.append(time.perf_counter() - start)
    return spent[0][3:], spent[1][3:]


def _share(name: str, plain: list[float], recorded: list[float], bar: Bar | None) -> Row:
    base = statistics.median(plain)
    shares = [100 * (r - p) / base for r, p in zip(recorded, plain, strict=True)]
    low, high = quartiles(shares)
    detail = f"step {base * 1000:.1f} ms, recorded {statistics.median(recorded) * 1000:.1f} ms, {len(plain)} steps"
    return Row(name, 100 * (statistics.median(recorded) - base) / base, "%", bar, low, high, detail)


@contextlib.contextmanager
def _stopwatch() -> Iterator[list[float]]:
    """Seconds inside the recorder, hooks of the forward among them, one entry for each step."""
    from fluoroscope.model.activation_watch import ActivationWatch
    from fluoroscope.training.recorder.recording import Recording

    owners = {"_before_step": Recording, "_after_step": Recording, "log": Recording, "_see": ActivationWatch}
    kept = {name: getattr(owner, name) for name, owner in owners.items()}
    found: list[float] = []
    spent = [0.0]

    def timed(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            result = kept[name](*arguments, **named)
            spent[0] += time.perf_counter() - start
            if name == "log":
                found.append(spent[0])
                spent[0] = 0.0
            return result

        return call

    for name, owner in owners.items():
        setattr(owner, name, timed(name))
    try:
        yield found
    finally:
        for name, method in kept.items():
            setattr(owners[name], name, method)


@contextlib.contextmanager
def _tensorboard(training: Training, folder: str) -> Iterator[Callable[[], object]]:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder) as writer:
        count = [0]

        def step() -> None:
            loss = training.step()
            for name, p in training.network.named_parameters():
                writer.add_histogram(f"weight/{name}", p, count[0])
                writer.add_histogram(f"gradient/{name}", p.grad, count[0])
            writer.add_scalar("loss", loss, count[0])
            count[0] += 1

        yield step


@contextlib.contextmanager
def _wandb(training: Training, folder: str) -> Iterator[Callable[[], object]]:
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=str(Path(folder)))
    import wandb

    logging.getLogger("wandb").setLevel(logging.ERROR)
    run = wandb.init(project="bench", dir=folder)
    run.watch(training.network, log="all", log_freq=1)

    def step() -> None:
        run.log({"loss": training.step()})

    try:
        yield step
    finally:
        run.unwatch()
        run.finish()
