"""Axes that shapes do not tell: narrow pictures, as many channels as the picture has proportions, examples second."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import LayerError


def convolutional(channels: int, maps: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Conv2d(channels, maps, 3, padding=0 if maps > 8 else 1), nn.ReLU(), nn.Flatten(2)
    return nn.Sequential(*layers, Mean(), nn.Linear(maps, 4)).double().eval()


class Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(2)


def grad_cam(network: nn.Sequential, x: torch.Tensor) -> np.ndarray[Any, Any]:
    maps = network[1](network[0](x)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(network[2:](maps)[:, 1].sum(), maps)
    return torch.einsum("nc,nchw->nhw", gradient.mean((2, 3)), maps).relu().detach().numpy()


@pytest.mark.parametrize("width", [1, 3, 4])
def test_pictures_as_wide_as_a_colour_has_channels(width: int) -> None:
    """Nine sensors over time as pictures (N, 9, T, 1) are no pictures of nine rows."""
    network, x = convolutional(9, 6), torch.randn(2, 9, 12, width, generator=torch.Generator().manual_seed(1)).double()
    found = fs.GradCAM(layer="1")(network, x, target=1)
    np.testing.assert_allclose(found.values, grad_cam(network, x), rtol=1e-9)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(leaf)[:, 1].sum(), leaf)
    found = fs.Saliency()(network, x, target=1)
    assert (found.axes, found.size) == (("N", "H", "W"), (12, width))
    np.testing.assert_allclose(found.values, gradient.abs().amax(1).numpy(), rtol=1e-9)
    mean = fs.Occlusion(window=1, stride=1, baseline="mean")(network, x, target=1)
    assert mean.values.shape == (2, 12, width)


def test_pictures_with_channels_last_are_still_read_so() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = convolutional(3, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x.permute(0, 3, 1, 2))

    x = torch.randn(2, 9, 12, 3, generator=torch.Generator().manual_seed(1)).double()
    assert fs.Saliency()(Last().eval(), x, target=1).values.shape == (2, 9, 12)


def test_as_many_channels_as_the_picture_has_proportions() -> None:
    network, x = convolutional(1, 256), torch.randn(1, 1, 128, 64, generator=torch.Generator().manual_seed(1)).double()
    found = fs.GradCAM(layer="1")(network, x, target=1)  # 256 to 126 is nearer to 2 than 126 to 62
    np.testing.assert_allclose(found.values, grad_cam(network, x), rtol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 6])
def test_a_layer_with_examples_second_is_refused(count: int) -> None:
    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.words, self.fc = nn.Embedding(9, 8), nn.Linear(8, 3)
            self.block = nn.TransformerEncoderLayer(8, 2, 16)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.fc(self.block(self.words(tokens).transpose(0, 1)).mean(0))

    tokens = torch.randint(9, (count, 6), generator=torch.Generator().manual_seed(1))
    with pytest.raises(LayerError, match="does not keep the examples along its first axis"):
        fs.GradCAM(layer="block")(Sequence().eval(), tokens, target=1)
