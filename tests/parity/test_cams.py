"""Class activation maps against torchcam and pytorch-grad-cam: raw maps at the layer's own positions.

Where a peer differs on purpose the test says how; where it is wrong, the test says what is right.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fluoroscope as fs
from tests.parity.agreement import agree
from tests.parity.conftest import RELUS, SmallNetwork, Subject

Array = np.ndarray


@pytest.fixture
def torchcam(peers: Any) -> Any:
    if peers.load_peer("torchcam") is None:
        pytest.skip("torchcam is not installed; bash bench/setup.sh, then use .venv-bench/bin/python")
    import torchcam.methods

    return torchcam.methods


@pytest.fixture
def jacobgil(peers: Any) -> Any:
    module = peers.load_peer("pytorch_grad_cam")
    if module is None:
        pytest.skip("pytorch_grad_cam is not installed; bash bench/setup.sh, then use .venv-bench/bin/python")
    return module


def torchcam_raw(method: Any, subject: Subject, layer: str, targets: list[int], **options: Any) -> Array:
    with method(subject.network, layer, **options) as extractor:
        scores = subject.network(subject.inputs)
        arguments = {} if "scores" not in extractor._get_weights.__code__.co_varnames else {"scores": scores}
        return extractor(targets, **arguments, normalized=False)[0].detach().cpu().numpy()


def jacobgil_raw(method: Any, subject: Subject, layer: str, targets: list[int]) -> Array:
    """The map before scaling and before the ReLU."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    module = subject.network.get_submodule(layer)
    wanted = [ClassifierOutputTarget(t) for t in targets]
    with method(model=subject.network, target_layers=[module]) as cam:
        cam(input_tensor=subject.inputs, targets=wanted)
        seen = cam.activations_and_grads
        activations = seen.activations[0].detach().numpy()
        gradients = seen.gradients[0].detach().numpy() if seen.gradients else None
        return np.asarray(cam.get_cam_image(subject.inputs, module, wanted, activations, gradients, False))


@pytest.mark.parametrize(("ours", "theirs"), [("XGradCAM", "XGradCAM"), ("LayerCAM", "LayerCAM")])
def test_gradient_maps_equal_torchcam(trained: Subject, torchcam: Any, ours: str, theirs: str) -> None:
    """1e-4: its denominators have 1e-8 added, which shows where gradients are small."""
    for layer in trained.layers:
        found = getattr(fs, ours)(layer=layer)(trained.network, trained.inputs).values
        agree(found, np.maximum(torchcam_raw(getattr(torchcam, theirs), trained, layer, trained.predicted()), 0), 1e-4)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("XGradCAM", "XGradCAM"),
        ("LayerCAM", "LayerCAM"),
        ("HiResCAM", "HiResCAM"),
        ("ElementWiseCAM", "GradCAMElementWise"),
    ],
)
def test_gradient_maps_equal_pytorch_grad_cam(trained: Subject, jacobgil: Any, ours: str, theirs: str) -> None:
    """1e-4: their denominators have 1e-7 added."""
    for layer in trained.layers:
        method = getattr(fs, ours)(layer=layer)
        found = method(trained.network, trained.inputs).values
        expected = jacobgil_raw(getattr(jacobgil, theirs), trained, layer, trained.predicted())
        agree(found, expected if method.signed else np.maximum(expected, 0), 1e-4)


def test_grad_cam_plus_plus_equals_pytorch_grad_cam(small: Subject, jacobgil: Any) -> None:
    """For large gradients: 1e-6 in their denominator stands beside squared gradients that usually are far smaller."""
    with torch.no_grad():
        small.network.classifier.weight.mul_(1e4)
    found = fs.GradCAMPlusPlus(layer="block")(small.network, small.inputs).values
    agree(found, np.maximum(jacobgil_raw(jacobgil.GradCAMPlusPlus, small, "block", small.predicted()), 0), 1e-4)


def test_torchcams_grad_cam_plus_plus_does_not_divide(small: Subject, torchcam: Any) -> None:
    """Its division works on a copy, so its weights are cubes of positive gradients; ours are those of the paper."""
    targets = small.predicted()
    theirs = torchcam_raw(torchcam.GradCAMpp, small, "block", targets)
    maps = fs.Activations(layer="block")(small.network, small.inputs).values
    leaf = torch.from_numpy(maps).requires_grad_()
    x = small.network.relu3(small.network.third(leaf))
    scores = small.network.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))
    (g,) = torch.autograd.grad(scores.gather(1, torch.tensor(targets)[:, None]).sum(), leaf)
    cubes = np.einsum("nc,ncxy->nxy", g.relu().pow(3).sum((2, 3)).numpy(), maps)
    agree(theirs, np.maximum(cubes, 0), 1e-4)


