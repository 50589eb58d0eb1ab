"""Gradient methods against captum on real and small networks; where captum is wrong, what is right.

Tolerances: both add up the same products in other orders; single precision agrees to about 1e-5 of the largest value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import fluoroscope as fs
from tests.methods.small_networks import Bends, Words, made, normal

captum = pytest.importorskip("captum.attr")


def close(ours: Any, theirs: torch.Tensor, tolerance: float = 1e-5) -> None:
    expected = theirs.detach().numpy()
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.fixture(scope="module")
def resnet(load_asset: Callable[[str], Any], assets: Any) -> tuple[nn.Module, torch.Tensor, list[int]]:
    model, preprocess, _ = load_asset("resnet20_cifar10")
    files = sorted((assets / "data" / "cifar10_test20").iterdir())[:3]
    x = torch.cat([preprocess(Image.open(f)) for f in files])
    return model, x, model(x).argmax(1).tolist()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (fs.Saliency(reduce="none"), lambda m, x, t: captum.Saliency(m).attribute(x, t, abs=False)),
        (fs.InputXGradient(), lambda m, x, t: captum.InputXGradient(m).attribute(x, t)),
        (fs.DeepLIFT(), lambda m, x, t: captum.DeepLift(m).attribute(x, target=t)),
        (
            fs.IntegratedGradients(quadrature="gauss-legendre", points=20),
            lambda m, x, t: captum.IntegratedGradients(m).attribute(x, target=t, n_steps=20),
        ),
        (
            fs.IntegratedGradients(quadrature="riemann-middle", points=20),
            lambda m, x, t: captum.IntegratedGradients(m).attribute(x, target=t, n_steps=20, method="riemann_middle"),
        ),
    ],
    ids=["saliency", "input-x-gradient", "deep-lift", "gauss-legendre", "riemann-middle"],
)
def test_resnet20(resnet: Any, ours: Any, theirs: Any) -> None:
    model, x, target = resnet
    if isinstance(ours, fs.DeepLIFT):
        model = Once(model)  # captum needs a module of its own for every rectifier; this network has them
    close(ours(model, x, target=target).values, theirs(model, x.clone().requires_grad_(), target), 2e-4)


class Once(nn.Module):
    """The network itself, called as a module inside another one."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


def test_rectifiers_as_modules(resnet: Any) -> None:
    model, x, target = resnet
    guided = captum.GuidedBackprop(model).attribute(x.clone().requires_grad_(), target=target)
    close(fs.GuidedBackprop()(model, x, target=target).values, guided)
    deconvolved = captum.Deconvolution(model).attribute(x.clone().requires_grad_(), target=target)
    close(fs.Deconvnet()(model, x, target=target).values, deconvolved)


def test_captum_misses_functional_rectifiers_and_we_do_not() -> None:
    x = normal(2, 2, 8, 8)
    ours = fs.GuidedBackprop()(made(Bends, "function"), x, target=1).values
    theirs = captum.GuidedBackprop(made(Bends, "function")).attribute(x.clone().requires_grad_(), target=1)
    plain = fs.Saliency(reduce="none")(made(Bends, "function"), x, target=1).values
    np.testing.assert_allclose(theirs.numpy(), plain, rtol=1e-9, atol=1e-14)  # silently the plain gradient
    assert np.abs(ours - plain).max() > 0.1 * np.abs(plain).max()
    lift = captum.DeepLift(made(Bends, "function")).attribute(x, target=1).detach().numpy()
    model = made(Bends, "function")
    rise = (model(x) - model(x * 0))[:, 1].detach().numpy()
    assert np.abs(lift.reshape(2, -1).sum(1) - rise).max() > 0.01 * np.abs(rise).max()
    found = fs.DeepLIFT()(model, x, target=1).values
    np.testing.assert_allclose(found.reshape(2, -1).sum(1), rise, rtol=1e-9)


def test_embeddings() -> None:
    model, ids = made(Words), torch.tensor([[1, 5, 2, 5], [0, 3, 3, 9]])
    method = captum.LayerIntegratedGradients(model, model.embed)
    # captum's default is the embedding of token 0, ours the zero vector: the same is given to both.
    theirs = method.attribute(ids, baselines=torch.zeros_like(ids), target=1, n_steps=50)
    ours = fs.IntegratedGradients(baseline=torch.zeros(4, dtype=torch.long), quadrature="gauss-legendre", points=50)
    close(ours(model, ids, target=1).values, theirs.sum(-1), 1e-9)


def test_titanic(load_asset: Callable[[str], Any]) -> None:
    model, _, _ = load_asset("mlp_titanic")
    logits = nn.Sequential(*list(model.children())[:-1])
    x = torch.rand(5, 12, generator=torch.Generator().manual_seed(0))
    close(fs.DeepLIFT()(model, x, target=1).values, captum.DeepLift(logits).attribute(x, target=1), 1e-4)
    fine = captum.IntegratedGradients(logits).attribute(x, target=1, n_steps=200)
    close(fs.IntegratedGradients()(model, x, target=1).values, fine, 0.01)


def test_smooth_grad_within_its_error(resnet: Any) -> None:
    model, x, target = (v[:1] if not isinstance(v, nn.Module) else v for v in resnet)
    ours = fs.SmoothGrad(samples=100, sigma=0.1, reduce="none")(model, x, target=target)
    torch.manual_seed(0)
    deviation = 0.1 * float(x.max() - x.min())
    tunnel = captum.NoiseTunnel(captum.Saliency(model))
    theirs = tunnel.attribute(x, nt_samples=100, nt_samples_batch_size=20, stdevs=deviation, target=target, abs=False)
    far = np.linalg.norm(ours.values - theirs.numpy()) / np.linalg.norm(ours.values)
    assert far < 1.25 * 2**0.5 * ours.meta["standard_error"]
