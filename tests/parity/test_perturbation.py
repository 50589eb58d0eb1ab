"""Sampling methods against captum and the lime package: equal values for the same masks, the same limit elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import fluoroscope as fs
from fluoroscope.model.seeding import generator
from tests.parity.agreement import agree

SAMPLES = 60


@pytest.fixture(scope="module")
def resnet(load_asset: Callable[[str], Any], assets: Any) -> tuple[nn.Module, torch.Tensor, int]:
    model, preprocess, _ = load_asset("resnet20_cifar10")
    file = sorted((assets / "data" / "cifar10_test20").iterdir())[0]
    x = preprocess(Image.open(file))
    return model, x, int(model(x).argmax())


def grid(size: int, parts: int) -> torch.Tensor:
    """The numbers of the cells of a grid (1, 1, size, size), as captum wants them."""
    row = torch.arange(size) * parts // size
    return (row[:, None] * parts + row)[None, None]


def masks(count: int) -> np.ndarray:
    """The masks that LIME draws for example 0 with seed 0."""
    drawn = (torch.rand(SAMPLES, count, generator=generator(0, 0)) < 0.5).numpy().astype(float)
    drawn[0] = 1
    return drawn


def test_lime_equals_captum_for_the_same_masks(captum: Any, resnet: tuple[nn.Module, torch.Tensor, int]) -> None:
    from captum._utils.models.linear_model import SkLearnLinearModel
    from captum.attr import Lime

    model, x, target = resnet
    rows = iter(torch.from_numpy(masks(16)).float())

    def similar(original: Any, perturbed: Any, z: torch.Tensor, **_: Any) -> torch.Tensor:
        far = 1 - torch.sqrt(z.double().mean())
        return torch.exp(-(far**2) / (2 * 0.25**2))

    peer = Lime(
        model,
        interpretable_model=SkLearnLinearModel(sklearn_module="linear_model.Ridge", alpha=1.0),
        similarity_func=similar,
        perturb_func=lambda original, **_: next(rows)[None],
    )
    theirs = peer.attribute(
        x,
        target=target,
        feature_mask=grid(32, 4),
        n_samples=SAMPLES,
        perturbations_per_eval=20,
        return_input_shape=False,
    )
    ours = fs.LIME(samples=SAMPLES, count=16)(model, x, target=target)
    agree(ours.values.reshape(1, 16), theirs.reshape(1, 16), 1e-4)  # theirs is fitted in single precision


def test_lime_equals_the_lime_package_for_the_same_masks(
    peers: Any, resnet: tuple[nn.Module, torch.Tensor, int]
) -> None:
    if peers.load_peer("lime") is None:
        pytest.skip("lime is not installed; bash bench/setup.sh, then use .venv-bench/bin/python")
    from lime.lime_base import LimeBase
    from sklearn.metrics import pairwise_distances

    model, x, target = resnet
    z = masks(16)
    labels = grid(32, 4)[0, 0].numpy()
    with torch.no_grad():
        kept = torch.from_numpy(z[:, labels]).float()[:, None]
        scores = model(x * kept).numpy()
    distances = pairwise_distances(z, z[:1], metric="cosine").ravel()
    base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)))
    found = dict(base.explain_instance_with_data(z, scores, distances, target, 16, feature_selection="none")[1])
    ours = fs.LIME(samples=SAMPLES, count=16)(model, x, target=target)
    agree(ours.values.reshape(1, 16), [[found[i] for i in range(16)]], 1e-4)


def test_exact_shapley_values_equal_captum(captum: Any, resnet: tuple[nn.Module, torch.Tensor, int]) -> None:
    from captum.attr import ShapleyValues

    model, x, target = resnet
    numbers = (torch.arange(32) // 7)[None, None, :, None].expand(1, 1, 32, 32).contiguous()
    theirs = ShapleyValues(model).attribute(x, target=target, feature_mask=numbers, perturbations_per_eval=6)[:, 0]
    for method in (fs.KernelSHAP, fs.ShapleySampling):
        ours = method(segments=numbers[0, 0].numpy(), samples=32)(model, x, target=target)
        agree(ours.values, theirs, 1e-4)
        assert ours.meta["evaluations"] == 32  # captum runs the network once for every step of 120 orders


def test_both_tend_to_the_same_values(captum: Any) -> None:
    """captum draws coalitions and orders of its own: both have to come near the exact values."""
    from captum.attr import KernelShap, ShapleyValueSampling

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 30), nn.Tanh(), nn.Linear(30, 2)).double().eval()
    x = torch.randn(1, 10).double()
    exact = fs.KernelSHAP(samples=1024)(model, x, target=1)
    assert not exact.errors.any()
    drawn = fs.KernelSHAP(samples=400)(model, x, target=1)
    assert (np.abs(drawn.values - exact.values) < 4 * drawn.errors).all()
    theirs = KernelShap(model).attribute(x, target=1, n_samples=6000, perturbations_per_eval=500)
    np.testing.assert_allclose(theirs, exact.values, atol=0.05)
    theirs = ShapleyValueSampling(model).attribute(x, target=1, n_samples=600, perturbations_per_eval=10)
    np.testing.assert_allclose(theirs, exact.values, atol=0.05)
    assert np.abs(exact.values).max() > 0.2
