"""The network that is measured: the shape of ResNet-50, with fixed random weights, so that nothing has to be
downloaded.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own habit)
from torch import Tensor, nn

__all__ = ["Bottleneck", "ResNet50", "pictures", "resnet50"]

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
EXPANSION = 4
BRANCH = 0.2


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions beside a shortcut (He et al., *Deep Residual Learning*, 2015, figure 5)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * EXPANSION
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class ResNet50(nn.Module):
    """ResNet-50 with the usual names of its parts: conv1, bn1, layer1 to layer4, avgpool, fc."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for number, (width, repeat, stride) in enumerate(STAGES, start=1):
            blocks = [Bottleneck(inputs, width, stride)]
            inputs = width * EXPANSION
            blocks += [Bottleneck(inputs, width, 1) for _ in range(repeat - 1)]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def resnet50(device: str = "cpu") -> ResNet50:
    """The network in eval mode; its batch norms have seen some pictures, so that activations neither vanish nor
    explode.

    The last scale of each block is 0.2, about what training leaves there. With 1 every block adds as much as there was,
    and the network multiplies rounding errors: float32 forwards then differ by 5e-5 from float64 whoever runs them, and
    "the same to 1e-5" could not be asked of anybody.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ResNet50()
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the plain mean over what it sees
            if isinstance(module, Bottleneck):
                nn.init.constant_(module.bn3.weight, BRANCH)
    with torch.no_grad():
        network.train()(pictures(4, seed=1))
    return network.eval().to(device)


def pictures(count: int, seed: int = 0, device: str = "cpu") -> Tensor:
    """Inputs (N, 3, 224, 224) with large shapes and some grain, about zero mean and unit variance."""
    generator = torch.Generator().manual_seed(seed)
    shapes = F.interpolate(torch.randn(count, 3, 8, 8, generator=generator), size=(224, 224), mode="bicubic")
    grain = torch.randn(count, 3, 224, 224, generator=generator)
    return (shapes + 0.3 * grain).contiguous().to(device)
