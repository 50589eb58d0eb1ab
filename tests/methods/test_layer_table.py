"""The layer table against counts done by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs
from tests.contract.networks import images, network


def test_parameters_shapes_and_flops_by_hand() -> None:
    table = fs.layers(network(), images(2, (12, 16)))
    conv = table.row("stem.0")
    assert conv.output_shape == (1, 6, 12, 16)
    assert conv.parameters == 6 * 3 * 9 + 6
    assert conv.flops == 2 * 6 * 12 * 16 * 3 * 9
    assert conv.bytes == 4 * 6 * 12 * 16
    assert table.row("block.0").flops == 2 * 8 * 6 * 8 * 6 * 9
    assert table.row("fc").flops == 2 * 8 * 5
    assert table.row("stem").flops == conv.flops
    assert table.flops == sum(table.row(n).flops for n in ("stem", "block", "fc"))
    assert table.parameters == sum(p.numel() for p in network().parameters())
    assert table.trainable == table.parameters - 6 * 3 * 9
    assert conv.trainable == 6
    assert conv.uses == ("maps", "weights")
    assert table.row("fc").uses == ("vectors", "weights")
    assert not table.row("stem").leaf


def test_tied_weights_count_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.out = nn.Embedding(11, 4), nn.Linear(4, 11, bias=False)
            self.out.weight = self.embed.weight
            self.again = self.out

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.again(self.out(self.embed(x)).argmax(-1).float()[..., None].expand(-1, -1, 4))

    table = fs.layers(Tied(), torch.tensor([[1, 2, 3]]))
    assert table.parameters == 44
    assert table.row("embed").parameters == 44
    assert table.row("out").parameters == 0
    assert table.row("again").shares == "out"
    assert table.row("out").calls == 2


def test_functional_attention_is_counted_and_named() -> None:
    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(8, 24)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
            return F.scaled_dot_product_attention(q, k, v)

    model = nn.Sequential(Attend())
    table = fs.layers(model, torch.rand(1, 10, 8))
    assert table.row("0.qkv").flops == 2 * 10 * 8 * 24
    assert table.row("0").flops == 2 * 10 * 8 * 24 + 2 * 2 * (10 * 4 * 10) * 2
    assert "attention" in table.row("0").uses


def test_fused_attention_is_counted() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    table = fs.layers(nn.Sequential(layer), torch.rand(1, 10, 8))
    attention = 2 * 10 * 8 * 24 + 2 * 2 * 10 * 10 * 4 * 2 + 2 * 10 * 8 * 8
    assert table.row("0.self_attn").flops == attention
    assert table.row("0").flops == attention + 2 * 2 * 10 * 8 * 16
    assert table.row("0.norm1").output_shape == (1, 10, 8)
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("layer", [nn.LSTM(5, 7, batch_first=True), nn.GRU(5, 7, 2, batch_first=True)])
def test_recurrent_layers_are_counted(layer: nn.Module) -> None:
    weights = sum(p.numel() for n, p in layer.named_parameters() if "weight" in n)
    assert fs.layers(nn.ModuleDict({"rnn": layer})["rnn"], torch.rand(1, 9, 5)).flops == 2 * 9 * weights


def test_an_input_is_made_up_and_told() -> None:
    table = fs.layers(network())
    assert table.row("stem.0").output_shape == (1, 6, 224, 224)
    assert "made-up input (1, 3, 224, 224)" in table.notes[0]
    assert fs.LayerTable(input_shape=(3, 8, 8))(network()).row("block").output_shape == (1, 8, 4, 4)
    unknown = fs.layers(nn.Sequential(nn.ReLU(), nn.Bilinear(2, 2, 2)))
    assert unknown.row("1").output_shape is None
    assert "unknown" in unknown.notes[0]
