"""Diagnosis: what is wrong with a training.

Ten sigmoid layers learn nothing. The record shows why: the gradient of the first layers is ten million times smaller
than that of the last.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import fluoroscope as fs

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.data / 16, dtype=torch.float32)
labels = torch.tensor(digits.target)

hidden = [module for _ in range(8) for module in (nn.Linear(32, 32), nn.Sigmoid())]
network = nn.Sequential(nn.Linear(64, 32), nn.Sigmoid(), *hidden, nn.Linear(32, 10))
optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)

with fs.record(network, optimizer, run="deep", config={"classes": 10}) as run:
    for _ in range(200):
        batch = torch.randint(0, len(labels), (64,))
        loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log(loss=loss)

found = fs.diagnose(run.path)
for finding in found:
    print(f"{finding.severity}: {finding.title}\n  {finding.evidence}\n  try: {finding.advice[0]}")
found.plot().savefig("diagnosis.png", dpi=100)
