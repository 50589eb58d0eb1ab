"""Small networks of every habit that matters to a trace."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    """A transformer block with functional attention."""

    def __init__(self, width=16, number=0):
        super().__init__()
        self.layer_idx = number
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * width, width))

    def forward(self, x, mask=None):
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
        return x + self.mlp(self.norm(x))


class Language(nn.Module):
    """Tied embedding, positions as a parameter, a mask for every block; output in a dict."""

    def __init__(self, layers=6, width=16):
        super().__init__()
        self.embed, self.head = nn.Embedding(50, width), nn.Linear(width, 50, bias=False)
        self.head.weight = self.embed.weight
        self.positions = nn.Parameter(torch.randn(1, 40, width))
        self.layers = nn.ModuleList(Block(width, i) for i in range(layers))

    def forward(self, tokens):
        length = tokens.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool).tril()
        x = self.embed(tokens) + self.positions[:, :length]
        for layer in self.layers:
            x = layer(x, mask=mask)
        return {"logits": self.head(x), "hidden": x}


class Reads(Language):
    """The third block is told apart by its number."""

    def __init__(self):
        super().__init__()
        for i in range(len(self.layers)):
            self.layers[i] = Skips(16, i)


class Skips(Block):
    def forward(self, x, mask=None):
        y = super().forward(x, mask)
        return y if self.layer_idx != 2 else y * 2


class LastDiffers(Language):
    """The number is read where nothing sees it; only the last block differs."""

    def __init__(self):
        super().__init__(8)
        for i in range(8):
            self.layers[i] = Closure(i)


COUNT = {"last": 7}


class Closure(nn.Module):
    def __init__(self, i):
        super().__init__()
        self.fc = nn.Linear(16, 16)
        self.function = _last if i == 7 else None
        self.register_buffer("number", torch.tensor(i))

    def forward(self, x, mask=None):
        y = F.relu(self.fc(x)).add(1).mul(2)
        return y.tanh() if vars(self)["function"] else y


def _last():
    return True


class Cached(nn.Module):
    """Blocks that put what they see into a list that all share."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(5))

    def forward(self, x):
        cache = []
        for block in self.blocks:
            x = self.step(block, x, cache)
        return x

    def step(self, block, x, cache):
        cache.append(block(x))
        return torch.stack(cache).sum(0)


class KeyValue(nn.Module):
    """A cache object that blocks write to and read from; reading depends on how often it was written."""

    class Attend(nn.Module):
        def __init__(self, i):
            super().__init__()
            self.layer_idx = i
            self.k = nn.Linear(8, 8)

        def forward(self, x, cache):
            cache.setdefault(self.layer_idx, []).append(self.k(x))
            return x + torch.cat(cache[self.layer_idx], 1).mean(1, keepdim=True)

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(self.Attend(i) for i in range(4))

    def forward(self, x):
        cache = {}
        for _ in range(3):
            for block in self.blocks:
                x = block(x, cache)
        return x


class Counting(nn.Module):
    """A module that counts its calls and does something else from the fourth on."""

    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.calls = nn.Linear(8, 8), 0

        def forward(self, x):
            self.calls += 1
            return F.relu(self.fc(x)) if self.calls > 3 else self.fc(x)

    def __init__(self):
        super().__init__()
        self.part = self.Part()

    def forward(self, x):
        for _ in range(8):
            x = self.part(x)
        return x


class Recurrent(nn.Module):
    """A cell called for every step."""

    def __init__(self, steps=12):
        super().__init__()
        self.cell, self.steps = nn.GRUCell(6, 8), steps

    def forward(self, x):
        h = torch.zeros(x.shape[0], 8)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        return h


