"""LIME and KernelSHAP with 1,000 samples: against captum, as it is and at its best batch, and the lime package."""

from __future__ import annotations

import contextlib
import io
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

import fluoroscope as fs
from bench.case import Bar, Row, Setting, Unmeasured, case
from bench.equality import same_values
from bench.networks import pictures
from bench.peers import load_peer
from bench.resnet18 import resnet18
from bench.timing import ratio_row, time_once
from fluoroscope.model.seeding import generator

CELLS = 7
BATCHES = (4, 8, 16, 32)
TRIAL = 32
DEFAULTS, BEST, PACKAGE = Bar(4, at_least=True), Bar(1.5, at_least=True), Bar(5, at_least=True)
EXACT = Bar(1e-4)


@case("sampling", "LIME and KernelSHAP, 1,000 samples")
def sampling(setting: Setting) -> Iterator[Row | Unmeasured]:
    """`fs.LIME(samples=1000)` and `fs.KernelSHAP(samples=1000)` on a network of ResNet-18's shape, one picture of
    224 x 224, 7 x 7 cells, the predicted class (128 samples with `--quick`). Values first: LIME's are compared for the
    same masks, which captum is given one by one, with the same kernel and scikit-learn's Ridge; KernelSHAP's exact
    values of four bands with captum's ShapleyValues, which goes through all orders. captum's defaults run one
    variant at a time; its best batch is the fastest of 4, 8, 16 and 32. The lime package is called as its manual
    shows, its own segmentation included. The fit of the surrogate is part of every time. Each peer is run once,
    between two runs of ours. The rows "in bfloat16" are ours with `precision="bfloat16"`, which is not the default;
    what it changes is told beside them, and the bars are those of single precision.
    """
    samples = 128 if setting.quick else 1000
    network, x = resnet18(setting.device), pictures(1, device=setting.device)
    with torch.inference_mode():
        target = int(network(x).argmax())
    if load_peer("captum") is None:
        yield Unmeasured("captum", "not installed")
    else:
        yield _same_masks(network, x, target, setting)
        yield _same_shapley_values(network, x, target, setting)
        for name, ours, theirs in _pairs(network, x, target, samples):
            yield from _against_captum(name, ours, theirs, setting)
    yield from _against_lime(network, x, target, samples, setting)


def _grid(x: torch.Tensor) -> torch.Tensor:
    row = torch.arange(224, device=x.device) * CELLS // 224
    return (row[:, None] * CELLS + row)[None, None]


def _pairs(
    network: nn.Module, x: torch.Tensor, target: int, samples: int
) -> Iterator[tuple[str, Callable[[], Any], Callable[..., Any]]]:
    from captum.attr import KernelShap, Lime

    for name, method, peer in (("LIME", fs.LIME, Lime), ("KernelSHAP", fs.KernelSHAP, KernelShap)):

        def ours(precision: str = "float32", method: Any = method) -> Any:
            return method(samples=samples, count=CELLS**2, precision=precision)(network, x, target=target)

        def theirs(size: int = 1, count: int = samples, peer: Any = peer) -> Any:
            return peer(network).attribute(
                x, target=target, feature_mask=_grid(x), n_samples=count, perturbations_per_eval=size
            )

        yield name, ours, theirs


def _against_captum(name: str, ours: Any, theirs: Any, setting: Setting) -> Iterator[Row]:
    ours()
    best = min(BATCHES, key=lambda size: _seconds(lambda: theirs(size, TRIAL)))
    yield from _both(f"{name}: captum's defaults, its time / ours", theirs, ours, DEFAULTS)
    yield from _both(f"{name}: captum at its best batch ({best}), its time / ours", lambda: theirs(best), ours, BEST)


