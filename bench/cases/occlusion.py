"""Occlusion on three shapes of networks, against captum at its best batch size."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

import fluoroscope as fs
from bench.case import Bar, Row, Setting, Unmeasured, case
from bench.equality import difference
from bench.mobilenet import mobilenet_v2
from bench.networks import pictures, resnet50
from bench.peers import load_peer
from bench.timing import ratio_row, time_once
from bench.vgg16 import vgg16

WINDOW, STRIDE = 16, 8
SAME = Bar(1e-4)
BATCHES = (1, 4, 8, 16)
NETWORKS: tuple[tuple[str, Callable[[str], nn.Module], float], ...] = (
    ("MobileNetV2", mobilenet_v2, 4),
    ("ResNet-50", resnet50, 3),
    ("VGG-16", vgg16, 8),
)


@case("occlusion", "Occlusion sensitivity")
def occlusion(setting: Setting) -> Iterator[Row | Unmeasured]:
    """`fs.Occlusion(window=16, stride=8)` on one picture of 224 x 224 (729 windows) for the predicted class, against
    captum's Occlusion with the same windows, covering all channels, and with the best of the batch sizes 1, 4, 8 and 16
    (`perturbations_per_eval`), which is looked for with 36 windows; it is run once, between two runs of ours. captum
    gives each pixel the mean over the windows that hold it; ours are put in the same form before they are compared.
    Their difference is a share of the largest value.
    """
    for name, make, bar in NETWORKS[:1] if setting.quick else NETWORKS:
        if load_peer("captum") is None:
            yield Unmeasured(name, "captum is not installed")
        else:
            yield from _network(name, make(setting.device), bar, setting)


def _network(name: str, network: nn.Module, bar: float, setting: Setting) -> Iterator[Row]:
    inputs = pictures(1, device=setting.device)
    with torch.inference_mode():
        target = network(inputs).argmax(1).tolist()
    best = min(BATCHES, key=lambda batch: _seconds(lambda: _captum(network, inputs, target, batch, 64, 32)))

    def ours() -> fs.Attribution:
        return fs.Occlusion(window=WINDOW, stride=STRIDE)(network, inputs, target=target)

    def theirs() -> torch.Tensor:
        return _captum(network, inputs, target, best, WINDOW, STRIDE)

    found, seen = ours(), []
    pair = time_once(lambda: seen.append(theirs()), ours)
    distance = difference(spread(found.values, 224), seen[0][:, 0].detach().cpu())
    share = found.meta.get("share_of_forward", 1)
    detail = f"incremental: {found.meta['incremental']}, {share:.2f} of the work of whole forwards"
    title = f"{name}: difference of values"
    yield Row(title, distance, "of the largest value", SAME, detail=detail, values=True)
    title = f"{name}: captum's time in batches of {best} / ours"
    yield ratio_row(title, pair, Bar(bar, at_least=True), "theirs", "ours")


def _captum(
    network: nn.Module, inputs: torch.Tensor, target: list[int], batch: int, window: int, stride: int
) -> torch.Tensor:
    from captum.attr import Occlusion

    with torch.no_grad():
        return Occlusion(network).attribute(
            inputs, (3, window, window), (3, stride, stride), target=target, perturbations_per_eval=batch
        )


def spread(values: np.ndarray, size: int) -> np.ndarray:
    """Values (N, I, J) of windows as (N, size, size): for each pixel the mean over the windows that hold it."""
    total, count = np.zeros((len(values), size, size)), np.zeros((size, size))
    for i, j in np.ndindex(*values.shape[1:]):
        rows, columns = slice(i * STRIDE, i * STRIDE + WINDOW), slice(j * STRIDE, j * STRIDE + WINDOW)
        total[:, rows, columns] += values[:, i, j, None, None]
        count[rows, columns] += 1
    return total / count


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
