"""Several targets at once: what speaks for each class, and what against it.

``"top3"`` asks for the three classes with the largest scores; the signed gradient then has a target axis K. All maps
share one colour scale around zero, so that they can be compared. For a linear classifier the gradient is its template.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import fluoroscope as fs

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
labels = torch.tensor(digits.target)

network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(network.parameters(), 0.5, weight_decay=1e-3)
for _ in range(300):
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(images[:1500]), labels[:1500]).backward()
    optimizer.step()

subject = fs.Subject(network, classes=[f"digit {d}" for d in range(10)], name="a linear classifier")
maps = fs.Saliency(reduce="none")(subject, images[1500:1503], target="top3")
maps.plot(over="map").savefig("several_targets.png", dpi=100)

print("values:", maps.values.shape, maps.axes)
for n in range(3):
    print(", ".join(f"{maps.label(n, k)} {maps.scores[n, k]:.1f}" for k in range(3)))