@pytest.mark.parametrize(("ours", "theirs"), [("EigenCAM", "EigenCAM"), ("EigenGradCAM", "EigenGradCAM")])
def test_eigen_maps_equal_pytorch_grad_cam_but_for_the_sign(
    trained: Subject, jacobgil: Any, ours: str, theirs: str
) -> None:
    """A singular vector has no sign; theirs is left to chance. 1e-3: nearly equal singular values mix their vectors."""
    layer = trained.layers[0]
    found = getattr(fs, ours)(layer=layer, center=True)(trained.network, trained.inputs).values
    expected = jacobgil_raw(getattr(jacobgil, theirs), trained, layer, trained.predicted())
    signs = np.sign((found * expected).sum((1, 2), keepdims=True))
    agree(found, expected * signs, 1e-3)


def test_ablation_equals_pytorch_grad_cam(small: Subject, jacobgil: Any) -> None:
    """Theirs is divided by the score. Only where the layer's least activation is zero do they set channels to zero."""
    if not isinstance(small.network.relu2, nn.ReLU):
        pytest.skip("they replace modules, and the layer has to end in one")
    targets = small.predicted()
    found = fs.AblationCAM(layer="block")(small.network, small.inputs, target=targets)
    expected = jacobgil_raw(jacobgil.AblationCAM, small, "block", targets) * found.scores[:, None, None]
    agree(found.values, np.maximum(expected, 0), 1e-4)


def test_ablation_is_nearer_to_double_precision_than_pytorch_grad_cam(
    trained: Subject, jacobgil: Any, exact: Any
) -> None:
    """Both differ from the formula in float64; theirs takes differences of nearly equal single-precision scores."""
    layer, inputs = trained.layers[0], trained.inputs[:2]
    if inputs.shape[-1] > 32:
        pytest.skip("theirs runs the whole network for each of 1280 channels: minutes")
    targets = trained.predicted()[:2]
    some = Subject(trained.network, inputs, trained.layers)
    found = fs.AblationCAM(layer=layer)(some.network, inputs, target=targets)
    theirs = jacobgil_raw(jacobgil.AblationCAM, some, layer, targets) * found.scores[:, None, None]
    expected = exact.ablation_cam(some.network, layer, inputs, targets)
    agree(found.values, expected, 1e-5)
    off = [np.abs(values - expected).max() / expected.max() for values in (found.values, np.maximum(theirs, 0))]
    assert off[0] < off[1], off


def test_negative_scores_invert_their_ablation_and_not_ours(jacobgil: Any) -> None:
    """A bias changes no fall, so it must not change the map; divided by a negative score, the map changes its sign."""
    torch.manual_seed(2)
    subject = Subject(SmallNetwork(nn.ReLU).eval(), torch.randn(2, 3, 24, 24), ("block",))
    raw = {}
    for shift in (100.0, -100.0):
        with torch.no_grad():
            subject.network.classifier.bias.fill_(shift)
        ours = fs.AblationCAM(layer="block")(subject.network, subject.inputs, target=[1, 1]).values
        raw[shift] = ours, jacobgil_raw(jacobgil.AblationCAM, subject, "block", [1, 1])
    agree(raw[100.0][0], raw[-100.0][0], 1e-2)
    agree(raw[100.0][1], -raw[-100.0][1], 1e-2)


def test_cam_equals_torchcam(torchcam: Any, trained: Subject) -> None:
    """Their weights are the dense layer's rows, so the map is the same, ReLU aside."""
    layer, dense = trained.layers[0], [n for n, m in trained.network.named_modules() if isinstance(m, nn.Linear)][-1]
    targets = trained.predicted()
    try:
        found = fs.CAM(layer=layer)(trained.network, trained.inputs, target=targets).values
    except fs.FluoroscopeError:
        pytest.skip("not pooled and read by one dense layer alone")
    with torchcam.CAM(trained.network, layer, dense) as extractor, torch.no_grad():
        trained.network(trained.inputs)
        expected = extractor(targets, normalized=False)[0].numpy()
    agree(np.maximum(found, 0), np.maximum(expected, 0), 1e-4)


def test_score_cam_equals_torchcam(small: Subject, torchcam: Any) -> None:
    """Theirs puts the map together from maps scaled from 0 to 1; so is ours here, from the same weights."""
    targets = small.predicted()
    found = fs.ScoreCAM(layer="block")(small.network, small.inputs, target=targets)
    assert found.values.max() > 0
    with torchcam.ScoreCAM(small.network, "block", input_shape=(3, 24, 24)) as extractor, torch.no_grad():
        small.network(small.inputs)
        weights = extractor._get_weights(targets)[0]
        activations = extractor.hook_a[0]
    maps = fs.Activations(layer="block")(small.network, small.inputs).values
    agree(maps, activations.numpy(), 1e-6)
    agree(found.values, np.maximum(np.einsum("nc,ncxy->nxy", weights.numpy(), maps), 0), 1e-4)


