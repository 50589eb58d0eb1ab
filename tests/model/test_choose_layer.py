"""The layer of a class activation map where none is named: where more than the token that is read still counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs
from tests.contract.networks import differences, snapshot

IDS = torch.tensor([[3, 1, 4, 1, 5, 2], [2, 6, 5, 3, 5, 8]])


class LowRank(nn.Module):
    """A dense layer with a low-rank addition, as fine-tuning puts it in its place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.base, self.down, self.up = nn.Linear(width, width), nn.Linear(width, 2), nn.Linear(2, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.up(self.down(x))


class Attention(nn.Module):
    def __init__(self, width: int, causal: bool, made: type[nn.Module]) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = made(width), made(width), made(width), made(width)
        self.causal = causal

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.query(x), self.key(x), self.value(x)
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=self.causal))


class Dense(nn.Linear):
    def __init__(self, width: int) -> None:
        super().__init__(width, width)


class Block(nn.Module):
    """Attention and a dense layer with skips; norms before them (decoders) or after them (BERT)."""

    def __init__(self, width: int, causal: bool, made: type[nn.Module]) -> None:
        super().__init__()
        self.attend, self.mlp = Attention(width, causal, made), nn.Sequential(nn.Linear(width, 9), nn.Linear(9, width))
        self.first, self.second, self.before = nn.LayerNorm(width), nn.LayerNorm(width), causal

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.before:
            x = x + self.attend(self.first(x))
            return x + self.mlp(self.second(x))
        x = self.first(x + self.attend(x))
        return self.second(x + self.mlp(x))


class Encoder(nn.Module):
    def __init__(self, blocks: list[nn.Module], turns: int) -> None:
        super().__init__()
        self.blocks, self.turns = nn.ModuleList(blocks), turns

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(self.turns):
            for block in self.blocks:
                x = block(x)
        return x


class Reader(nn.Module):
    """Token numbers to three classes, read from the first token, the last, or the mean of all."""

    def __init__(
        self, read: str, count: int = 3, turns: int = 1, made: type[nn.Module] = Dense, width: int = 4
    ) -> None:
        super().__init__()
        self.embed, self.read, self.head = nn.Embedding(9, width), read, nn.Linear(width, 3)
        self.encoder = Encoder([Block(width, read == "last", made) for _ in range(count)], turns)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.encoder(self.embed(ids))
        return self.head({"first": x[:, 0], "last": x[:, -1], "mean": x.mean(1)}[self.read])


def made(model: nn.Module) -> nn.Module:
    """Fixed weights, float64."""
    generator = torch.Generator().manual_seed(1)
    for p in model.parameters():
        p.data.copy_(0.5 * torch.randn(p.shape, generator=generator))
    return model.double().eval()


def reference(model: nn.Module, x: torch.Tensor, layer: nn.Module, call: int, target: int) -> np.ndarray[Any, Any]:
    """Grad-CAM of one call's output, positions second: relu(sum over features of mean gradient times activation)."""
    outputs: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda m, args, out: outputs.append(out))
    score = model(x)[:, target].sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(score, outputs[call])
    assert ((gradient != 0).any(2).sum(1) > 1).all()
    return F.relu((outputs[call] * gradient.mean(1, keepdim=True)).sum(2)).detach().numpy()


@pytest.mark.parametrize("kind", [Dense, LowRank])
@pytest.mark.parametrize("read", ["first", "last"])
def test_texts_take_the_last_block_before_the_one_that_gathers(read: str, kind: type[nn.Module]) -> None:
    """After the last attention only the token that is read counts; its queries, keys and values are no layer to map."""
    model = made(Reader(read, made=kind))
    before = snapshot(model)
    found = fs.GradCAM()(model, IDS, target=[[0, 1, 2]] * 2)
    assert differences(before, snapshot(model)) == []
    assert found.meta["layer"] == "encoder.blocks.1"
    assert found.values.shape == (2, 3, 6)
    for target in range(3):
        expected = reference(model, IDS, model.encoder.blocks[1], 0, target)
        np.testing.assert_allclose(found.values[:, target], expected, rtol=1e-6)
    assert (np.count_nonzero(found.values, axis=2) > 1).any()


def test_texts_whose_tokens_all_count_take_the_end() -> None:
    model = made(Reader("mean"))
    found = fs.GradCAM()(model, IDS, target=1)
    assert found.meta["layer"] == "encoder"
    np.testing.assert_allclose(found.values, reference(model, IDS, model.encoder, 0, 1), rtol=1e-6)


def test_a_block_that_is_shared_is_taken_at_the_turn_before_the_last() -> None:
    model = made(Reader("first", count=1, turns=3))
    found = fs.GradCAM()(model, IDS, target=2)
    assert found.meta["layer"] == "encoder.blocks.0@1"
    np.testing.assert_allclose(found.values, reference(model, IDS, model.encoder.blocks[0], 1, 2), rtol=1e-6)


