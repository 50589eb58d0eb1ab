"""Spectra of the weights: which directions of a layer were learned, and which are still as random as they began.

Singular values of the first layer before and after training, beside those of noise of the same size and spread
(dashed). Training lifts a few directions above the edge of the noise; the difference of the two checkpoints says how
far the weights moved.
"""

import copy

import torch
from sklearn.datasets import load_digits
from torch import nn

import fluoroscope as fs

torch.manual_seed(0)
digits = load_digits()
pixels, labels = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)

network = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
start = copy.deepcopy(network)
optimizer = torch.optim.Adam(network.parameters(), 3e-3)
for _ in range(150):
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(pixels), labels).backward()
    optimizer.step()

for name, model in (("before", start), ("after", network)):
    spectra = fs.WeightSpectrum(match="0.weight")(model)
    spectra.plot().savefig(f"weight_spectra_{name}.png", dpi=100)
    found = spectra.spectra[0].statistics
    print(f"{name}: {found['above_edge']:.0f} values above noise, stable rank {found['stable_rank']:.1f} of 48")

change = fs.WeightDifference()(start, network)
print(f"the first layer moved by {change.tensor('0.weight').statistics['relative']:.0%} of its norm")
