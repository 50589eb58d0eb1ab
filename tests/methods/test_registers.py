"""Maps of a transformer with as many registers as its patches have rows: they are no row of the picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs

REGISTERS = 4


class Registers(nn.Module):
    """4 x 4 patches, a class token and four registers; every patch is read with a weight of its own."""

    def __init__(self, patches: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 8, stride=8) if patches else nn.Linear(3 * 64, 6)
        self.extra = nn.Parameter(torch.randn(1, 1 + REGISTERS, 6))
        self.mixed = nn.Linear(6, 6)
        self.read = nn.Parameter(torch.randn(1 + REGISTERS + 16, 1))
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if isinstance(self.patches, nn.Conv2d):
            tokens = self.patches(x).flatten(2).transpose(1, 2)
        else:
            tokens = self.patches(nn.functional.unfold(x, 8, stride=8).transpose(1, 2))
        mixed = self.mixed(torch.cat([self.extra.expand(len(x), -1, -1), tokens], 1))
        read: torch.Tensor = self.head((mixed.tanh() * self.read).sum(1))
        return read


@pytest.mark.parametrize("patches", [True, False], ids=["convolution", "dense layer"])
def test_registers_are_no_row_of_the_map(patches: bool) -> None:
    torch.manual_seed(0)
    model, images = Registers(patches).double().eval(), torch.rand(2, 3, 32, 32, dtype=torch.float64)
    maps = fs.HiResCAM(layer="mixed")(model, images, target=1)

    taken = list[torch.Tensor]()
    with torch.enable_grad():
        handle = model.mixed.register_forward_hook(lambda module, args, output: taken.append(output))
        score = model(images)[:, 1].sum()
        handle.remove()
        slope = torch.autograd.grad(score, taken[0])[0]
    by_hand = (slope * taken[0]).sum(2)[:, 1 + REGISTERS :].reshape(2, 4, 4)
    np.testing.assert_allclose(maps.values, by_hand.detach().numpy(), rtol=1e-9)
