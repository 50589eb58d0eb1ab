"""Networks that are not plain modules throughout: TorchScript, also in part, and quantized layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import LayerError, ModelError, NumericalError
from tests.contract.networks import differences, snapshot

IMAGES = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), *pooled).eval()


@pytest.mark.parametrize("method", [fs.GradCAM(), fs.Saliency(), fs.Occlusion(), fs.Activations()], ids=str)
@pytest.mark.parametrize("wrapped", [False, True])
def test_torchscript_is_refused_by_its_name(method: fs.Method, wrapped: bool) -> None:
    for made in (torch.jit.script(plain()), torch.jit.trace(plain(), IMAGES)):  # type: ignore[no-untyped-call]
        with pytest.raises(ModelError, match="TorchScript"):
            method(nn.DataParallel(made) if wrapped else made, IMAGES)


class Partly(nn.Module):
    """The features are TorchScript, the rest is not."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features, self.mix, self.head = features, nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.mix(self.features(x)).tanh().mean((2, 3)))
        return found


@pytest.mark.parametrize(
    "method",
    [fs.GradCAM(), fs.AblationCAM(), fs.ScoreCAM(), fs.Saliency(), fs.IntegratedGradients(), fs.Occlusion(window=4)],
    ids=lambda method: method.name,
)
def test_a_part_in_torchscript_changes_nothing(method: fs.Method) -> None:
    torch.manual_seed(0)
    model = Partly(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh())).eval()
    expected = method(model, IMAGES, target=1)
    model.features = torch.jit.script(model.features)
    before = snapshot(model)
    np.testing.assert_allclose(method(model, IMAGES, target=1).values, expected.values, rtol=1e-4, atol=1e-7)
    assert differences(before, snapshot(model)) == []


def test_layers_inside_torchscript_are_refused_and_listed_without_shapes() -> None:
    model = Partly(torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh()))).eval()
    for layer in ("features", "features.0", model.features):
        with pytest.raises(LayerError, match="is TorchScript"):
            fs.GradCAM(layer=layer)(model, IMAGES)
    shapes = {row.name: row.output_shape for row in fs.layers(model, IMAGES).rows}
    assert shapes["features.0"] is None
    assert shapes["mix"] == (1, 4, 10, 10)


class Around(nn.Module):
    """A dense layer with a way around it: where it is quantized, the gradient of the sum is that of the way alone."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.head = nn.Linear(6, 6), nn.Conv1d(6, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        read: torch.Tensor = self.head((x + self.dense(x))[:, :, None])[:, :, 0]
        return read


def quantized(model: nn.Module) -> nn.Module:
    quantization: Any = pytest.importorskip("torch.ao.quantization")
    made: nn.Module = quantization.quantize_dynamic(model.eval(), {nn.Linear}, dtype=torch.qint8)
    return made


@pytest.mark.filterwarnings("ignore:torch.ao.quantization", "ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("method", [fs.Saliency, fs.IntegratedGradients, fs.SmoothGrad, fs.DeepLIFT, fs.VarGrad])
def test_quantized_layers_have_no_gradient(method: type[fs.Method]) -> None:
    with pytest.raises(NumericalError, match="is quantized") as failed:
        method()(quantized(Around()), torch.randn(2, 6), target=1)
    assert "Occlusion" in str(failed.value.remedy)


@pytest.mark.filterwarnings("ignore:torch.ao.quantization", "ignore:torch.quantize_per_tensor")
def test_quantized_networks_are_explained_without_gradients() -> None:
    model = quantized(plain())
    found = fs.Occlusion(window=4, stride=4, baseline=9.0)(model, IMAGES, target=1)
    for i, j in ((0, 0), (1, 2)):
        covered = IMAGES.clone()
        covered[:, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4] = 9.0
        fall = (model(IMAGES) - model(covered))[:, 1]
        assert abs(fall).min() > 0.01
        np.testing.assert_allclose(found.values[:, i, j], fall.detach(), rtol=0.1)  # rounded by the batch's range
    with pytest.raises(NumericalError, match="is quantized"):
        fs.GradCAM()(model, IMAGES, target=1)
    assert fs.ScoreCAM(layer="0")(model, IMAGES, target=1).values.max() > 0
