"""The layer of a class activation map of pictures, series and volumes where none is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs
from tests.contract.networks import differences, snapshot


def chosen(model: nn.Module, x: torch.Tensor, target: Any = 1) -> Any:
    """Grad-CAM with no layer named, twice: as chosen and as remembered; the network is as before."""
    before = snapshot(model.double().eval())
    found, again = (fs.GradCAM()(model, x.double(), target=target) for _ in range(2))
    assert differences(before, snapshot(model)) == []
    assert (found.meta["layer"], found.notes) == (again.meta["layer"], again.notes)
    np.testing.assert_array_equal(found.values, again.values)
    return found


@pytest.fixture(autouse=True)
def same_weights() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def around(found: Any) -> bool:
    return any("a way around it" in n for n in found.notes)


def picture(*size: int) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(3))


# ----------------------------------------------------------------------------------- sums that are written as functions


class Flat(nn.Module):
    """Residual sums between bare convolutions; what the last one goes through, and how it is pooled."""

    def __init__(self, rank: int, after: nn.Module | None, pool: nn.Module | None = None) -> None:
        super().__init__()
        kind = [nn.Conv1d, nn.Conv2d, nn.Conv3d][rank - 1]
        self.a, self.b, self.c = kind(3, 4, 3, padding=1), kind(4, 4, 3, padding=1), kind(4, 4, 3, padding=1)
        self.after, self.pool, self.fc = after, pool, nn.Linear(4, 3)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.a(x))
        x = x + F.relu(self.b(x))
        return x + F.relu(self.c(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)
        x = self.after(x) if self.after is not None else x
        return self.fc((self.pool(x) if self.pool is not None else x.flatten(2).mean(2)).flatten(1))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("after", [nn.Identity(), nn.Dropout(0.5), nn.Dropout(0.5, inplace=True)])
def test_a_sum_is_mapped_where_a_layer_gives_it_back(rank: int, after: nn.Module) -> None:
    """Of a layer that changes nothing the input is nobody else's output: the sum itself."""
    model, x = Flat(rank, after), picture(*(8, 6, 5)[:rank])
    model.fc.weight.data.abs_()
    found = chosen(model, x)
    assert found.meta["layer"] == "after"
    assert not around(found)
    with torch.no_grad():
        a = model.features(x.double())
    weights = model.fc.weight[1].detach() / a[0, 0].numel()
    expected = torch.einsum("c,nc...->n...", weights, a).relu().numpy()
    np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-12)
    assert expected.max() > 0


@pytest.mark.parametrize("pool", [None, nn.AdaptiveAvgPool2d(1)])
def test_a_branch_is_called_a_branch_where_no_layer_gives_the_sum(pool: nn.Module | None) -> None:
    found = chosen(Flat(2, None, pool), picture(8, 6))
    assert found.meta["layer"] == "c"
    assert around(found)


def test_a_layer_after_the_sum_is_taken() -> None:
    found = chosen(Flat(2, nn.MaxPool2d(2)), picture(8, 6))
    assert found.meta["layer"] == "after"
    assert found.values.shape == (2, 4, 3)
    assert not around(found)


# ----------------------------------------------------------------------------- layers that the score does not depend on


class Backbone(nn.Module):
    """Gives features beside the vector that it pools from them."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.pool = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.AdaptiveAvgPool2d(1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.encoder(x)
        return features, self.pool(features).flatten(1)


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.fc = Backbone(), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.backbone(x)[1])


class Auxiliary(nn.Module):
    """A second head that runs last and is not what is asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 1), nn.Conv2d(4, 3, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.body(x).relu()
        return {"out": self.head(y), "aux": self.second(y)}


class UShaped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.shrink = nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2)
        self.middle = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.up, self.out = nn.ConvTranspose2d(4, 4, 2, 2), nn.Conv2d(8, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.down(x).relu()
        return self.out(torch.cat([self.up(self.middle(self.shrink(a))), a], 1))


@pytest.mark.parametrize(
    ("made", "target", "layer"),
    [
        (Classifier, 1, "backbone.encoder"),
        (Auxiliary, lambda y: y["out"][:, 1].mean((1, 2)), "head"),
        (UShaped, lambda y: y[:, 1].mean((1, 2)), "middle"),
    ],
)
def test_what_the_score_does_not_depend_on_is_passed_over(
    made: Callable[[], nn.Module], target: Any, layer: str
) -> None:
    found = chosen(made(), picture(8, 6), target)
    assert found.meta["layer"] == layer
    assert not around(found)


# ------------------------------------------------------------------------------------------------------ shifted windows


class Bias(nn.Module):
    """One number for each head and pair of places in a window, called without an argument."""

    def __init__(self, heads: int, window: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, heads, window**2, window**2))

    def forward(self) -> torch.Tensor:
        return 1 * self.table