def test_is_cam_with_steps_summed_up_equals_torchcam(small: Subject, torchcam: Any) -> None:
    """Ten strengths go to 5.5 there; the mean along the straight path to the masked input ends at 1."""
    targets, seen = small.predicted(), list[Tensor]()
    summed = fs.ISCAM(layer="block", path="summed")(small.network, small.inputs, target=targets).values
    with torchcam.ISCAM(small.network, "block", input_shape=(3, 24, 24)) as extractor, torch.no_grad():
        small.network(small.inputs)
        handle = small.network.register_forward_pre_hook(lambda m, args: seen.append(args[0].abs().amax()))
        weights = extractor._get_weights(targets)[0]
        handle.remove()
        maps = extractor.hook_a[0].numpy()
    assert max(float(s) for s in seen) > 4 * float(small.inputs.abs().max())
    agree(summed, np.maximum(np.einsum("nc,ncxy->nxy", weights.numpy(), maps), 0), 1e-4)
    straight = fs.ISCAM(layer="block")(small.network, small.inputs, target=targets).values
    assert not np.allclose(straight, summed, rtol=1e-2)


@pytest.mark.parametrize("references", [1, 3])
def test_finer_cam_by_probability_equals_pytorch_grad_cam(references: int, small: Subject, jacobgil: Any) -> None:
    method = fs.FinerCAM(layer="block", references=references, weighting="probability")
    found = method(small.network, small.inputs).values
    cam = jacobgil.FinerCAM(small.network, [small.network.block])
    cam(small.inputs, comparison_categories=list(range(1, references + 1)))
    seen = cam.base_cam.activations_and_grads
    weights = seen.gradients[0].mean((2, 3))
    expected = torch.einsum("nc,ncxy->nxy", weights, seen.activations[0]).relu()
    seen.release()
    agree(found, expected.detach(), 1e-4)


def test_full_grad_by_channel_equals_pytorch_grad_cam(jacobgil: Any) -> None:
    """Theirs comes from 0 to 1 alone, takes layers to run in the order in which they were registered, and adds 1e-7 to
    its denominators, which large scores hide.
    """
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    torch.manual_seed(4)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 12, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10),
    )  # fmt: skip
    network[-1].weight.data.mul_(1e4)
    network.train()(torch.randn(16, 3, 24, 24))
    inputs, targets = torch.randn(4, 3, 24, 24), [1, 0, 5, 7]
    found = fs.FullGrad(rescale="channel")(network.eval(), inputs, target=targets).values
    found = found - found.min((1, 2), keepdims=True)
    with jacobgil.FullGrad(network, []) as cam:
        expected = cam(inputs, targets=[ClassifierOutputTarget(t) for t in targets])
    agree(found / found.max((1, 2), keepdims=True), expected, 1e-3)


def test_shapley_cam_equals_pytorch_grad_cam(small: Subject, jacobgil: Any) -> None:
    """Both scaled and enlarged, since theirs gives nothing else."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputReST

    targets = small.predicted()
    found = fs.ShapleyCAM(layer="block")(small.network, small.inputs, target=targets)
    maps = found.values - found.values.min((1, 2), keepdims=True)
    large = found.replace(data=maps / maps.max((1, 2), keepdims=True)).resized(24, 24)
    large = (large - large.min((1, 2), keepdims=True)) / np.ptp(large, axis=(1, 2), keepdims=True)
    for n, target in enumerate(targets):
        with warnings.catch_warnings(), jacobgil.ShapleyCAM(small.network, [small.network.block]) as cam:
            warnings.simplefilter("ignore")
            expected = cam(small.inputs[n : n + 1], targets=[ClassifierOutputReST(target)])
        agree(large[n : n + 1], expected, 1e-3)


@pytest.mark.parametrize("relu", sorted(RELUS))
def test_guided_grad_cam_is_the_same_for_every_relu(relu: str, captum: Any) -> None:
    """captum replaces modules: a functional ReLU gives the plain gradient there, and the guided one here."""
    from captum.attr import GuidedBackprop

    subjects = {}
    for kind in ("module", relu):
        torch.manual_seed(5)
        subjects[kind] = SmallNetwork(RELUS[kind]).eval()
        torch.manual_seed(6)
    inputs = torch.randn(2, 3, 24, 24)
    found = fs.GuidedGradCAM(layer="third")(subjects[relu], inputs, target=3).values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fine = GuidedBackprop(subjects["module"]).attribute(inputs, target=3)
    coarse = torch.from_numpy(fs.GradCAM(layer="third")(subjects["module"], inputs, target=3).values)
    agree(found, fine * F.interpolate(coarse[:, None], (24, 24), mode="bilinear"), 1e-4)
