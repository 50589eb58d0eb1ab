"""The demo: a small network's whole life on real handwriting, and a report of what was inside it at each time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fluoroscope.demo.fault import FAULT, faulty_training
from fluoroscope.demo.localisation import localisation
from fluoroscope.demo.network import SceneNet, as_subject, make_network
from fluoroscope.demo.recording import Watched, watched
from fluoroscope.demo.scenes import Scenes, make_scenes
from fluoroscope.demo.training import TrainingRun, accuracy, as_history, steps_of, train
from fluoroscope.methods.progress import progress
from fluoroscope.methods.registry import report_methods
from fluoroscope.methods.weights.weight_maps import WeightMaps
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.subject import Subject
from fluoroscope.reporting import report
from fluoroscope.results import Findings, Result, Scorecard, TensorSummary, atomic_write

__all__ = ["Demo", "Size", "run"]


@dataclass(frozen=True)
class Size:
    """How much work the demo does: scenes per epoch, epochs, scenes for checking, scenes shown in the report; scenes
    and epochs of the training with a planted fault.
    """

    training: int = 5000
    epochs: int = 8
    checking: int = 1000
    pointing: int = 200
    shown: int = 6
    faulty: int = 2000
    faulty_epochs: int = 4


@dataclass(frozen=True)
class Demo:
    """What a demo made: files by what they are, the accuracy on unseen digits, the localisation table, the diagnoses
    of its own training (``training``) and of one with a planted fault (``planted-fault``).
    """

    files: dict[str, Path]
    accuracy: float
    seconds: float
    localisation: Scorecard
    diagnoses: dict[str, Findings]


def run(
    out: str | Path = "demo", *, seed: int = 0, echo: Callable[[str], None] = print, size: Size | None = None
) -> Demo:
    """Train a network on real handwriting, look at it at every stage of its life, and check the pictures.

    ``echo`` is told, line by line, what happens. Files are written into the folder ``out``: the report, the network's
    weights, the training's history, the scenes shown.

    Raises:
        MissingExtra: scikit-learn, which brings the handwriting, is not installed.
        ResultFileError: the folder can't be written.
    """
    size, folder, started = size or Size(), Path(out), time.perf_counter()
    network = make_network(seed)
    before = WeightMaps()(network).replace(title="Weights before training")
    unseen = make_scenes(size.checking, seed + 1_000_003, split="test")
    echo(f"training {sum(p.numel() for p in network.parameters()):,} parameters on handwritten digits among clutter")
    watch = watched(folder / "runs", "training", scenes=size.training, epochs=size.epochs, seed=seed)
    training = _train(network, unseen, size, seed, watch)
    score = accuracy(network, unseen)
    echo(
        f"trained in {training.seconds:.0f} s; reads {score:.1%} of {len(unseen):,} scenes with digits it never saw "
        "(chance: 10%)"
    )
    faulty = faulty_training(watch.folder, scenes=size.faulty, epochs=size.faulty_epochs, seed=seed)
    for line in _diagnoses(watch, faulty):
        echo(line)
    subject = as_subject(network)
    checked = _read_rightly(subject, unseen, size.pointing)
    table = localisation(subject, _inputs(checked), checked)
    for line in _table(table):
        echo(line)
    during = _during(training, watch, faulty)
    files = _write(folder, subject, unseen, before, during, table, size)
    found = {run.name: run.findings for run in (watch, faulty)}
    return Demo({**files, "runs": watch.folder}, score, time.perf_counter() - started, table, found)


def _diagnoses(watch: Watched, faulty: Watched) -> Iterator[str]:
    """What the diagnosis says of both trainings, as lines of text."""
    yield f"what does the diagnosis say? this training: {watch.findings.caption}"
    for finding in watch.findings:
        yield f"  {finding.severity}: {finding.title}"
    yield f"a second, short training with a planted fault ({FAULT}): {faulty.findings.caption}"
    for finding in faulty.findings:
        yield f"  {finding.severity}: {finding.title}"
        if finding.severity == "problem":
            yield f"    {finding.evidence}"
            yield f"    try: {finding.advice[0]}"


def _during(training: TrainingRun, watch: Watched, faulty: Watched) -> list[Result]:
    """Curves, tensors and diagnosis of the demo's training, then of the one with a planted fault."""
    return [
        as_history(training),
        watch.tensors("Layer by layer", "Every parameter at every step of this training, as fs.record saw it."),
        watch.findings.replace(title="Diagnosis of this training"),
        faulty.tensors("Layer by layer, with a planted fault", f"A second, short training: {FAULT}."),
        faulty.findings.replace(title="Diagnosis of the training with a planted fault"),
    ]


