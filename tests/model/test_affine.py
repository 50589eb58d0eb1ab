"""Which tails are affine by their record."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fluoroscope.model.affine import affine_obstacle

torch.manual_seed(0)
FC, CONV, NORM = nn.Linear(4, 3), nn.Conv2d(4, 2, 3), nn.BatchNorm2d(4).eval()
for module in (FC, CONV, NORM):
    module.requires_grad_(False)
NORM.running_mean.fill_(0.3)
X = torch.rand(2, 4, 5, 6)

AFFINE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "pooling and dense": lambda x: FC(F.adaptive_avg_pool2d(x, 1).flatten(1))[:, 1],
    "mean and dense": lambda x: FC(x.mean((2, 3))).gather(1, torch.tensor([[0], [2]]))[:, 0],
    "flatten and dense": lambda x: (x.flatten(1) @ torch.ones(120, 2))[:, 0],
    "norm, convolution, sum": lambda x: CONV(NORM(x)).sum((1, 2, 3)),
    "arithmetic": lambda x: (3 - (x * 2 + x / 4).permute(0, 2, 3, 1)).reshape(2, -1).sum(1),
    "average pooling, slices": lambda x: torch.cat([F.avg_pool2d(x, 2)[:, :2], F.avg_pool2d(x, 2)[:, 2:]], 1).sum(
        (1, 2, 3)
    ),
    "enlarged": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear").mean((1, 2, 3)),
    "dropout in eval mode": lambda x: F.dropout(x, training=False).sum((1, 2, 3)),
}
CURVED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "Relu": lambda x: x.relu().sum((1, 2, 3)),
    "MaxPool2DWithIndices": lambda x: F.max_pool2d(x, 2).sum((1, 2, 3)),
    "Mul": lambda x: (x * x.mean()).sum((1, 2, 3)),
    "Div": lambda x: torch.ones_like(x).div(x).sum((1, 2, 3)),
    "Reciprocal": lambda x: (1 / x).sum((1, 2, 3)),
    "NativeLayerNorm": lambda x: F.layer_norm(x, (6,)).sum((1, 2, 3)),
    "NativeBatchNorm": lambda x: F.batch_norm(x, None, None, training=True).sum((1, 2, 3)),
    "Bmm": lambda x: (x.flatten(2) @ x.flatten(2).transpose(1, 2)).sum((1, 2)),
    "Softmax": lambda x: x.softmax(1)[:, 0].sum((1, 2)),
    "Pow": lambda x: (x**2).sum((1, 2, 3)),
}


def is_affine(function: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    a, b = X.double(), torch.rand(2, 4, 5, 6, dtype=torch.float64)
    found = [function(a.float()), function(b.float()), function(((a + b) / 2).float())]
    return torch.allclose(found[2], (found[0] + found[1]) / 2, rtol=1e-5)


@pytest.mark.parametrize("name", AFFINE)
def test_affine_tails_are_known(name: str) -> None:
    leaf = X.clone().requires_grad_()
    assert affine_obstacle(AFFINE[name](leaf), leaf) is None
    assert is_affine(AFFINE[name])


@pytest.mark.parametrize("name", CURVED)
def test_the_obstacle_is_named(name: str) -> None:
    leaf = X.clone().requires_grad_()
    assert affine_obstacle(CURVED[name](leaf), leaf) == name
