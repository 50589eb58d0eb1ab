"""Networks built without weights."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn

import fluoroscope as fs
from bench.moe import MoETransformer
from fluoroscope.errors import FluoroscopeError
from fluoroscope.model.graph.skeleton import weightless
from fluoroscope.model.spec import load_structure


def small(**options):
    return MoETransformer(3, 32, 4, 2, 16, experts=6, chosen=2, dense_hidden=64, words=50, **options)


def test_structure_without_weights_is_the_same():
    with weightless():
        skeleton = small()
        assert not gc.isenabled()
    assert gc.isenabled()
    assert all(t.is_meta for t in (*skeleton.parameters(), *skeleton.buffers()))
    built = small()
    assert {n: p.shape for n, p in skeleton.named_parameters()} == {n: p.shape for n, p in built.named_parameters()}
    tokens = torch.zeros(1, 8, dtype=torch.long)
    a, b = fs.Architecture()(skeleton, tokens), fs.Architecture(device="meta")(built, tokens)
    assert [(n.name, n.type, n.times, n.flops) for n in a.nodes] == [
        (n.name, n.type, n.times, n.flops) for n in b.nodes
    ]
    assert a.parameters == sum(p.numel() for p in built.parameters())


def test_what_networks_do_while_they_are_built():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4, device="cpu").to(torch.bfloat16)
            nn.init.kaiming_normal_(self.fc.weight, nonlinearity="relu")
            with torch.no_grad():
                self.fc.weight.mul_(0.5)
                self.fc.bias.data.zero_()
            self.register_buffer("table", torch.arange(10, device="cpu").float().outer(torch.ones(3)))

    with weightless():
        made = Odd()
    assert made.fc.weight.is_meta and made.fc.weight.dtype is torch.bfloat16
    assert made.table.shape == (10, 3)
    assert float(nn.Linear(3, 3).weight.abs().sum()) > 0  # outside of the block layers are initialised again


FACTORY = """
import torch
from torch import nn

def plain(width=8):
    return nn.Sequential(nn.Linear(4, width), nn.ReLU())

def needs_numbers():
    return nn.Linear(4, int(torch.linspace(1, 5, 3).sum()))

def broken():
    raise ValueError("planted")
"""


def test_load_structure(tmp_path):
    file = tmp_path / "networks.py"
    file.write_text(FACTORY)
    made = load_structure(f"{file}:plain", width=6)
    assert made.module[0].weight.is_meta and made.module[0].weight.shape == (6, 4)
    loaded = load_structure(f"{file}:needs_numbers")
    assert loaded.module.weight.shape == (9, 4)
    assert "loaded" in loaded.notes[-1]
    with pytest.raises(FluoroscopeError, match="planted"):
        load_structure(f"{file}:broken")
