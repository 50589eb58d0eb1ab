"""The architecture of a U-Net: what flows where, in which shape, and what it costs.

Boxes are modules and operations, wires are tensors. The second picture shows it as slabs: height and depth
are the resolution, thickness the channels, and arcs are the skips.
"""

import torch
from torch import nn

import fluoroscope as fs


def block(given: int, made: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(given, made, 3, padding=1), nn.BatchNorm2d(made), nn.ReLU())


class UNet(nn.Module):
    """Two levels down, two levels up, a skip on each."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = block(3, 32), block(32, 64), block(64, 128)
        self.pool = nn.MaxPool2d(2)
        self.up2, self.up1 = nn.ConvTranspose2d(128, 64, 2, 2), nn.ConvTranspose2d(64, 32, 2, 2)
        self.join2, self.join1 = block(128, 64), block(64, 32)
        self.score = nn.Conv2d(32, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        high = self.down1(x)
        low = self.down2(self.pool(high))
        x = self.join2(torch.cat([low, self.up2(self.bottom(self.pool(low)))], 1))
        return self.score(self.join1(torch.cat([high, self.up1(x)], 1)))


graph = fs.Architecture()(UNet(), torch.zeros(1, 3, 128, 128))
graph.plot(depth=0).savefig("flow.png")
graph.plot(style="slab").savefig("slabs.png")
print(f"{graph.parameters:,} parameters, {graph.flops:,} FLOPs, {graph.operations} operations")
