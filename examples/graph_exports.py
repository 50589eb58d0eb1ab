"""One graph, many programs: Graphviz, GraphML, Mermaid, TikZ, JSON, SVG and NetworkX.

Colours by numbers of your own: here the share of each layer's weights that are close to zero.
"""

import torch
from torch import nn

import fluoroscope as fs

model = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, batch_first=True), 6)
graph = fs.Architecture()(model, torch.zeros(1, 16, 64))

for name in ("encoder.dot", "encoder.graphml", "encoder.mmd", "encoder.tex", "encoder.json", "encoder.svg"):
    print(name, f"{fs.write_graph(graph, name).stat().st_size:,} bytes")

small = {n: float((m.weight.abs() < 0.01).float().mean()) for n, m in model.named_modules() if isinstance(m, nn.Linear)}
graph.plot(color_by=small, direction="right").savefig("near_zero.png")
