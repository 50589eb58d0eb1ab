"""DeepLIFT's RevealCancel rule: against plain loops over numbers, the paper's cases, completeness, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import NotApplicable
from tests.methods.lift_by_hand import (
    beside,
    by_hand,
    chain,
    curve,
    dense,
    gelu,
    leaky,
    matrix,
    pooled_at_once,
    pooling,
    relu,
    rescaled,
    scaled,
)
from tests.methods.small_networks import SPELLINGS, Bends, Words, made, normal

# ---------------------------------------------------------------------- networks


CURVES: list[tuple[nn.Module, Callable[[float], float]]] = [
    (nn.ReLU(), relu),
    (nn.Tanh(), math.tanh),
    (nn.GELU(), gelu),  # not monotone
    (nn.Softplus(), lambda v: math.log1p(math.exp(v))),
    (nn.LeakyReLU(0.2, inplace=True), leaky),
]


@pytest.mark.parametrize(("module", "function"), CURVES, ids=lambda v: str(v) if isinstance(v, nn.Module) else "")
def test_dense_networks_equal_the_rule_by_hand(module: nn.Module, function: Callable[[float], float]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), module, nn.Linear(8, 7), module, nn.Linear(7, 3)).double()
    for parameter in model.parameters():
        parameter.data *= 3
    x, r = normal(3, 5), normal(5, seed=2)
    x[0, 1] = r[1]  # one that does not differ
    found = fs.DeepLIFT(rule="reveal-cancel", baseline=r)(model, x, target=2)
    layers = [dense(m.weight.detach(), m.bias.detach()) for m in (model[0], model[2], model[4])]
    steps = chain(layers[0], curve(function), layers[1], curve(function), layers[2])
    expected = np.stack([by_hand(steps, row, r, 2) for row in x])
    np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-12)
    rise = (model(x) - model(r[None]))[:, 2].detach().numpy()
    np.testing.assert_allclose(found.values.sum(1), rise, rtol=1e-10, atol=1e-12)
    rescale = fs.DeepLIFT(baseline=r)(model, x, target=2).values
    assert np.abs(rescale - found.values).max() > 1e-2


class Residual(nn.Module):
    """Convolutions, batch norm with negative factors, a sum of branches, pooling, a dense head."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.b, self.fc, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(27, 5), nn.Linear(5, 2)
        with torch.no_grad():
            self.norm.weight.copy_(torch.tensor([1.5, -0.7, 0.4]))
            self.norm.bias.normal_()
            self.norm.running_mean.normal_()
            self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.leaky_relu(self.norm(self.a(x)), 0.2, inplace=True)  # no flat places, so that no two maxima tie
        x = F.max_pool2d(x - -torch.tanh(self.b(x)), 2)
        return self.head(F.leaky_relu_(self.fc(x.flatten(1)), 0.2))


@pytest.mark.parametrize("rule", ["reveal-cancel", "reveal-cancel-dense"])
def test_a_convolutional_network_equals_the_rule_by_hand(rule: str) -> None:
    model = made(Residual)
    x, r = normal(2, 2, 6, 6), normal(2, 6, 6, seed=5)
    found = fs.DeepLIFT(rule=rule, baseline=r)(model, x, target=1)
    norm, bend = model.norm, (curve if rule == "reveal-cancel" else rescaled)
    factor = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
    shift = norm.bias.detach() - norm.running_mean * factor
    windows = [[c * 36 + 6 * (2 * i + k) + 2 * j + m for k in (0, 1) for m in (0, 1)]
               for c in range(3) for i in range(3) for j in range(3)]  # fmt: skip
    steps = chain(
        matrix(model.a, (2, 6, 6)),
        scaled(factor.repeat_interleave(36).tolist(), shift.repeat_interleave(36).tolist()),
        bend(leaky),
        beside(chain(matrix(model.b, (3, 6, 6)), bend(math.tanh))),
        pooling(windows) if rule == "reveal-cancel" else pooled_at_once(windows),
        matrix(model.fc, (27,)),
        curve(leaky),
        matrix(model.head, (5,)),
    )
    expected = np.stack([by_hand(steps, row, r, 1) for row in x])
    np.testing.assert_allclose(found.values, expected, rtol=1e-8, atol=1e-12)
    rise = (model(x) - model(r[None]))[:, 1].detach().numpy()
    np.testing.assert_allclose(found.values.reshape(2, -1).sum(1), rise, rtol=1e-10, atol=1e-12)
    assert np.abs(fs.DeepLIFT(baseline=r)(model, x, target=1).values - found.values).max() > 1e-3


