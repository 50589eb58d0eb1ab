"""Integrated gradients to a completeness error of 1 %: how often the network has to be run, and how near the map is."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import fluoroscope as fs
from bench.case import Bar, Row, Setting, Unmeasured, case
from bench.equality import same_values
from bench.peers import load_peer

TOLERANCE = 0.01
STEPS = (50, 100, 200, 400, 800)
LADDER = (5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 400)
EVERY = (*range(2, 40), *LADDER[7:])
FINE = 400
PICTURES = 4
SHARE = Bar(0.4)
NETWORKS = ("lenet_cifar10", "resnet20_cifar10", "vit_mnist")


@case("integrated-gradients", "Integrated gradients to a completeness error of 1 %", on_accelerator=False)
def integrated_gradients(setting: Setting) -> Iterator[Row | Unmeasured]:
    """`fs.IntegratedGradients(tolerance=0.01)` and captum's on trained networks (four pictures each, for the
    predicted class), counted in runs of the network (a forward and a backward) per picture. Equality comes first: the
    same fixed rule with the same points. Ours adds points to each picture until its own error is within 1 %; the error
    is that of the rule's weights as they are. captum has no such search, so that its count depends on how a user finds
    its number of steps, of its default rule, and the bar is held against three ways: from its default of 50 doubled
    until all pictures of the batch are within 1 % (one number holds for a batch); each picture by itself with the
    first of 5, 10, 15, 20, 30, 40, 50, 75, 100, ...; and each with the first of 2, 3, 4, ... at which the error passes
    through 1 %, which nobody knows beforehand. The steps spent on the tries before are not counted in any.
    Completeness says little about a map, so the distance to the converged map (400 middle points) is given, as a share
    of its length.
    """
    if load_peer("captum") is None:
        yield Unmeasured("integrated gradients", "captum is not installed")
        return
    load = _loader()
    if load is None:
        yield Unmeasured("integrated gradients", "the trained networks are not beside the project")
        return
    for name in NETWORKS[:1] if setting.quick else NETWORKS:
        model, inputs = _network(load, name)
        yield from _network_rows(name, model.requires_grad_(False), inputs, setting)


def _network_rows(name: str, model: nn.Module, x: torch.Tensor, setting: Setting) -> Iterator[Row]:
    targets = model(x).argmax(1).tolist()
    rise = (_scores(model, x, targets) - _scores(model, x * 0, targets)).numpy()
    fixed = fs.IntegratedGradients(quadrature="gauss-legendre", points=20)(model, x, target=targets).values
    yield same_values(
        f"{name}: gauss-legendre, 20 points, difference of values", fixed, _captum(model, x, targets, 20), setting
    )
    truth = fs.IntegratedGradients(quadrature="riemann-middle", points=FINE)(model, x, target=targets).values
    ours = fs.IntegratedGradients(tolerance=TOLERANCE)(model, x, target=targets)
    spent = ours.meta["evaluations"] / len(x)
    yield Row(
        f"{name}: our completeness error", _error(ours.values, rise).max(), "of the rise", Bar(TOLERANCE), values=True
    )
    steps = next((n for n in STEPS if _error(_captum(model, x, targets, n), rise).max() <= TOLERANCE), STEPS[-1])
    far = [f"{_distance(v, truth):.3f}" for v in (ours.values, _captum(model, x, targets, steps))]
    detail = f"{spent:.1f} against {steps} runs; distance to the converged map {far[0]} against {far[1]}"
    yield Row(
        f"{name}: our runs / captum's, doubled until all are within 1 %",
        spent / steps,
        "of theirs",
        SHARE,
        detail=detail,
    )
    for which, ladder in (("5, 10, 15, 20, 30, ...", LADDER), ("2, 3, 4, ...", EVERY)):
        tries = [
            _first(model, x[n : n + 1], targets[n : n + 1], rise[n], truth[n : n + 1], ladder) for n in range(len(x))
        ]
        count, off = np.mean([n for n, _ in tries]), np.mean([d for _, d in tries])
        detail = f"{spent:.1f} against {count:.1f} runs; distance to the converged map {far[0]} against {off:.3f}"
        title = f"{name}: our runs / captum's, each picture with the first of {which} within 1 %"
        yield Row(title, spent / count, "of theirs", SHARE, detail=detail)


def _first(
    model: nn.Module, x: torch.Tensor, target: list[int], rise: Any, truth: Any, ladder: tuple[int, ...]
) -> tuple[int, float]:
    for steps in ladder:
        values = _captum(model, x, target, steps)
        if _error(values, rise).max() <= TOLERANCE:
            return steps, _distance(values, truth)
    return ladder[-1], float("nan")


def _captum(model: nn.Module, x: torch.Tensor, targets: list[int], steps: int, method: str = "gausslegendre") -> Any:
    from captum.attr import IntegratedGradients

    made = IntegratedGradients(model).attribute(
        x, target=targets, n_steps=steps, method=method, internal_batch_size=128
    )
    return made.detach().numpy()


def _scores(model: nn.Module, x: torch.Tensor, targets: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(x)[torch.arange(len(x)), torch.tensor(targets)]


def _error(values: Any, rise: Any) -> Any:
    return np.abs(values.reshape(len(values), -1).astype(np.float64).sum(1) - rise) / np.abs(rise)


def _distance(values: Any, truth: Any) -> float:
    a, b = values.reshape(len(values), -1), truth.reshape(len(truth), -1)
    return float((np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).mean())


def _folder() -> Path | None:
    beside = Path(__file__).resolve().parents[2]
    named = os.environ.get("FLUOROSCOPE_ASSETS")
    places = [Path(named)] if named else [beside.parent / "shared" / "assets", beside / "shared" / "assets"]
    return next((p for p in places if (p / "models.py").is_file()), None)


def _loader() -> Any:
    folder = _folder()
    if folder is None:
        return None
    spec = importlib.util.spec_from_file_location("fluoroscope_assets", folder / "models.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = kept
    return module.load


def _network(load: Any, name: str) -> tuple[nn.Module, torch.Tensor]:
    """A trained network and some pictures of its kind."""
    from PIL import Image

    model, preprocess, _ = load(name)
    folder = _folder()
    assert folder is not None
    if name == "vit_mnist":
        import gzip

        with gzip.open(folder / "data" / "t10k-images-idx3-ubyte.gz") as file:
            digits = np.frombuffer(file.read(), np.uint8, offset=16)
        pictures = [Image.fromarray(d) for d in digits.reshape(-1, 28, 28)[:PICTURES]]
    else:
        pictures = [Image.open(f) for f in sorted((folder / "data" / "cifar10_test20").iterdir())[:PICTURES]]
    return model, torch.cat([preprocess(p) for p in pictures])
