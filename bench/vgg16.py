"""The shape of VGG-16 (Simonyan and Zisserman, 2014, configuration D), with fixed random weights."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["vgg16"]

WIDTHS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def vgg16(device: str = "cpu") -> nn.Module:
    """Thirteen convolutions with ReLU in place, five poolings, three dense layers, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        inputs = 3
        for width, repeat in WIDTHS:
            for _ in range(repeat):
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
                nn.init.kaiming_normal_(layers[-2].weight, nonlinearity="relu")
                inputs = width
            layers.append(nn.MaxPool2d(2))
        dense = [nn.Linear(512 * 7 * 7, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 1000)]
        head = [dense[0], nn.ReLU(inplace=True), nn.Dropout(), dense[1], nn.ReLU(inplace=True), nn.Dropout(), dense[2]]
        network = nn.Sequential(nn.Sequential(*layers), nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Sequential(*head))
    return network.eval().to(device)