# ---------------------------------------------------------------------- what the paper says, and mathematics


class Least(nn.Module):
    """min(a, b) = a - relu(a - b), spelled in three ways."""

    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.spelling = spelling
        self.difference, self.last = nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            self.difference.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, -1.0]]))
            self.last.weight.copy_(torch.tensor([[1.0, -1.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.spelling == "dense":
            return self.last(torch.relu(self.difference(x)))
        a, b = x.split(1, dim=1)
        if self.spelling == "rsub":
            return torch.rsub(F.relu(a.sub(b)), a)
        return a - F.relu(a - b) + 0 * self.last(x)


@pytest.mark.parametrize("spelling", ["dense", "sub", "rsub"])
def test_a_minimum_is_shared_by_both(spelling: str) -> None:
    """Section 3.5.3: the rescale rule gives all of it to one, RevealCancel half to each."""
    x = torch.tensor([[10.0, 6.0], [6.0, 10.0], [3.0, 3.0]], dtype=torch.float64)
    model = made(Least, spelling)
    found = fs.DeepLIFT(rule="reveal-cancel")(model, x, target=0).values
    np.testing.assert_allclose(found, [[3, 3], [3, 3], [1.5, 1.5]], atol=1e-12)
    rescale = fs.DeepLIFT()(model, x, target=0).values
    np.testing.assert_allclose(rescale[:2], [[0, 6], [6, 0]], atol=1e-12)


def test_switches() -> None:
    """AND, OR and the difference that a shut rectifier hides, each with its Shapley values."""
    hidden, outer = nn.Linear(2, 3), nn.Linear(3, 3)
    model = nn.Sequential(hidden, nn.ReLU(), outer).double()
    with torch.no_grad():
        hidden.weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]]))
        hidden.bias.copy_(torch.tensor([-1.0, 1.0, 0.0]))
        outer.weight.copy_(torch.diag(torch.tensor([1.0, -1.0, 1.0])))
        outer.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    both = torch.ones(1, 2, dtype=torch.float64)
    found = fs.DeepLIFT(rule="reveal-cancel")(model, both, target=[[0, 1, 2]]).values[0]
    np.testing.assert_allclose(found, [[0.5, 0.5], [0.5, 0.5], [0.5, -0.5]], atol=1e-12)
    assert not fs.DeepLIFT()(model, both, target=2).values.any()  # the rescale rule sees nothing


