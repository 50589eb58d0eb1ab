"""Saliency: how strongly the score reacts to each pixel.

The gradient of one class score with respect to the picture. ``reduce="none"`` keeps its sign: where brighter ink would
speak for the class, and where against it.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import fluoroscope as fs

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
labels = torch.tensor(digits.target)

convolutions = [nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU()]
network = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(512, 10))
optimizer = torch.optim.Adam(network.parameters(), 3e-3)
for _ in range(60):
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(images[:1500]), labels[:1500]).backward()
    optimizer.step()
print(f"accuracy on 297 digits never seen: {(network(images[1500:]).argmax(1) == labels[1500:]).float().mean():.0%}")

maps = fs.Saliency(reduce="none")(network, images[1500:1502], target=labels[1500:1502])
maps.plot(over="map").savefig("saliency.png", dpi=100)
