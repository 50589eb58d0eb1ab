"""Grad-CAM against its formula in float64, and what mathematics guarantees of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import LayerError, NumericalError, TargetError
from tests.contract.networks import Functional, Plain, images, network


def reference(model: Plain, x: torch.Tensor, target: int) -> np.ndarray:
    """The formula, one example, one channel and one position at a time; gradients by central differences."""
    model = model.double().eval()
    maps = []
    for row in x.double():
        with torch.no_grad():
            activation = model.block(model.stem(row[None]))[0].clone()

            def score(a: torch.Tensor) -> float:
                return float(model.fc(a[None].mean((2, 3)))[0, target])

            channels, height, width = activation.shape
            total = torch.zeros(height, width, dtype=torch.float64)
            for k in range(channels):
                slope = 0.0
                for i in range(height):
                    for j in range(width):
                        up, down = activation.clone(), activation.clone()
                        up[k, i, j] += 1e-4
                        down[k, i, j] -= 1e-4
                        slope += (score(up) - score(down)) / 2e-4
                total += slope / (height * width) * activation[k]
            maps.append(total.clamp(min=0).numpy())
    return np.stack(maps)


@pytest.mark.parametrize("target", [0, 3])
def test_equals_its_formula(target: int) -> None:
    x = images(2, (8, 10))
    found = fs.GradCAM(layer="block")(network().double(), x.double(), target=target)
    np.testing.assert_allclose(found.values, reference(network(), x, target), rtol=1e-7, atol=1e-10)
    assert found.axes == ("N", "H", "W")
    assert found.values.max() > 0


def test_is_cam_for_pooling_and_a_dense_layer() -> None:
    """With global average pooling and one dense layer, Grad-CAM is CAM divided by the number of positions."""
    model, x = network().eval(), images(2)
    with torch.no_grad():
        features = model.features(x)
        cam = torch.einsum("c,nchw->nhw", model.fc.weight[1], features).relu() / features[0, 0].numel()
    found = fs.GradCAM(layer="block")(model, x, target=1)
    np.testing.assert_allclose(found.values, cam.numpy(), rtol=1e-4, atol=1e-7)


def test_score_is_the_logit_of_the_target() -> None:
    model, x = network().eval(), images(4)
    with torch.no_grad():
        logits = model(x)
    found = fs.GradCAM()(model, x)
    np.testing.assert_allclose(found.scores, logits.max(1).values.numpy(), rtol=1e-6)
    assert found.targets.tolist() == logits.argmax(1).tolist()


def test_many_targets_equal_one_by_one() -> None:
    model, x = network(), images(3)
    top = fs.GradCAM()(model, x, target="top3")
    assert top.axes == ("N", "K", "H", "W")
    for k in range(3):
        one = fs.GradCAM()(model, x, target=top.targets[:, k])
        np.testing.assert_allclose(top.values[:, k], one.values, rtol=1e-5, atol=1e-8)
    assert top.meta["forwards"] <= 3 + 2  # of each example one; of one example two more, to look for the layer
    assert top.meta["backwards"] == 9


@pytest.mark.parametrize("layer", ["stem", "stem.1", "block.0"])
def test_functional_and_in_place_networks_agree(layer: str) -> None:
    x = images(2)
    a = fs.GradCAM(layer=layer)(network(Plain), x, target=2) if layer != "stem" else None
    b = fs.GradCAM(layer=layer)(network(Functional), x, target=2) if layer != "stem" else None
    if a is not None and b is not None:
        np.testing.assert_allclose(a.values, b.values, rtol=1e-5, atol=1e-8)
    else:
        with pytest.raises(LayerError, match="did not run"):
            fs.GradCAM(layer="stem")(network(Functional), x, target=2)


def test_an_in_place_layer_after_the_layer_does_not_change_the_map() -> None:
    """The activation is batch norm's output, negative values included, although the next layer overwrites it."""
    model, x = network(), images(2)
    found = fs.GradCAM(layer="block.1")(model, x, target=0)
    reference = nn.Sequential(*model.stem, model.block[0], model.block[1]).eval()
    with torch.no_grad():
        activation = reference(x)
        gate = (activation > 0).float()
        weights = (model.fc.weight[0][None, :, None, None] * gate / gate[0, 0].numel()).mean((2, 3))
        expected = torch.einsum("nc,nchw->nhw", weights, activation).relu()
    np.testing.assert_allclose(found.values, expected.numpy(), rtol=1e-4, atol=1e-7)


def test_nothing_before_the_layer_is_taped() -> None:
    """Tensors saved for the backward come from what follows the layer only."""
    model, x = network(), images(2, (32, 32))
    saved: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        fs.GradCAM(layer="block")(model, x, target=0)
    tail = 2 * 8 * 16 * 16 + model.fc.weight.numel() * 2 + 100
    assert 0 < sum(saved) <= tail
    saved.clear()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        fs.GradCAM(layer="stem.0")(model, x, target=0)
    assert sum(saved) > tail  # the measure would see a longer tape


