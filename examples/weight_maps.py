"""Weights: what a network has learned, seen without any data.

Every tensor as a picture, with its histogram and exact statistics. The first layer has a row for each hidden unit and a
column for each pixel of an 8 x 8 digit: look at the columns that stand out.
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import fluoroscope as fs

torch.manual_seed(0)
digits = load_digits()
pixels, labels = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)

network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.AdamW(network.parameters(), 1e-2, weight_decay=0.1)
for _ in range(200):
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(pixels), labels).backward()
    optimizer.step()

weights = fs.WeightMaps(match="*.weight")(network)
weights.plot().savefig("weight_maps.png", dpi=100)

largest = np.abs(weights.tensor("0.weight").picture).max(0).argsort()[::-1][:2]
for pixel in largest:
    ink = (digits.data[:, pixel] > 0).mean()
    print(f"pixel {pixel}: among the largest weights, yet it has ink in only {ink:.1%} of the digits")
