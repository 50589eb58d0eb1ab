"""Class activation maps: several on one layer together, and those that run the network hundreds of times."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import fluoroscope as fs
from bench.case import Bar, Row, Setting, Unmeasured, case
from bench.equality import difference, same_values
from bench.networks import pictures, resnet50
from bench.peers import load_peer
from bench.references import ablation_cam as ablation_cam_exact
from bench.resnet18 import resnet18
from bench.timing import Pair, quartiles, time_pair

LAYER = "layer4"
SIX = (fs.GradCAM, fs.GradCAMPlusPlus, fs.XGradCAM, fs.LayerCAM, fs.HiResCAM, fs.ElementWiseCAM)
TOGETHER = Bar(1.3)
NEARER = Bar(1, at_least=True)
ABLATION = Bar(100, at_least=True)
SCORE = Bar(1.5, at_least=True)


@case("cams-together", "Six class activation maps on one layer")
def cams_together(setting: Setting) -> Iterator[Row | Unmeasured]:
    """`fs.explain` with Grad-CAM, Grad-CAM++, XGrad-CAM, LayerCAM, HiResCAM and element-wise Grad-CAM on the last stage
    of a network of ResNet-50's shape, against `fs.GradCAM` alone on the same inputs. Values are those of each method
    called by itself.
    """
    network = resnet50(setting.device)
    methods = [cls(layer=LAYER) for cls in SIX]
    for batch in setting.batches:
        inputs = pictures(batch, device=setting.device)

        def six(inputs: torch.Tensor = inputs) -> Any:
            return fs.explain(network, inputs, methods)

        def one(inputs: torch.Tensor = inputs) -> Any:
            return methods[0](network, inputs)

        together = six()
        for method in methods:
            alone = method(network, inputs).values
            yield same_values(
                f"batch {batch}: {method.title}, difference of values", together[method.name].values, alone, setting
            )
        pair = time_pair(six, one, rounds=setting.rounds)
        yield _row(f"batch {batch}: time of six, in Grad-CAMs", pair, TOGETHER, "six", "one")


@case("ablation-cam", "Ablation-CAM on the last stage")
def ablation_cam(setting: Setting) -> Iterator[Row | Unmeasured]:
    """`fs.AblationCAM(layer="layer4")` on a network of ResNet-18's shape at 224 x 224, one picture, against
    pytorch-grad-cam's AblationCAM at the batch size of its default (32). Values are the raw maps after the ReLU, each
    held against the formula in double precision, channel by channel: theirs, multiplied by the score by which they are
    divided, are differences of nearly equal single-precision scores. CPU time is that of the process, all threads
    together.
    """
    network, inputs = resnet18(setting.device), pictures(1, device=setting.device)
    targets = _predicted(network, inputs)

    def ours() -> fs.Attribution:
        return fs.AblationCAM(layer=LAYER)(network, inputs, target=targets)

    if load_peer("pytorch_grad_cam") is None:
        yield Unmeasured("pytorch-grad-cam AblationCAM", "not installed")
        return
    score = ours().scores[:, None, None]
    theirs, spent = _cpu(lambda: _jacobgil("AblationCAM", network, inputs, targets))
    exact = ablation_cam_exact(network, LAYER, inputs, targets)
    off, peer_off = difference(ours().values, exact), difference(np.maximum(theirs * score, 0), exact)
    yield Row("difference from double precision", off, "of the largest value", Bar(setting.tolerance), values=True)
    name = "pytorch-grad-cam AblationCAM, its difference from double precision"
    yield Row(name, peer_off, "of the largest value")
    yield Row(f"{name} / ours", peer_off / max(off, 1e-12), "×", NEARER, values=True)
    own = sorted(_cpu(ours)[1] for _ in range(setting.rounds))
    ratios = [spent / o for o in reversed(own)]
    low, high = quartiles(ratios)
    detail = f"theirs {spent:.1f} s, ours {1000 * own[len(own) // 2]:.0f} ms, {len(own)} rounds of ours"
    yield Row(
        "pytorch-grad-cam AblationCAM, its CPU time / ours",
        spent / own[len(own) // 2],
        "×",
        ABLATION,
        low,
        high,
        detail,
    )


@case("score-cam", "Score-CAM on the last stage")
def score_cam(setting: Setting) -> Iterator[Row | Unmeasured]:
    """`fs.ScoreCAM(layer="layer4")` on a network of ResNet-18's shape at 224 x 224, one picture (512 masked inputs),
    against torchcam's and pytorch-grad-cam's at their default batch sizes (32 and 16). Values: the map made of
    torchcam's weights and the layer's activations. pytorch-grad-cam enlarges its masks in another way (corners
    aligned), so that it is compared by time only. Their fastest is what counts.
    """
    network, inputs = resnet18(setting.device), pictures(1, device=setting.device)
    targets = _predicted(network, inputs)

    def ours() -> fs.Attribution:
        return fs.ScoreCAM(layer=LAYER)(network, inputs, target=targets)

    peers: dict[str, Callable[[], Any]] = {}
    if load_peer("torchcam") is not None:
        peers["torchcam"] = lambda: _torchcam(network, inputs, targets)
        maps = fs.Activations(layer=LAYER)(network, inputs).values
        expected = np.maximum(np.einsum("nc,nchw->nhw", _torchcam(network, inputs, targets), maps), 0)
        yield same_values("torchcam ScoreCAM, difference of values", ours().values, expected, setting)
    if load_peer("pytorch_grad_cam") is not None:
        peers["pytorch-grad-cam"] = lambda: _jacobgil("ScoreCAM", network, inputs, targets)
    for name, theirs in peers.items():
        pair = time_pair(theirs, ours, rounds=min(setting.rounds, 3), warm_up=1)
        yield _row(f"{name} ScoreCAM, its time / ours", pair, SCORE, "theirs", "ours")
    for name in {"torchcam", "pytorch-grad-cam"} - set(peers):
        yield Unmeasured(f"{name} ScoreCAM", "not installed")


def _predicted(network: torch.nn.Module, inputs: torch.Tensor) -> list[int]:
    with torch.inference_mode():
        return network(inputs).argmax(1).tolist()


def _cpu(program: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    found = program()
    return found, time.process_time() - start


def _torchcam(network: torch.nn.Module, inputs: torch.Tensor, targets: list[int]) -> np.ndarray:
    """The channels' weights, which is what takes the time."""
    from torchcam.methods import ScoreCAM

    with ScoreCAM(network, LAYER) as extractor, torch.no_grad():
        network(inputs)
        return extractor._get_weights(targets)[0].cpu().numpy()


def _jacobgil(name: str, network: torch.nn.Module, inputs: torch.Tensor, targets: list[int]) -> np.ndarray:
    """The map before scaling and before the ReLU; its progress bar is not shown."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    layer, wanted = network.get_submodule(LAYER), [ClassifierOutputTarget(t) for t in targets]
    with (
        getattr(pytorch_grad_cam, name)(model=network, target_layers=[layer]) as cam,
        contextlib.redirect_stderr(io.StringIO()),
    ):
        with torch.no_grad():
            cam.activations_and_grads(inputs)
        activations = cam.activations_and_grads.activations[0].numpy()
        return cam.get_cam_image(inputs, layer, wanted, activations, None)


def _row(name: str, pair: Pair, bar: Bar, first: str, second: str) -> Row:
    low, high = quartiles(pair.ratios)
    return Row(name, pair.ratio, "×", bar, low, high, pair.summary(first, second))
