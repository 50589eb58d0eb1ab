"""The shape of ResNet-18, with fixed random weights, for what has to be run hundreds of times."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.networks import pictures

__all__ = ["ResNet18", "resnet18"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al., *Deep Residual Learning*, 2015, figure 5)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != width:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class ResNet18(nn.Module):
    """ResNet-18 with the usual names of its parts: conv1, bn1, layer1 to layer4, avgpool, fc."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for number, width in enumerate((64, 128, 256, 512), start=1):
            blocks = [BasicBlock(inputs, width, 1 if number == 1 else 2), BasicBlock(width, width, 1)]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
            inputs = width
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def resnet18(device: str = "cpu") -> ResNet18:
    """The network in eval mode; its batch norms have seen pictures, so that activations neither vanish nor explode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ResNet18()
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the plain mean over what it sees
    with torch.no_grad():
        network.train()(pictures(4, seed=1))
    return network.eval().to(device)