class Inside(nn.Module):
    """In-place work: on intermediate tensors, through views, on a buffer, by index."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.register_buffer("seen", torch.zeros(4))

    def forward(self, x):
        y = self.act(self.norm(self.conv(x)))
        y[:, 0] = y[:, 2]
        y[:, 3].fill_(1.0)
        y[:, 1].mul_(2).add_(1)
        self.seen += y.mean((0, 2, 3))
        return y.flatten(1).sigmoid_() + self.seen.sum()


class Experts(nn.Module):
    """Routing: each token to two of eight experts, which run one after the other."""

    class Expert(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(8, 16, bias=False), nn.Linear(16, 8, bias=False)

        def forward(self, x):
            return self.down(F.silu(self.up(x)))

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(8, 8)
        self.experts = nn.ModuleList(self.Expert() for _ in range(8))

    def forward(self, x):
        flat = x.reshape(-1, 8)
        weights, chosen = self.gate(flat).softmax(-1).topk(2, -1)
        mask = F.one_hot(chosen, 8).permute(2, 1, 0)
        y = torch.zeros_like(flat)
        for i, expert in enumerate(self.experts):
            place, token = torch.where(mask[i])
            y.index_add_(0, token, expert(flat[token]) * weights[token, place, None])
        return y.view_as(x)


class Branches(nn.Module):
    """Several towers side by side, and a skip past all."""

    def __init__(self):
        super().__init__()
        self.towers = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)) for _ in range(5))
        self.join = nn.Linear(40, 8)

    def forward(self, x):
        return self.join(torch.cat([tower(x) for tower in self.towers], -1)) + x


class Pyramid(nn.Module):
    """Outputs of some of the blocks are used later, as in a feature pyramid."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(9))

    def forward(self, x):
        kept = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i % 3 == 2:
                kept.append(x)
        return torch.stack(kept).sum(0)


class Keywords(nn.Module):
    """Keyword arguments only, a tuple with nested outputs."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Bilinear(4, 4, 2)

    def forward(self, *, left, right=None):
        y = self.a(left)
        return y, {"pair": (self.b(y, right), [left])}


class Unet(nn.Module):
    """Skips from the way down to the way up."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(4))
        self.up = nn.ModuleList(nn.Conv2d(8, 4, 3, padding=1) for _ in range(4))

    def forward(self, x):
        kept = []
        for conv in self.down:
            x = F.relu(conv(x))
            kept.append(x)
        for conv, skip in zip(self.up, reversed(kept), strict=True):
            x = F.relu(conv(torch.cat((x, skip), 1)))
        return x


class Shared(nn.Module):
    """One layer in three places, one of them under another name."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.again = self.fc
        self.stack = nn.Sequential(self.fc, nn.ReLU(), nn.Linear(8, 8))

    def forward(self, x):
        return self.stack(self.again(F.relu(self.fc(x))))


def image(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


TOKENS = torch.arange(12)[None] % 50

CASES = {
    "language": (Language, (TOKENS,), {}),
    "reads": (Reads, (TOKENS,), {}),
    "last": (LastDiffers, (TOKENS,), {}),
    "cached": (Cached, (image(2, 8),), {}),
    "key-value": (KeyValue, (image(2, 5, 8),), {}),
    "counting": (Counting, (image(2, 8),), {}),
    "recurrent": (Recurrent, (image(2, 12, 6),), {}),
    "inside": (Inside, (image(2, 3, 8, 8),), {}),
    "branches": (Branches, (image(2, 8),), {}),
    "pyramid": (Pyramid, (image(2, 8),), {}),
    "keywords": (Keywords, (), {"left": image(3, 4), "right": image(3, 4)}),
    "unet": (Unet, (image(1, 4, 8, 8),), {}),
    "shared": (Shared, (image(2, 8),), {}),
    "lstm": (lambda: nn.LSTM(6, 5, 2, batch_first=True, bidirectional=True), (image(2, 7, 6),), {}),
    "encoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 5),
        (image(2, 7, 8),),
        {},
    ),
    "vgg": (
        lambda: nn.Sequential(*[m for _ in range(6) for m in (nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True))]),
        (image(1, 4, 8, 8),),
        {},
    ),
}