class Repeated(nn.Module):
    """One convolution used three times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            x = torch.tanh(self.conv(x))
        return self.fc(x.mean((2, 3)))


def test_a_module_called_several_times_names_its_calls() -> None:
    torch.manual_seed(0)
    model, x = Repeated().eval(), images(2)
    found = {k: fs.GradCAM(layer=f"conv@{k}")(model, x, target=1).values for k in range(3)}
    last = fs.GradCAM(layer="conv")(model, x, target=1)
    np.testing.assert_array_equal(last.values, found[2])
    assert not np.allclose(found[0], found[1])
    assert "ran 3 times" in last.notes[0]
    first = model.conv(x).detach().requires_grad_()
    y = first
    for _ in range(2):
        y = model.conv(torch.tanh(y))
    model.fc(torch.tanh(y).mean((2, 3)))[:, 1].sum().backward()
    expected = torch.einsum("nc,nchw->nhw", first.grad.mean((2, 3)), first.detach()).relu()
    np.testing.assert_allclose(found[0], expected.numpy(), rtol=1e-5, atol=1e-9)
    with pytest.raises(LayerError, match="ran 3 times"):
        fs.GradCAM(layer="conv@3")(model, x, target=1)


class Tokens(nn.Module):
    """A tiny vision transformer whose answer is read from the class token, or from the mean of the patches."""

    def __init__(self, pooled: bool) -> None:
        super().__init__()
        self.embed, self.pooled = nn.Conv2d(3, 8, 4, stride=4), pooled
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.norm = nn.LayerNorm(8)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.Linear(8, 8)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.embed(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(len(y), -1, -1), y], 1)
        z = self.norm(y)
        y = self.last(y + self.attend(z, z, z, need_weights=False)[0])
        return self.fc(y[:, 1:].mean(1) if self.pooled else y[:, 0])


def test_tokens_are_put_on_their_grid_and_the_useful_layer_is_found() -> None:
    torch.manual_seed(0)
    x = images(2, (16, 24))
    found = fs.GradCAM()(Tokens(pooled=False).eval(), x, target=0)
    assert found.meta["layer"] == "norm"  # after the attention only the class token counts
    assert found.values.shape == (2, 4, 6)
    assert fs.GradCAM()(Tokens(pooled=True).eval(), x, target=0).meta["layer"] == "last"


def test_series_and_volumes() -> None:
    torch.manual_seed(0)
    series = nn.Sequential(
        nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    found = fs.GradCAM()(series, torch.rand(2, 2, 20), target=0)
    assert found.axes == ("N", "T")
    assert found.values.shape == (2, 20)
    volume = nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3))
    assert fs.GradCAM()(volume, torch.rand(1, 1, 6, 7, 8), target=0).axes == ("N", "Z", "H", "W")


def test_bf16_and_half_precision() -> None:
    x = images(2)
    full = fs.GradCAM(layer="block")(network(), x, target=1).values
    half = fs.GradCAM(layer="block")(network().to(torch.bfloat16), x, target=1)
    assert half.values.dtype == np.float32
    np.testing.assert_allclose(half.values, full, atol=0.05 * full.max())


def test_an_empty_map_is_told() -> None:
    model = network().eval()
    with torch.no_grad():
        model.fc.weight[0] = -model.fc.weight[0].abs()
    found = fs.GradCAM(layer="block")(model, images(2), target=0)
    assert not found.values.any()
    assert any("zero everywhere for example 0, 1" in n for n in found.notes)


def test_mistakes_are_told() -> None:
    model, x = network(), images(2)
    with pytest.raises(LayerError, match=r"nearest:.*'block'"):
        fs.GradCAM(layer="blok")(model, x)
    with pytest.raises(LayerError, match="no positions"):
        fs.GradCAM(layer="fc")(model, x)
    with pytest.raises(TargetError, match="0 to 4"):
        fs.GradCAM()(model, x, target=5)
    with pytest.raises(TargetError, match=r"\(2,\) or \(2, K\)"):
        fs.GradCAM()(model, x, target=[1, 2, 3])
    with pytest.raises(NumericalError, match="example 1"):
        fs.GradCAM()(model, torch.stack([x[0], x[1] * float("nan")]))
    with torch.no_grad():
        model.block[0].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(NumericalError, match=r"layer 'block\.0'"):
        fs.GradCAM()(model, x)


def test_an_output_without_gradient_is_told() -> None:
    class Hard(Plain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.one_hot(super().forward(x).argmax(1), 5).float()

    with pytest.raises(NumericalError, match="no gradient"):
        fs.GradCAM()(network(Hard), images(1), target=0)
