"""A mixture-of-experts transformer in plain PyTorch, one module for each expert: 2.0 trillion parameters by default."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

__all__ = ["MoETransformer", "llama_70b", "trillions"]


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = 1e-6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


def rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class Attention(nn.Module):
    """Grouped queries, rotary positions, a causal mask; keys and values can go into a cache."""

    def __init__(self, width: int, heads: int, groups: int, layer_idx: int) -> None:
        super().__init__()
        self.heads, self.groups, self.size, self.layer_idx = heads, groups, width // heads, layer_idx
        self.q_proj = nn.Linear(width, heads * self.size, bias=False)
        self.k_proj = nn.Linear(width, groups * self.size, bias=False)
        self.v_proj = nn.Linear(width, groups * self.size, bias=False)
        self.o_proj = nn.Linear(heads * self.size, width, bias=False)

    def forward(self, x: torch.Tensor, rotary: tuple[torch.Tensor, torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
        n, length, _ = x.shape
        q = rotated(self.q_proj(x).view(n, length, self.heads, self.size).transpose(1, 2), *rotary)
        k = rotated(self.k_proj(x).view(n, length, self.groups, self.size).transpose(1, 2), *rotary)
        v = self.v_proj(x).view(n, length, self.groups, self.size).transpose(1, 2)
        k, v = (t.repeat_interleave(self.heads // self.groups, 1) for t in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o_proj(y.transpose(1, 2).reshape(n, length, -1))


class Expert(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Experts(nn.Module):
    """Each token goes to its best few experts; the experts run one after the other."""

    def __init__(self, width: int, hidden: int, count: int, chosen: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, count, bias=False)
        self.experts = nn.ModuleList(Expert(width, hidden) for _ in range(count))
        self.count, self.chosen = count, chosen

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1])
        weights, selected = torch.topk(self.gate(flat).softmax(-1), self.chosen, dim=-1)
        weights = weights / weights.sum(-1, keepdim=True)
        result = torch.zeros_like(flat)
        mask = F.one_hot(selected, self.count).permute(2, 1, 0)
        for number, expert in enumerate(self.experts):
            place, token = torch.where(mask[number])
            result.index_add_(0, token, expert(flat[token]) * weights[token, place, None])
        return result.view_as(x)


class Layer(nn.Module):
    def __init__(self, width: int, heads: int, groups: int, feed_forward: nn.Module, layer_idx: int) -> None:
        super().__init__()
        self.layer_idx = layer_idx
        self.input_norm, self.post_norm = RMSNorm(width), RMSNorm(width)
        self.attention = Attention(width, heads, groups, layer_idx)
        self.feed_forward = feed_forward

    def forward(self, x: torch.Tensor, rotary: tuple[torch.Tensor, torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.input_norm(x), rotary, mask)
        return x + self.feed_forward(self.post_norm(x))


class MoETransformer(nn.Module):
    """Decoder: embedding, layers (dense ones first), norm, head. ``experts=0`` makes all layers dense."""

    def __init__(
        self,
        layers: int = 61,
        width: int = 7168,
        heads: int = 64,
        groups: int = 8,
        hidden: int = 3840,
        experts: int = 400,
        chosen: int = 8,
        dense: int = 1,
        dense_hidden: int = 18432,
        words: int = 163840,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.layers = nn.ModuleList(
            Layer(
                width,
                heads,
                groups,
                Expert(width, dense_hidden) if i < dense or not experts else Experts(width, hidden, experts, chosen),
                i,
            )
            for i in range(layers)
        )
        self.norm = RMSNorm(width)
        self.head = nn.Linear(width, words, bias=False)
        self.size = width // heads

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        length = tokens.shape[1]
        x = self.embed(tokens)
        angles = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, self.size, 2) / self.size)
        angles = torch.cat((angles, angles), -1)
        rotary = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        mask = torch.ones(length, length, dtype=torch.bool).tril()
        for layer in self.layers:
            x = layer(x, rotary, mask)
        return self.head(self.norm(x))


def trillions() -> MoETransformer:
    """2.0e12 parameters in about 97,000 modules."""
    return MoETransformer()


def llama_70b() -> MoETransformer:
    """The shape of Llama-2-70B: 80 dense layers."""
    return MoETransformer(layers=80, width=8192, heads=64, groups=8, experts=0, dense_hidden=28672, words=32000)