class Windowed(nn.Module):
    """Attention within windows, which are stacked onto the batch."""

    def __init__(self, width: int, window: int, shift: int) -> None:
        super().__init__()
        self.before, self.after, self.bias = nn.LayerNorm(width), nn.LayerNorm(width), Bias(2, window)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.window, self.shift = window, shift

    def forward(self, x: torch.Tensor, size: int) -> torch.Tensor:
        n, w = size // self.window, self.window
        y = self.before(x).view(len(x), size, size, -1).roll((-self.shift, -self.shift), (1, 2))
        y = y.view(len(x), n, w, n, w, -1).transpose(2, 3).reshape(len(x) * n * n, w * w, -1)
        q, k, v = (f(y).unflatten(2, (2, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        y = self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias()).transpose(1, 2).flatten(2))
        y = y.view(len(x), n, n, w, w, -1).transpose(2, 3).reshape(len(x), size, size, -1)
        x = x + y.roll((self.shift, self.shift), (1, 2)).flatten(1, 2)
        return x + self.narrow(self.wide(self.after(x)).relu())


class Merge(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(4 * width, 2 * width)

    def forward(self, x: torch.Tensor, size: int) -> torch.Tensor:
        x = x.view(len(x), size, size, -1)
        return self.reduce(torch.cat([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1).flatten(1, 2))


class Pyramid(nn.Module):
    """A Swin: stages of ``depths`` blocks, half the size and twice the width from one to the next."""

    def __init__(self, depths: tuple[int, ...], window: int, width: int = 8) -> None:
        super().__init__()
        self.embed, self.depths = nn.Conv2d(3, width, 2, 2), depths
        self.blocks, self.merges = nn.ModuleList(), nn.ModuleList()
        for stage, depth in enumerate(depths):
            wide = width * 2**stage
            self.blocks.extend(Windowed(wide, window, window // 2 * (i % 2)) for i in range(depth))
            self.merges.append(Merge(wide) if stage < len(depths) - 1 else nn.Identity())
        self.norm, self.fc = nn.LayerNorm(wide), nn.Linear(wide, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x)
        size, x, block = x.shape[2], x.flatten(2).transpose(1, 2), iter(self.blocks)
        for stage, depth in enumerate(self.depths):
            for _ in range(depth):
                x = next(block)(x, size)
            if stage < len(self.depths) - 1:
                x, size = self.merges[stage](x, size), size // 2
        return self.fc(self.norm(x).mean(1))


@pytest.mark.parametrize(
    ("depths", "window", "width"),
    [((1, 1), 2, 8), ((2, 2), 2, 8), ((2, 6, 1), 2, 8), ((1, 1), 4, 16), ((2, 2, 6, 2), 2, 8), ((1, 4), 4, 8)],
)
def test_pyramids_of_tokens_take_the_end_of_the_last_stage(depths: tuple[int, ...], window: int, width: int) -> None:
    """Not a table of biases, not a window, not the deep stage before, whatever is there most often."""
    model, x = Pyramid(depths, window, width), picture(32, 32)
    found = chosen(model, x)
    side = 16 // 2 ** (len(depths) - 1)
    assert found.meta["layer"] == "norm"
    assert found.values.shape == (2, side, side)
    outputs: list[torch.Tensor] = []
    model.norm.register_forward_hook(lambda m, args, out: outputs.append(out))
    (gradient,) = torch.autograd.grad(model(x.double())[:, 1].sum(), outputs)
    expected = (outputs[0] * gradient.mean(1, keepdim=True)).sum(2).relu().detach().view(2, side, side).numpy()
    np.testing.assert_allclose(found.values, expected, rtol=1e-8, atol=1e-12)


def test_neither_windows_nor_biases_are_shown_as_activations() -> None:
    found = fs.Activations()(Pyramid((2, 2), 2).eval(), picture(16, 16))
    assert found.layers[-1] == "norm"
    assert {len(m) for m in found.maps.values()} == {2}
    assert not [n for n in found.layers if "bias" in n or "query" in n]


# ----------------------------------------------------------------------------------------- attention by the class token


class ByClass(nn.Module):
    """Patches go through a block; then the class token alone asks all of them (CaiT, CrossViT)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.token = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 1, 8))
        self.mix, self.norm, self.ask, self.fc = nn.Linear(8, 8), nn.LayerNorm(8), Asking(), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.embed(x).flatten(2).transpose(1, 2)
        y = y + self.mix(y).relu()
        return self.fc(self.ask(self.norm(torch.cat([self.token.expand(len(y), -1, -1), y], 1)))[:, 0])


class Asking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(self.query(x[:, :1]), self.key(x), self.value(x))


def test_no_projection_of_an_attention_that_gives_one_token_is_taken() -> None:
    found = chosen(ByClass(), picture(16, 24))
    assert found.meta["layer"] == "norm"
    assert found.values.shape == (2, 4, 6)


class Together(nn.Module):
    """Class token and patches through one block; gives the patches as a picture beside the class token."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True) for _ in range(2))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.second(self.first(x))
        return 1 * x[:, 1:].transpose(1, 2).unflatten(2, (4, 6)), x[:, 0]


class ByClassAlone(ByClass):
    def __init__(self) -> None:
        super().__init__()
        self.body = Together()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.embed(x).flatten(2).transpose(1, 2)
        return self.fc(self.body(torch.cat([self.token.expand(len(y), -1, -1), y], 1))[1])


def test_tokens_behind_a_picture_that_is_not_used_are_looked_at_as_tokens() -> None:
    """At the end of the second block the class token alone counts (PiT)."""
    found = chosen(ByClassAlone(), picture(16, 24))
    assert found.meta["layer"].startswith("body.first")
    assert np.count_nonzero(found.values) > 1