@pytest.mark.parametrize("rule", ["reveal-cancel", "reveal-cancel-dense"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_gives_the_same(spelling: str, rule: str) -> None:
    x, r = normal(2, 2, 8, 8), normal(2, 8, 8, seed=5)
    method = fs.DeepLIFT(rule=rule, baseline=r)
    found = method(made(Bends, spelling), x, target=[[0, 1]] * 2)
    np.testing.assert_allclose(found.values, method(made(Bends), x, target=[[0, 1]] * 2).values, rtol=1e-9)
    model = made(Bends)
    rise = (model(x) - model(r[None]))[:, :2].detach().numpy()
    np.testing.assert_allclose(found.values.reshape(2, 2, -1).sum(2), rise, rtol=1e-10, atol=1e-12)
    assert found.meta["completeness_error"] < 1e-9


def test_after_convolutions_alone_the_rescale_rule_may_hold() -> None:
    """Between convolutions the dense variant is the rescale rule; in a dense network it is RevealCancel."""
    torch.manual_seed(2)
    x = normal(2, 1, 9)
    layers = [
        nn.Conv1d(1, 4, 3),
        nn.BatchNorm1d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool1d(2),
        nn.Flatten(),
        nn.Linear(12, 2),
    ]
    trunk = nn.Sequential(*layers).double().eval()
    variants = [
        fs.DeepLIFT(rule=r, baseline=0.2)(trunk, x, target=0).values
        for r in ("rescale", "reveal-cancel-dense", "reveal-cancel")
    ]
    np.testing.assert_allclose(variants[0], variants[1], rtol=1e-9, atol=1e-13)
    assert np.abs(variants[2] - variants[0]).max() > 1e-3
    head = nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    flat = [
        fs.DeepLIFT(rule=r, baseline=0.2)(head, x[:, 0], target=0).values
        for r in ("reveal-cancel", "reveal-cancel-dense")
    ]
    np.testing.assert_array_equal(*flat)


def test_pooling_and_convolutions_of_one_to_three_dimensions() -> None:
    for rank in (1, 2, 3):
        conv, turned = getattr(nn, f"Conv{rank}d"), getattr(nn, f"ConvTranspose{rank}d")
        pool, end = getattr(nn, f"MaxPool{rank}d")(3, stride=2, padding=1), getattr(nn, f"AdaptiveMaxPool{rank}d")(2)
        torch.manual_seed(1)
        model = nn.Sequential(
            conv(2, 4, 3, groups=2, padding="same", padding_mode="circular"), nn.SiLU(inplace=True), pool,
            turned(4, 3, 2, stride=2, output_padding=1), end, nn.ELU(), nn.Flatten(), nn.Linear(3 * 2**rank, 2),
        ).double()  # fmt: skip
        x = normal(2, 2, *[9] * rank)
        for rule in ("reveal-cancel", "reveal-cancel-dense"):
            found = fs.DeepLIFT(rule=rule, baseline=0.1)(model, x, target=1)
            rise = (model(x) - model(torch.full_like(x, 0.1)))[:, 1].detach().numpy()
            np.testing.assert_allclose(found.values.reshape(2, -1).sum(1), rise, rtol=1e-10)


class Glue(nn.Module):
    """What lies between layers: signs, constants, slices, products with matrices, averages."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.mix = nn.Linear(6, 6), nn.Parameter(torch.randn(2, 3))
        self.factors = nn.Parameter(torch.randn(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.tanh(self.fc(x)) * self.factors
        y = (1 - y) / -1.5
        y += torch.sigmoid(x).neg()
        z = torch.cat([y[:, :3], torch.zeros_like(y[:, 3:]).add_(y[:, 3:].relu())], dim=1).view(-1, 3, 2)
        z = torch.matmul(self.mix, F.interpolate(z, scale_factor=2.0, mode="linear")[..., :3].exp())
        z = z.sub(z.mean(2, keepdim=True), alpha=0.5)
        return F.avg_pool1d(z.permute(0, 2, 1), 2)[..., 0] @ self.mix.T


def test_glue_between_layers() -> None:
    model = made(Glue)
    x, r = normal(3, 6), normal(6, seed=4)
    found = fs.DeepLIFT(rule="reveal-cancel", baseline=r)(model, x, target=1)
    rise = (model(x) - model(r[None]))[:, 1].detach().numpy()
    np.testing.assert_allclose(found.values.sum(1), rise, rtol=1e-10)


@pytest.mark.parametrize("factor", [2.0, -2.0])
def test_a_negative_factor_exchanges_the_parts(factor: float) -> None:
    """relu(-2 u) with u = a - b: the same as a dense layer with the weights -2 and 2."""

    class Spelled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(factor * self.fc(x))

    model = made(Spelled)
    with torch.no_grad():
        model.fc.weight.copy_(torch.tensor([[1.0, -1.0]]))
    x = torch.tensor([[5.0, 2.0], [1.0, 4.0]], dtype=torch.float64)
    whole = nn.Sequential(nn.Linear(2, 1, bias=False), nn.ReLU()).double()
    with torch.no_grad():
        whole[0].weight.copy_(factor * model.fc.weight)
    expected = fs.DeepLIFT(rule="reveal-cancel")(whole, x, target=0).values
    np.testing.assert_allclose(fs.DeepLIFT(rule="reveal-cancel")(model, x, target=0).values, expected, atol=1e-12)
    assert np.abs(expected).min() > 0.4


def test_where_nothing_differs_nothing_is_handed_out() -> None:
    x = normal(1, 2, 8, 8)
    found = fs.DeepLIFT(rule="reveal-cancel", baseline=x[0])(made(Bends), x, target=1)
    assert not found.values.any()
    assert found.meta["completeness_error"] == 0


def test_parts_that_cancel_reach_the_layer_before() -> None:
    """tanh(a - b) is back at its reference where a = b; the halves of section 3.4 keep its parts in sight."""
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Tanh(), nn.Linear(1, 1, bias=False), nn.Softplus()).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -1.0]]))
        model[2].weight.fill_(1.0)
    x = torch.tensor([[2.0, 2.0]], dtype=torch.float64)
    found = fs.DeepLIFT(rule="reveal-cancel")(model, x, target=0).values[0]
    half = math.tanh(2) / 2  # the slope of softplus at zero is a half
    np.testing.assert_allclose(found, [half, -half], rtol=1e-12)


def test_texts_and_probabilities() -> None:
    model, ids = made(Words), torch.tensor([[1, 5, 2, 5], [0, 3, 3, 9]])
    method = fs.DeepLIFT(rule="reveal-cancel", baseline=torch.zeros(4, dtype=torch.long))
    rise = (model(ids) - model(torch.zeros_like(ids)))[:, 1].detach().numpy()
    np.testing.assert_allclose(method(model, ids, target=1).values.sum(1), rise, rtol=1e-9)
    body, x = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)).double(), normal(3, 5)
    plain = fs.DeepLIFT(rule="reveal-cancel")(body, x, target=1).values
    for last in (nn.Softmax(1), nn.Sigmoid()):
        found = fs.DeepLIFT(rule="reveal-cancel")(nn.Sequential(body, last), x, target=1).values
        np.testing.assert_allclose(found, plain, rtol=1e-9)


def test_single_precision_stays_close() -> None:
    model, x = made(Residual), normal(2, 2, 6, 6)
    exact = fs.DeepLIFT(rule="reveal-cancel")(model, x, target=1).values
    found = fs.DeepLIFT(rule="reveal-cancel")(model.float(), x.float(), target=1)
    np.testing.assert_allclose(found.values, exact, atol=2e-5 * np.abs(exact).max())
    assert found.meta["completeness_error"] < 1e-4


# ---------------------------------------------------------------------- refusals


class Called(nn.Module):
    """A dense layer, and a function of its output."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.fc, self.function = nn.Linear(4, 4), function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self.fc(x))


REFUSED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "layer_norm": lambda y: F.layer_norm(y, (4,)),
    "mul": lambda y: y * y.sigmoid(),
    "einsum": lambda y: torch.einsum("nd,de->ne", y, torch.eye(4, dtype=y.dtype)),
    "bicubic|interpolate": lambda y: F.interpolate(y.view(-1, 1, 2, 2), 4, mode="bicubic").flatten(1),
    "statistics of the batch": lambda y: F.batch_norm(y, None, None, training=True),
    "weights that depend": lambda y: F.linear(torch.eye(4, dtype=y.dtype), y).T,
    "first axis": lambda y: y.T.relu().T,
    "lerp": lambda y: torch.lerp(y, torch.ones_like(y), 0.5),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_rule_is_not_known_for_is_refused(name: str) -> None:
    model = made(Called, REFUSED[name])
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(NotApplicable, match=name) as told:
        fs.DeepLIFT(rule="reveal-cancel")(model, normal(2, 4), target=0)
    assert "IntegratedGradients" in str(told.value)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not model.training


@pytest.mark.parametrize("rule", ["reveal-cancel", "reveal-cancel-dense"])
def test_a_batch_equals_its_examples_and_the_network_is_as_before(rule: str) -> None:
    model, x = made(Residual).train(), normal(3, 2, 6, 6)
    model.a.weight.grad = torch.ones_like(model.a.weight)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    method = fs.DeepLIFT(rule=rule, baseline="blur")
    found = method(model, x, target=[1, 0, 1]).values
    singles = [method(model, x[i : i + 1], target=k).values[0] for i, k in enumerate((1, 0, 1))]
    np.testing.assert_allclose(found, np.stack(singles), rtol=1e-9, atol=1e-13)
    assert model.training
    assert torch.equal(model.a.weight.grad, torch.ones_like(model.a.weight))
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
