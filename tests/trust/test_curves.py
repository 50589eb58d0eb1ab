"""Deletion and insertion against the formula done place by place, on a network whose evidence is known."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fluoroscope as fs
from fluoroscope.errors import OptionError
from fluoroscope.model.inputs import Inputs
from fluoroscope.trust.places import Places, on_places
from fluoroscope.trust.trial import Trial
from tests.trust.networks import Backwards, Noise, PatchNet, bright

EDGES = "Control: edge detector"
RANDOM = "Control: random, 12 x 12"


def reference(model: torch.nn.Module, x: torch.Tensor, values: np.ndarray, steps: int, insertion: bool) -> np.ndarray:
    """Mean probability of class 1 by the trapezoidal rule, one picture at a time, in float64."""
    areas = []
    for image, map_ in zip(x, values, strict=True):
        order = np.argsort(-map_.ravel(), kind="stable")
        scores = []
        for step in range(steps + 1):
            gone = order[: round(step * map_.size / steps)]
            flat = (torch.zeros_like(image) if insertion else image.clone()).reshape(image.shape[0], -1)
            flat[:, gone] = image.reshape(image.shape[0], -1)[:, gone] if insertion else 0
            with torch.no_grad():
                scores.append(model(flat.reshape(1, *image.shape)).softmax(1)[0, 1].item())
        areas.append(np.trapezoid(scores, dx=1 / steps))
    return np.array(areas)


@pytest.mark.parametrize("insertion", [False, True])
def test_equals_its_formula(insertion: bool) -> None:
    model, x = PatchNet(), bright()
    values = fs.Saliency()(model, x, target=1).values
    expected = reference(model, x, values, 7, insertion)
    assert np.ptp(expected) > 1e-4
    check = fs.Insertion(steps=7, baseline="zero", batch_size=5) if insertion else fs.Deletion(steps=7, batch_size=5)
    card = check("saliency", model, x, target=1)
    assert card.table[0, 0] == pytest.approx(expected.mean(), abs=1e-6)
    assert card.errors is not None
    assert card.errors[0, 0] == pytest.approx(expected.std(ddof=1) / np.sqrt(len(x)), abs=1e-6)


def test_the_probability_is_the_networks_own() -> None:
    """Of several labels that may all be there each has a probability of its own: a sigmoid, not a softmax."""
    model, x = torch.nn.Sequential(PatchNet(), torch.nn.Sigmoid()).eval(), bright()
    with torch.no_grad():
        ends = [model(given)[:, 0].double().mean().item() for given in (x, torch.zeros_like(x))]
        assert abs(ends[0] - PatchNet()(x).softmax(1)[:, 0].mean().item()) > 0.01
    curve = fs.Deletion(steps=4, baseline="zero")("saliency", model, x, target=0).meta["deletion_curves"]["Saliency"]
    assert [curve[0], curve[-1]] == pytest.approx(ends, abs=1e-6)


def test_the_batch_size_does_not_matter() -> None:
    model, x = PatchNet(), bright()
    tables = [fs.Deletion(steps=5, batch_size=size)(["saliency"], model, x, target=1).table for size in (1, 7, 500)]
    np.testing.assert_allclose(tables[0], tables[1], atol=1e-6)
    np.testing.assert_allclose(tables[0], tables[2], atol=1e-6)


def test_right_backwards_and_random_maps_are_told_apart() -> None:
    model, x = PatchNet(), bright(12)
    for check in (fs.Deletion(), fs.Insertion(baseline="zero")):
        card = check([fs.Saliency(), Backwards(), Noise()], model, x, target=1)
        assert card.rows == ("Saliency", "Backwards", "Noise", RANDOM, EDGES)
        assert card.verdicts[0].startswith("better than a random map and an edge detector")
        assert card.verdicts[1] == "worse than a random map"
        assert card.verdicts[2] == "no better than a random map on 12 inputs"
        best = card.table[:, 0].argmin() if card.better[0] == "low" else card.table[:, 0].argmax()
        assert best == 0
        assert card.reference[0] == pytest.approx(card.table[3, 0])


def test_a_known_curve() -> None:
    """Uniform weights: the logit falls in equal steps, whichever place goes first."""
    model = PatchNet(gain=0.0)
    with torch.no_grad():
        model.weights.fill_(0.01)
    card = fs.Deletion(steps=4, score="logit")(
        "saliency", model, torch.ones(2, 1, 12, 12, dtype=torch.float64), target=1
    )
    np.testing.assert_allclose(card.meta["deletion_curves"]["Saliency"], [1.44, 1.08, 0.72, 0.36, 0.0], atol=1e-6)
    assert card.table[0, 0] == pytest.approx(0.72)


def test_both_ends_are_evaluated_once_and_all_is_counted() -> None:
    model, x = PatchNet(), bright(3)
    card = fs.Deletion(steps=4, controls=False)(["saliency", Noise()], model, x, target=1)
    maps = 3 + 3  # one forward of each method
    target = 3
    assert card.meta["forwards"] == target + maps + 2 * 3 + 2 * 3 * 3


def test_the_network_is_as_before() -> None:
    model, x = PatchNet().train(), bright(2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fs.Deletion(steps=2)("saliency", model, x, target=1)
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_one_input_says_little() -> None:
    card = fs.Deletion(steps=4)("saliency", PatchNet(), bright(1), target=1)
    assert card.verdicts[0] == "not told apart from a random map by one input"
    assert np.isnan(card.errors[0, 0])


def test_mistakes_are_told() -> None:
    model, x = PatchNet(), bright(2)
    with pytest.raises(OptionError, match="score='logit'"):
        fs.Deletion()("saliency", model, x, target=lambda out: out[:, 1])
    with pytest.raises(OptionError, match="baseline"):
        fs.Deletion(baseline="grey")
    rows = torch.nn.Linear(4, 2)
    with pytest.raises(OptionError, match="for images and series"):
        fs.Insertion(baseline="blur")("saliency", rows, torch.rand(3, 4))


@pytest.mark.parametrize("insertion", [False, True])
@pytest.mark.parametrize("name", ["resnet20_cifar10", "mobilenet_v2_imagenet"])
def test_a_trained_network_equals_a_plain_loop_in_double_precision(
    load_asset: Any, assets: Path, name: str, insertion: bool
) -> None:
    """Pixel by pixel, one changed picture at a time, in float64; ours runs in the network's float32. 1e-5: a softmax
    carries the rounding of float32 scores, some 1e-6, into the probabilities, and where two pixels' values differ by
    less than rounding nothing depends on their order.
    """
    from PIL import Image

    model, preprocess, _ = load_asset(name)
    small = name.startswith("resnet")
    folder = assets / "data" / "cifar10_test20" if small else assets / "photos"
    files = sorted(folder.glob("*.png" if small else "imagenet_*.jpg"))[:2]
    x = torch.cat([preprocess(Image.open(f).convert("RGB")) for f in files])
    method = fs.GradCAM()
    found = method(model, x)
    places = Places.of(Inputs((x,), {}, len(x)), found)
    fields = on_places(found, places)
    exact, expected, steps = copy.deepcopy(model).double().eval(), [], 6
    for n, image in enumerate(x.double()):
        rank = np.lexsort((np.random.default_rng([0, n]).random(places.count), -fields[n].ravel()))
        flat, empty, curve = image.flatten(1), image.mean((1, 2))[:, None], []
        for step in range(steps + 1):
            gone = np.ones(places.count, bool) if insertion else np.zeros(places.count, bool)
            gone[rank[: int(np.round(step * places.count / steps))]] = not insertion
            changed = torch.where(torch.tensor(gone), empty, flat).reshape(1, *image.shape)
            with torch.no_grad():
                curve.append(exact(changed).softmax(1)[0, found.targets[n]].item())
        expected.append(np.trapezoid(curve, dx=1 / steps))
    check = (fs.Insertion if insertion else fs.Deletion)(steps=steps, baseline="mean", batch_size=4)
    trial = Trial.of(method, model, x, None, "predicted", seed=0, batch_size=4)
    np.testing.assert_allclose(check.measures(trial)[0].values["Grad-CAM"], expected, atol=1e-5)
    assert 0.01 < min(expected) < max(expected) < 0.99