def _both(title: str, theirs: Callable[[], Any], ours: Any, bar: Bar) -> Iterator[Row]:
    """One run of theirs, between two of ours in each precision."""
    halved = [_seconds(lambda: ours("bfloat16"))]
    pair = time_once(theirs, ours)
    halved.append(_seconds(lambda: ours("bfloat16")))
    yield ratio_row(title, pair, bar, "theirs", "ours")
    ratios = [pair.first[0] / seconds for seconds in halved]
    gap = ours("bfloat16").meta["precision_difference"]
    detail = f"ours {1000 * min(halved):.1f} ms; its scores differ by {gap:.1e} of their range"
    yield Row(f"{title}, in bfloat16", statistics.median(ratios), "×", bar, min(ratios), max(ratios), detail)


def _seconds(program: Callable[[], Any]) -> float:
    start = time.perf_counter()
    program()
    return time.perf_counter() - start


def _same_masks(network: nn.Module, x: torch.Tensor, target: int, setting: Setting) -> Row:
    from captum._utils.models.linear_model import SkLearnLinearModel
    from captum.attr import Lime

    count = CELLS**2
    drawn = (torch.rand(2 * count, count, generator=generator(0, 0)) < 0.5).float().to(x.device)
    drawn[0] = 1
    rows = iter(drawn)

    def similar(original: Any, perturbed: Any, z: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.exp(-((1 - torch.sqrt(z.double().mean())) ** 2) / (2 * 0.25**2))

    peer = Lime(
        network,
        interpretable_model=SkLearnLinearModel(sklearn_module="linear_model.Ridge", alpha=1.0),
        similarity_func=similar,
        perturb_func=lambda original, **_: next(rows)[None],
    )
    theirs = peer.attribute(
        x,
        target=target,
        feature_mask=_grid(x),
        n_samples=2 * count,
        perturbations_per_eval=14,
        return_input_shape=False,
    )
    ours = fs.LIME(samples=2 * count, count=count)(network, x, target=target).values
    row = same_values(
        "LIME: captum with the same masks, difference of values", ours.reshape(1, -1), theirs.cpu(), setting
    )
    return Row(row.name, row.value, row.unit, EXACT, values=True)  # captum fits in single precision


def _same_shapley_values(network: nn.Module, x: torch.Tensor, target: int, setting: Setting) -> Row:
    from captum.attr import ShapleyValues

    bands = (torch.arange(224, device=x.device) // 56)[None, None, :, None].expand(1, 1, 224, 224).contiguous()
    theirs = ShapleyValues(network).attribute(x, target=target, feature_mask=bands, perturbations_per_eval=5)[:, 0]
    ours = fs.KernelSHAP(segments=bands[0, 0].cpu().numpy(), samples=16)(network, x, target=target).values
    row = same_values("KernelSHAP: captum's exact Shapley values, difference", ours, theirs.cpu(), setting)
    return Row(row.name, row.value, row.unit, EXACT, values=True)


def _against_lime(
    network: nn.Module, x: torch.Tensor, target: int, samples: int, setting: Setting
) -> Iterator[Row | Unmeasured]:
    if load_peer("lime") is None:
        yield Unmeasured("LIME: the lime package", "not installed")
        return
    from lime.lime_image import LimeImageExplainer

    picture = x[0].permute(1, 2, 0).cpu().double().numpy()

    def classify(batch: Any) -> Any:
        with torch.no_grad():
            found = network(torch.from_numpy(np.asarray(batch)).permute(0, 3, 1, 2).float().to(x.device))
        return found.cpu().numpy()

    def theirs() -> Any:
        explainer = LimeImageExplainer(random_state=0)
        return explainer.explain_instance(picture, classify, top_labels=5, hide_color=0, num_samples=samples)

    def ours(precision: str = "float32") -> Any:
        method = fs.LIME(samples=samples, segments="superpixels", count=CELLS**2, precision=precision)
        return method(network, x, target="top5")

    yield from _both("LIME: the lime package, its time / ours", _silently(theirs), ours, PACKAGE)


def _silently(program: Callable[[], Any]) -> Callable[[], Any]:
    """Without the peer's progress bar."""

    def run() -> Any:
        with contextlib.redirect_stderr(io.StringIO()):
            return program()

    return run
