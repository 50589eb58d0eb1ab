"""Before training: do signals survive the way through the network, and do gradients come back?

Two deep networks that differ only in how their weights were drawn. In the first each layer halves the signal, so that
the first layers would learn nothing; in the second (He et al. 2015) it keeps its size.
"""

import torch
from torch import nn

import fluoroscope as fs

torch.manual_seed(0)


def network(gain: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(24):
        layer = nn.Linear(128, 128)
        nn.init.normal_(layer.weight, std=gain / 128**0.5)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, 10))


inputs = torch.randn(64, 128)
for name, gain in (("too_small", 0.7), ("he", 2**0.5)):
    found = fs.Initialization()(network(gain), inputs)
    print(f"{name}: {found.caption}")
    found.plot().savefig(f"initialization_{name}.png", dpi=100)
