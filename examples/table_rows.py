"""Not only pictures: which columns of a table a prediction hangs on.

The same methods take rows of a table. Here a perceptron tells benign from malignant tumours by 30 measurements, and the
signed gradient names those that count for one patient.
"""

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

import fluoroscope as fs

torch.manual_seed(0)
data = load_breast_cancer()
rows = torch.tensor(data.data, dtype=torch.float32)
rows = (rows - rows.mean(0)) / rows.std(0)
labels = torch.tensor(data.target)

network = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(network.parameters(), 1e-2)
for _ in range(100):
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(rows[:450]), labels[:450]).backward()
    optimizer.step()

subject = fs.Subject(network, classes=list(data.target_names))
found = fs.Saliency()(subject, rows[450:454])
named = found.replace(samples=fs.Samples(features=(tuple(data.feature_names),) * 4))
named.plot(index=0).savefig("table_rows.png", dpi=100)

strongest = abs(found.values[0]).argsort()[::-1][:3]
print(f"{found.label(0)}:", ", ".join(f"{data.feature_names[i]} {found.values[0, i]:+.2f}" for i in strongest))