@pytest.mark.parametrize(("read", "layer"), [("first", "embed"), ("last", "encoder.blocks.0.first")])
def test_with_one_block_no_projection_is_taken(read: str, layer: str) -> None:
    assert fs.GradCAM()(made(Reader(read, count=1)), IDS, target=0).meta["layer"] == layer


SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32, "num_labels": 3}
GPT2 = {"n_embd": 16, "n_layer": 3, "n_head": 2, "num_labels": 3, "bos_token_id": None, "eos_token_id": None}


@pytest.mark.parametrize(
    ("name", "config", "sizes", "layer"),
    [
        ("BertForSequenceClassification", "BertConfig", SIZES, "bert.encoder.layer.1"),
        ("LlamaForSequenceClassification", "LlamaConfig", SIZES, "model.layers.1"),
        ("GPT2ForSequenceClassification", "GPT2Config", GPT2, "transformer.h.1"),
    ],
)
def test_networks_of_transformers(name: str, config: str, sizes: dict[str, Any], layer: str) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    made_from = getattr(transformers, config)(vocab_size=60, pad_token_id=0, **sizes)
    model = getattr(transformers, name)(made_from).eval()
    found = fs.GradCAM()(model, torch.randint(3, 50, (1, 9)), target=1)
    assert found.meta["layer"] == layer
    assert np.count_nonzero(found.values) > 1


class Flat(nn.Module):
    """Residual sums with rectifiers as ``spelling`` says: modules of their own, in place, shared."""

    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(i, 4, 3, padding=1) for i in (3, 4, 4))
        shared = nn.ReLU(inplace="in place" in spelling)
        self.ends = nn.ModuleList(
            shared if "shared" in spelling else nn.ReLU(inplace="in place" in spelling) for _ in range(3)
        )
        self.fc, self.ignored = nn.Linear(4, 3), spelling == "in place, what it gives back ignored"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.ends[0](self.a(x))
        second = self.ends[1](self.b(first) + first)
        third = self.c(second) + second
        if self.ignored:
            self.ends[2](third)
        else:
            third = self.ends[2](third)
        return self.fc(third.mean((2, 3)))


class Sum(nn.Module):
    """A residual block, its rectifier a module or a function, in place or not."""

    def __init__(self, spelling: str, relu: nn.Module) -> None:
        super().__init__()
        self.spelling, self.conv = spelling, nn.Conv2d(4, 4, 3, padding=1)
        if "module" in spelling:
            self.relu = relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.spelling == "function":
            return F.relu(x + self.conv(x))
        if self.spelling == "function in place":
            return F.relu_(x + self.conv(x))
        if self.spelling == "all in place":
            x += self.conv(x)
            return x.relu_()
        return self.relu(x + self.conv(x))


def blocks(spelling: str) -> nn.Module:
    shared = nn.ReLU(inplace="in place" in spelling)
    relus = [shared if "shared" in spelling else nn.ReLU(inplace="in place" in spelling) for _ in range(2)]
    body = [Sum(spelling, relu) for relu in relus]
    return nn.Sequential(nn.Conv2d(3, 4, 3), *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


@pytest.mark.parametrize("spelling", ["in place", "shared", "shared in place"])
def test_a_rectifier_in_place_after_a_sum_is_the_layer(spelling: str) -> None:
    """It gave back its input, but with other numbers in it: the sum, not the last convolution, is mapped."""
    x = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    plain, model = made(Flat("modules")), made(Flat(spelling))
    before = snapshot(model)
    for _ in range(4):  # from the third call on a part may run as a program
        expected, found = fs.GradCAM()(plain, x, target=1), fs.GradCAM()(model, x, target=1)
        assert expected.meta["layer"] == "ends.2"
        assert model.get_submodule(found.meta["layer"]) is model.ends[2]
        np.testing.assert_allclose(found.values, expected.values, rtol=1e-6)
    assert differences(before, snapshot(model)) == []


def test_a_rectifier_whose_answer_is_not_used_is_passed_over() -> None:
    model = made(Flat("in place, what it gives back ignored"))
    x = torch.rand(1, 3, 6, 8, dtype=torch.float64)
    assert fs.GradCAM()(model, x, target=1).meta["layer"] == "c"


@pytest.mark.parametrize(
    "spelling", ["module", "module in place", "shared module", "shared module in place", "function in place",
                 "all in place"],
)  # fmt: skip
def test_residual_blocks_give_one_map_in_every_spelling(spelling: str) -> None:
    x = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected, found = (fs.GradCAM()(made(blocks(s)), x, target=1) for s in ("function", spelling))
    assert expected.meta["layer"] == found.meta["layer"] == "2"
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-6)


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.Dropout(0.5, inplace=True), nn.Identity()])
def test_a_layer_that_changes_nothing_is_still_passed_over(layer: nn.Module) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    assert fs.GradCAM()(model, torch.rand(1, 3, 6, 8), target=1).meta["layer"] == "0"
