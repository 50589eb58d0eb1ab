"""The network of the demo: a small residual network of the kind that practitioners know, trained in about a minute."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fluoroscope.demo.scenes import DIGITS, SIZE
from fluoroscope.model.preprocess import ImagePreprocess
from fluoroscope.model.subject import Subject

__all__ = ["Residual", "SceneNet", "as_subject", "make_network"]


class Residual(nn.Module):
    """The basic block of ResNet (He et al. 2016, arXiv:1512.03385, figure 2), (N, C, H, W) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """The input plus what two convolutions find in it."""
        inner: Tensor = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return torch.as_tensor(self.relu2(x + inner))


def convolution(before: int, after: int, stride: int) -> nn.Sequential:
    """Convolution 3 x 3, batch norm and ReLU; a ``stride`` of 2 halves height and width."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
    )


class SceneNet(nn.Module):
    """Classifies scenes (N, 1, H, W) into ten digits: logits (N, 10).

    The last stage keeps a quarter of the input's height and width, 16 x 16 for scenes of 64, and each of its cells
    sees about the size of one digit: fine enough to say where the evidence lies.
    """

    def __init__(self, channels: tuple[int, int, int] = (16, 32, 64), classes: int = 10) -> None:
        super().__init__()
        first, second, third = channels
        self.stem = convolution(1, first, stride=2)
        self.layer1 = Residual(first)
        self.layer2 = nn.Sequential(convolution(first, second, stride=2), Residual(second))
        self.layer3 = nn.Sequential(convolution(second, third, stride=1), Residual(third))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(third, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10) of scenes (N, 1, H, W)."""
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        return torch.as_tensor(self.fc(self.pool(x).flatten(1)))


def make_network(seed: int = 0, **options: Any) -> SceneNet:
    """A :class:`SceneNet` with weights drawn from ``seed``; torch's global random state is as before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return SceneNet(**options)


def as_subject(network: SceneNet | None = None) -> Subject:
    """A :class:`SceneNet` with its classes and its preprocessing; a new one where none is given.

    ``fluoroscope explain fluoroscope.demo.network:as_subject --weights demo/network.safetensors --images demo/scenes``
    takes it from here.
    """
    preprocess = ImagePreprocess(size=SIZE, mean=(0.0,), std=(1.0,), crop="stretch", channels=1)
    return Subject(
        network if network is not None else make_network(),
        preprocess=preprocess,
        classes=DIGITS,
        name="SceneNet",
        input_shape=preprocess.shape,
    )
