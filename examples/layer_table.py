"""The layer table: shapes, parameters and costs before a single step of training.

A tied tensor counts once, where it is met first: here the embedding of the letters is also the matrix that scores them.
FLOPs are those of matrix products, convolutions and attention, for one example.
"""

import torch
from torch import nn

import fluoroscope as fs


class NextLetter(nn.Module):
    """Three convolutions over the last letters of a text; scores for the next one."""

    def __init__(self, letters: int = 64, width: int = 96) -> None:
        super().__init__()
        self.embed = nn.Embedding(letters, width)
        self.mix = nn.Sequential(*[nn.Sequential(nn.Conv1d(width, width, 5, padding=2), nn.GELU()) for _ in range(3)])
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, letters, bias=False)
        self.score.weight = self.embed.weight

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        mixed = self.mix(self.embed(letters).transpose(1, 2)).transpose(1, 2)
        return self.score(self.norm(mixed))


table = fs.LayerTable()(NextLetter(), torch.zeros(1, 32, dtype=torch.long))
table.plot().savefig("layer_table.png", dpi=100)

print(f"{table.parameters:,} parameters, {table.flops:,} FLOPs")
print(f"embed: {table.row('embed').parameters:,} parameters; score, tied to it: {table.row('score').parameters}")
