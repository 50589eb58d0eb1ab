"""The shape of MobileNetV2 (Sandler et al., 2018, table 2), with fixed random weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own habit)
from torch import Tensor, nn

from bench.networks import pictures

__all__ = ["MobileNetV2", "mobilenet_v2"]

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def unit(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution, batch norm, ReLU6."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True)]


class InvertedResidual(nn.Module):
    """1x1 to more channels, 3x3 on each by itself, 1x1 back without activation; a shortcut where shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        before = unit(inputs, width, 1) if expansion > 1 else []
        self.conv = nn.Sequential(*before, *unit(width, width, 3, stride, width), *unit(width, outputs, 1)[:2])
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.shortcut else self.conv(x)


class MobileNetV2(nn.Module):
    """MobileNetV2 with the usual names of its parts: features, classifier."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Sequential(*unit(3, 32, 3, 2))]
        inputs = 32
        for expansion, outputs, repeat, stride in STAGES:
            for i in range(repeat):
                layers.append(InvertedResidual(inputs, outputs, stride if i == 0 else 1, expansion))
                inputs = outputs
        self.features = nn.Sequential(*layers, nn.Sequential(*unit(inputs, 1280, 1)))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


def mobilenet_v2(device: str = "cpu") -> MobileNetV2:
    """The network in eval mode; its batch norms have seen some pictures, so that activations neither vanish nor
    explode.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = MobileNetV2()
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the plain mean over what it sees
    with torch.no_grad():
        network.train()(pictures(4, seed=1))
    return network.eval().to(device)