def _train(network: SceneNet, unseen: Scenes, size: Size, seed: int, watch: Watched) -> TrainingRun:
    with progress("Training", steps_of(size.training, size.epochs)) as bar:
        return train(
            network,
            lambda epoch: make_scenes(size.training, seed + epoch),
            unseen,
            epochs=size.epochs,
            seed=seed,
            progress=lambda step, total, loss, accuracy: bar.advance(),
            record=watch.record,
        )


def _read_rightly(subject: Subject, scenes: Scenes, count: int) -> Scenes:
    """The first ``count`` scenes that the network classifies as what they show: only there is the digit the
    evidence.
    """
    with torch.no_grad():
        answers = subject.module.eval()(torch.from_numpy(scenes.images)).argmax(1).numpy()
    return scenes.subset(np.flatnonzero(answers == scenes.labels)[:count])


def _inputs(scenes: Scenes) -> Inputs:
    names = tuple(f"scene {n}: a {label}" for n, label in enumerate(scenes.labels))
    return Inputs((torch.from_numpy(scenes.images),), {}, len(scenes), names)


def _table(card: Scorecard) -> list[str]:
    """The localisation table as lines of text."""
    width = max(map(len, card.rows), default=0)
    lines = [
        f"is the picture true? how often each method's peak falls on the digit "
        f"(a random place: {card.reference[0]:.0%})"
    ]
    for name, values, errors in zip(card.rows, card.table, card.errors if card.errors is not None else (), strict=True):
        lines.append(f"  {name:<{width}}  {values[0]:6.1%} ± {errors[0]:.1%}")
    return lines


def _write(
    folder: Path,
    subject: Subject,
    scenes: Scenes,
    before: TensorSummary,
    during: list[Result],
    table: Scorecard,
    size: Size,
) -> dict[str, Path]:
    from safetensors.torch import save

    shown = scenes.subset(_one_of_each(scenes.labels, size.shown))
    after = WeightMaps()(subject).replace(title="Weights after training")
    path = report(
        subject,
        _inputs(shown),
        folder / "report.html",
        title="A network's life: reading digits among clutter",
        methods=[cls for cls in report_methods() if cls is not WeightMaps],
        extra={"before": [before], "during": during, "after": [after], "inference": [table]},
        limit=size.shown,
    )
    weights = folder / "network.safetensors"
    with atomic_write(weights) as handle:
        handle.write(save({k: v.contiguous() for k, v in subject.module.state_dict().items()}))
    return {
        "report": path,
        "weights": weights,
        "history": during[0].save(folder / "history.fluo"),
        "scenes": _write_scenes(folder / "scenes", shown),
    }


def _one_of_each(labels: np.ndarray, count: int) -> np.ndarray:
    """Places of ``count`` examples, different classes first."""
    first = [int(np.flatnonzero(labels == c)[0]) for c in np.unique(labels)]
    rest = [n for n in range(len(labels)) if n not in first]
    return np.array((first + rest)[:count])


def _write_scenes(folder: Path, scenes: Scenes) -> Path:
    for n, (image, label) in enumerate(zip(scenes.images, scenes.labels, strict=True)):
        with atomic_write(folder / f"{n}_digit{label}.png") as handle:
            Image.fromarray((image[0] * 255).round().astype(np.uint8)).save(handle, format="PNG")
    return folder
