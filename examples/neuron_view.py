"""Neurons as dots, weights as lines: a perceptron learns the exclusive or.

Lines are as wide as their weights, red where positive, blue where negative. The dots show the activations for the input
(1, 0): follow the strong lines to see how the answer comes about.
"""

import torch
from torch import nn

import fluoroscope as fs

torch.manual_seed(1)
x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
y = torch.tensor([0, 1, 1, 0])

model = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
for _ in range(300):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()

view = fs.NeuronView(features=("a", "b"))(fs.Subject(model, classes=["equal", "different"]), x)
view.plot(example=2).savefig("weights.png")
view.plot(example=2, lines="flow").savefig("flow.png")
print(f"loss {loss.item():.4f}; answers {model(x).argmax(1).tolist()}")
