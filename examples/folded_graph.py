"""A network of 70 billion parameters in a fraction of a second: built without weights, traced on shapes, blocks folded.

The table has one line for each module; a block that stands for eighty of them is one line. Unfolded, the graph
is the full trace.
"""

import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs


class Block(nn.Module):
    """Attention and a gated feed-forward part, each with a residual connection."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads, self.norm1, self.norm2 = heads, nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.gate, self.up = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


with torch.device("meta"):
    model = nn.Sequential(nn.Embedding(32000, 8192), *(Block(8192, 64, 28672) for _ in range(72)), nn.RMSNorm(8192))

graph = fs.Architecture()(model, torch.zeros(1, 256, dtype=torch.long))
graph.plot().savefig("folded_graph.png", dpi=100)
print(f"{graph.parameters:,} parameters, {graph.flops:,} FLOPs for 256 tokens, traced in {graph.meta['seconds']} s")
print(f"{graph.operations:,} operations in {graph.modules} modules, drawn as {len(graph.nodes)} nodes")
print([f"{n.members[0]} ({n.repeat})" for n in graph.nodes if n.times > 1])
