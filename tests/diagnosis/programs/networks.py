"""Networks of the programs: the usual kinds, small."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn


def mlp(*widths: int, activation: type[nn.Module] = nn.ReLU, norm: bool = False, dropout: float = 0.0) -> nn.Sequential:
    """Linear layers with an activation between them."""
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(itertools.pairwise(widths)):
        layers.append(nn.Linear(before, after))
        if i < len(widths) - 2:
            layers += [nn.BatchNorm1d(after)] * norm + [activation()] + [nn.Dropout(dropout)] * (dropout > 0)
    return nn.Sequential(*layers)


def he(model: nn.Module, gain: float = 1.0) -> Any:
    """He's initialization times ``gain``."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            with torch.no_grad():
                module.weight.mul_(gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def cnn(norm: bool = True, bias: bool = False, classes: int = 10) -> nn.Sequential:
    """Three convolutions and a dense layer, (1, 8, 8) to classes."""

    def block(before: int, after: int, stride: int) -> list[nn.Module]:
        normed: list[nn.Module] = [nn.BatchNorm2d(after)] if norm else []
        return [nn.Conv2d(before, after, 3, stride, 1, bias=bias or not norm), *normed, nn.ReLU()]

    return nn.Sequential(
        *block(1, 8, 1),
        *block(8, 16, 2),
        *block(16, 16, 1),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


class Block(nn.Module):
    """x + f(x) with normalization first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.inner = nn.LayerNorm(width), nn.Linear(width, width)
        self.relu, self.outer = nn.ReLU(), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(self.relu(self.inner(self.norm(x))))


def residual(depth: int, width: int = 32, inputs: int = 64, classes: int = 10) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), *(Block(width) for _ in range(depth)), nn.LayerNorm(width), nn.Linear(width, classes)
    )


class ConvBlock(nn.Module):
    """ResNet's basic block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu2(x + self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))


class Recurrent(nn.Module):
    """A recurrent layer over (N, T, F) and a dense layer on its last state."""

    def __init__(self, kind: Any, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.rnn, self.head = kind(inputs, width, batch_first=True), nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


class Transformer(nn.Module):
    """A causal transformer over letters; logits (N, letters, T)."""

    def __init__(self, letters: int = 16, width: int = 32, depth: int = 2, length: int = 24, norm_first: bool = True):
        super().__init__()
        self.embed, self.place = nn.Embedding(letters, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, batch_first=True, norm_first=norm_first)
            for _ in range(depth)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, letters)
        self.register_buffer("mask", torch.full((length, length), -math.inf).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x) + self.place.weight
        for block in self.blocks:
            h = block(h, src_mask=self.mask)
        return self.head(self.norm(h)).movedim(-1, 1)


class TextLSTM(nn.Module):
    """A language model with an LSTM; logits (N, letters, T)."""

    def __init__(self, letters: int = 16, width: int = 48) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(letters, 16), nn.LSTM(16, width, batch_first=True)
        self.head = nn.Linear(width, letters)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(self.embed(x))[0]).movedim(-1, 1)
