"""Class activation maps from activations and gradients, each against its formula written out in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import LayerError, NotApplicable, NumericalError, TargetError
from tests.contract.networks import images, network

Array = np.ndarray


class Curved(nn.Module):
    """A tail that is curved (tanh) and piecewise linear (ReLU, max pooling) after ``stem``, which goes below 0."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.GELU())
        self.body, self.fc = nn.Conv2d(5, 7, 3, stride=2), nn.Linear(7, 4)

    def tail(self, a: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.tanh(F.relu(self.body(a)).mean((2, 3)) * 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tail(self.stem(x))


def curved() -> Curved:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = Curved().double().eval()
        nn.init.normal_(made.stem[0].weight, std=0.5)
        nn.init.normal_(made.fc.weight, std=0.7)
        return made


def parts(model: Curved, row: torch.Tensor, target: int) -> tuple[Array, Array]:
    """Activations and gradients (C, H, W) of one example, by autograd on the tail alone."""
    with torch.no_grad():
        activation = model.stem(row[None])
    leaf = activation.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model.tail(leaf)[0, target], leaf)
    return activation[0].numpy(), gradient[0].numpy()


def relu(x: float) -> float:
    return max(x, 0.0)


def grad_cam_pp(a: Array, g: Array) -> Array:
    total = np.zeros(a.shape[1:])
    for k in range(len(a)):
        weight = 0.0
        for x, y in np.ndindex(a.shape[1:]):
            d = g[k, x, y]
            if d != 0:
                weight += d**2 / (2 * d**2 + a[k].sum() * d**3) * relu(d)
        total += weight * a[k]
    return np.maximum(total, 0)


def xgrad_cam(a: Array, g: Array) -> Array:
    total = np.zeros(a.shape[1:])
    for k in range(len(a)):
        total += sum(a[k, x, y] / a[k].sum() * g[k, x, y] for x, y in np.ndindex(a.shape[1:])) * a[k]
    return np.maximum(total, 0)


def by_position(
    term: Callable[[float, float], float], last: Callable[[float], float]
) -> Callable[[Array, Array], Array]:
    def total(a: Array, g: Array) -> Array:
        made = np.zeros(a.shape[1:])
        for x, y in np.ndindex(a.shape[1:]):
            made[x, y] = last(sum(term(a[k, x, y], g[k, x, y]) for k in range(len(a))))
        return made

    return total


def eigen(a: Array, guide: Array, center: bool) -> Array:
    rows = a.reshape(len(a), -1).T
    rows = rows - rows.mean(0) if center else rows
    made = rows @ np.linalg.svd(rows, full_matrices=False)[2][0]
    return (made if made @ guide.ravel() >= 0 else -made).reshape(a.shape[1:])


FORMULAS: dict[str, tuple[fs.Attribution, Callable[[Array, Array], Array]]] = {
    "GradCAMPlusPlus": (fs.GradCAMPlusPlus(layer="stem"), grad_cam_pp),
    "XGradCAM": (fs.XGradCAM(layer="stem"), xgrad_cam),
    "LayerCAM": (fs.LayerCAM(layer="stem"), by_position(lambda a, g: relu(g) * a, relu)),
    "HiResCAM": (fs.HiResCAM(layer="stem"), by_position(lambda a, g: g * a, float)),
    "ElementWiseCAM": (fs.ElementWiseCAM(layer="stem"), by_position(lambda a, g: relu(g * a), float)),
    "EigenCAM": (fs.EigenCAM(layer="stem"), lambda a, g: eigen(a, np.linalg.norm(a, axis=0), False)),
    "EigenCAM centred": (
        fs.EigenCAM(layer="stem", center=True),
        lambda a, g: eigen(a, np.linalg.norm(a, axis=0), True),
    ),
    "EigenGradCAM": (fs.EigenGradCAM(layer="stem"), lambda a, g: eigen(a * g, (a * g).sum(0), False)),
    "EigenGradCAM centred": (
        fs.EigenGradCAM(layer="stem", center=True),
        lambda a, g: eigen(a * g, (a * g).sum(0), True),
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("target", [0, 2])
def test_equals_its_formula(name: str, target: int) -> None:
    method, formula = FORMULAS[name]
    model, x = curved(), images(2, (7, 9)).double()
    found = method(model, x, target=target)
    expected = np.stack([formula(*parts(model, row, target)) for row in x])
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(found.values, expected, rtol=1e-8, atol=1e-12)
    assert found.axes == ("N", "H", "W")
    assert found.unit
    assert found.signed or found.values.min() >= 0


EVERY = [fs.GradCAM, fs.GradCAMPlusPlus, fs.XGradCAM, fs.LayerCAM, fs.HiResCAM, fs.ElementWiseCAM, fs.EigenCAM]
EVERY += [fs.EigenGradCAM, fs.RandomCAM, fs.FinerCAM, fs.ShapleyCAM, fs.AblationCAM, fs.ScoreCAM]
EVERY += [fs.SmoothGradCAMPlusPlus, fs.SSCAM, fs.ISCAM]
CHEAP = {fs.SmoothGradCAMPlusPlus: {"samples": 2}, fs.SSCAM: {"samples": 2}, fs.ISCAM: {"steps": 2}}


def cheap(cls: type, **options: object) -> object:
    return cls(**CHEAP.get(cls, {}), **options)


@pytest.mark.parametrize("cls", EVERY)
def test_many_targets_equal_one_by_one(cls: type) -> None:
    model, x = network(), images(2)
    top = cheap(cls)(model, x, target="top3")
    assert top.axes == ("N", "K", "H", "W")
    for k in range(3):
        one = cheap(cls)(model, x, target=top.targets[:, k])
        np.testing.assert_allclose(top.values[:, k], one.values, rtol=1e-4, atol=1e-6)
    assert np.abs(top.values).max() > 0


@pytest.mark.parametrize("cls", EVERY)
def test_passes_are_counted(cls: type) -> None:
    """Examples times what the docstring says; one more forward where the layer is looked at for the first time."""
    model, x = network(), images(3)
    method = cheap(cls, layer="block")
    method(model, x, target=1)
    meta = method(model, x, target=[[0, 1]] * 3).meta
    channels = 8
    forwards = {
        fs.SmoothGradCAMPlusPlus: 1 + 2,
        fs.ScoreCAM: 1 + channels,
        fs.SSCAM: 1 + 2 * channels,
        fs.ISCAM: 1 + 2 * channels,
    }
    backwards = {
        fs.EigenCAM: 0,
        fs.RandomCAM: 0,
        fs.ScoreCAM: 0,
        fs.SSCAM: 0,
        fs.ISCAM: 0,
        fs.ShapleyCAM: 4,
        fs.SmoothGradCAMPlusPlus: 4,
    }
    assert meta["forwards"] <= 3 * forwards.get(cls, 1)
    assert meta["forwards"] >= 3 * forwards.get(cls, 1) - 3 * channels * (
        cls in (fs.ScoreCAM, fs.ISCAM)
    )  # dead channels
    assert meta["backwards"] == 3 * backwards.get(cls, 2)


class Tokens(nn.Module):
    """Patches with a class token first, mixed by one attention layer, pooled over the patches."""

    def __init__(self, fused: bool = True) -> None:
        super().__init__()
        self.embed, self.fused = nn.Conv2d(3, 8, 4, stride=4), fused
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.norm, self.mix, self.fc = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.embed(x).flatten(2).transpose(1, 2)
        y = self.norm(torch.cat([self.token.expand(len(y), -1, -1), y], 1))
        q, k, v = self.mix(y).chunk(3, -1)
        y = y + F.scaled_dot_product_attention(q, k, v)
        return self.fc(y[:, 1:].mean(1).relu())


class Last(nn.Module):
    """Channels last, as Keras and Swin have them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.fc = nn.Conv2d(3, 8, 4, stride=4), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(F.relu(self.norm(self.embed(x).permute(0, 2, 3, 1))).mean((1, 2)).tanh())


@pytest.mark.parametrize("cls", EVERY)
def test_tokens_and_channels_last_are_put_on_their_grid(cls: type) -> None:
    torch.manual_seed(0)
    x = images(2, (16, 24))
    for model in (Tokens().eval(), Last().eval()):
        found = cheap(cls, layer="norm")(model, x, target=0)
        assert found.axes == ("N", "H", "W")
        assert found.values.shape == (2, 4, 6)
        assert np.isfinite(found.values).all()
    mirrored = cheap(cls, layer="norm")(model, x.flip(3), target=0)  # patches don't overlap: the picture's mirror image
    if cls not in (fs.SmoothGradCAMPlusPlus, fs.SSCAM):  # their noise is not mirrored
        embed = nn.Conv2d(3, 8, 4, stride=4)
        embed.load_state_dict({"weight": model.embed.weight.flip(3), "bias": model.embed.bias})
        model.embed = embed
        expected = cheap(cls, layer="norm")(model, x, target=0).values[..., ::-1]
        np.testing.assert_allclose(mirrored.values, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("cls", EVERY)
def test_series_and_volumes(cls: type) -> None:
    torch.manual_seed(0)
    series = nn.Sequential(
        nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    found = cheap(cls)(series, torch.rand(2, 2, 12), target=0)
    assert found.axes == ("N", "T")
    assert found.values.shape == (2, 12)
    volume = nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3))
    assert cheap(cls)(volume, torch.rand(1, 1, 5, 6, 7), target=0).axes == ("N", "Z", "H", "W")


@pytest.mark.parametrize("cls", EVERY)
def test_mistakes_are_told(cls: type) -> None:
    model, x = network(), images(1)
    with pytest.raises(LayerError, match=r"nearest:.*'block'"):
        cheap(cls, layer="blok")(model, x)
    with pytest.raises(LayerError, match="no positions"):
        cheap(cls, layer="fc")(model, x)
    with pytest.raises(TargetError, match="0 to 4"):
        cheap(cls)(model, x, target=5)
    with torch.no_grad():
        model.block[0].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(NumericalError, match=r"layer 'block.0'"):
        cheap(cls)(model, x)


@pytest.mark.parametrize("cls", EVERY)
def test_half_precision(cls: type) -> None:
    x = images(2)
    full = cheap(cls, layer="block")(network(), x, target=1).values
    half = cheap(cls, layer="block")(network().to(torch.bfloat16), x, target=1)
    assert half.values.dtype == np.float32
    np.testing.assert_allclose(half.values, full, atol=0.12 * np.abs(full).max())


def test_all_zero_activations_give_zero_maps_and_a_note() -> None:
    model, x = network().eval(), images(2)
    with torch.no_grad():
        model.block[1].weight.zero_()
        model.block[1].bias.fill_(-1)
    for cls in EVERY:
        found = cheap(cls, layer="block")(model, x, target=0)
        assert not found.values.any(), cls
        assert any("zero everywhere for example 0, 1" in n for n in found.notes), cls


# ---------------------------------------------------------------------- what mathematics guarantees of single methods


def test_hires_cam_sums_to_the_score_less_the_bias() -> None:
    model, x = network().double().eval(), images(3).double()
    found = fs.HiResCAM(layer="block")(model, x, target=2)
    np.testing.assert_allclose(found.values.sum((1, 2)), found.scores - float(model.fc.bias[2].detach()), rtol=1e-10)


def test_xgrad_cam_before_its_relu_sums_like_gradient_times_activation() -> None:
    model, x = network().double().eval(), images(2).double()  # positive gradients: nothing is cut off
    with torch.no_grad():
        model.fc.weight.abs_()
    a, b = fs.XGradCAM(layer="block")(model, x, target=1), fs.HiResCAM(layer="block")(model, x, target=1)
    np.testing.assert_allclose(a.values.sum((1, 2)), b.values.sum((1, 2)), rtol=1e-10)


def test_element_wise_is_never_below_hires() -> None:
    model, x = curved(), images(2).double()
    a = fs.ElementWiseCAM(layer="stem")(model, x, target=0).values
    b = fs.HiResCAM(layer="stem")(model, x, target=0).values
    assert (a >= b - 1e-15).all()
    assert (a > b + 1e-6).any()


def test_grad_cam_plus_plus_survives_tiny_gradients() -> None:
    """Powers of a gradient of 1e-20 vanish in float32; the closed form does without them."""
    model, x = network().eval(), images(2)
    expected = fs.GradCAMPlusPlus(layer="block")(
        network().double().eval(), x.double(), target=lambda y: y[:, 1] * 1e-20
    )
    found = fs.GradCAMPlusPlus(layer="block")(model, x, target=lambda y: y[:, 1] * 1e-20)
    np.testing.assert_allclose(found.values * 1e20, expected.values * 1e20, rtol=1e-3)
    assert found.values.any()


def test_smooth_without_noise_is_grad_cam_plus_plus() -> None:
    model, x = curved(), images(2).double()
    a = fs.SmoothGradCAMPlusPlus(layer="stem", noise=0, samples=3)(model, x, target=0).values
    b = fs.GradCAMPlusPlus(layer="stem")(model, x, target=0).values
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-14)
    assert not np.allclose(fs.SmoothGradCAMPlusPlus(layer="stem", samples=3)(model, x, target=0).values, b, rtol=1e-3)


def test_smooth_equals_its_formula() -> None:
    """The noise is taken from the method; the averages and the map are made here, number by number."""
    model, x = curved(), images(1, (6, 7)).double()
    method = fs.SmoothGradCAMPlusPlus(layer="stem", samples=3, seed=5)
    seen: list[torch.Tensor] = []
    handle = model.register_forward_pre_hook(lambda m, args: seen.append(args[0].clone()))
    found = method(model, x, target=1)
    handle.remove()
    noisy = [s for s in seen if s.shape == x.shape and not torch.equal(s, x)]
    assert len(noisy) == 3
    spread = torch.stack([n - x for n in noisy]).std() / (x.max() - x.min())
    assert 0.1 < float(spread) < 0.2
    a = parts(model, x[0], 1)[0]
    g = np.stack([parts(model, n[0], 1)[1] for n in noisy])
    first, second, third = g.mean(0), (g**2).mean(0), (g**3).mean(0)
    total = np.zeros(a.shape[1:])
    for k in range(len(a)):
        below = 2 * second[k] + a[k].sum() * third[k]
        alpha = np.where(below == 0, 0, second[k] / np.where(below == 0, 1, below))
        total += (alpha * np.maximum(first[k], 0)).sum() * a[k]
    np.testing.assert_allclose(found.values[0], np.maximum(total, 0), rtol=1e-9, atol=1e-13)
    assert found.values.max() > 0


def test_random_weights_are_uniform_and_belong_to_the_seed() -> None:
    model, x = network(), images(4)
    found = fs.RandomCAM(seed=1)(model, x, target=0)
    np.testing.assert_array_equal(found.values, fs.RandomCAM(seed=1)(model, x, target=3).values)
    assert not np.allclose(found.values, fs.RandomCAM(seed=2)(model, x, target=0).values)
    same = fs.RandomCAM()(model, x[:1].expand(2, -1, -1, -1), target=0).values
    assert not np.allclose(same[0], same[1])  # each example has weights of its own


def test_finer_cam_equals_its_formula() -> None:
    model, x = curved(), images(2, (7, 9)).double()
    found = fs.FinerCAM(layer="stem", references=2, strength=0.7)(model, x, target=1)
    for n, row in enumerate(x):
        with torch.no_grad():
            scores = model(row[None])[0]
        order = sorted((k for k in range(4) if k != 1), key=lambda k: abs(float(scores[k] - scores[1])))
        a, own = parts(model, row, 1)
        others = np.mean([parts(model, row, k)[1] for k in order[:2]], axis=0)
        weights = (own - 0.7 * others).mean((1, 2))
        np.testing.assert_allclose(
            found.values[n], np.maximum(np.einsum("k,kxy->xy", weights, a), 0), rtol=1e-8, atol=1e-12
        )
    assert found.values.max() > 0
    plain = fs.FinerCAM(layer="stem", strength=0)(model, x, target=1).values
    np.testing.assert_allclose(plain, fs.GradCAM(layer="stem")(model, x, target=1).values, rtol=1e-9)
    with pytest.raises(NotApplicable, match="class as target"):
        fs.FinerCAM()(model, x, target=lambda y: y[:, 0])


@pytest.mark.parametrize("references", [1, 2, 3])
def test_finer_cam_weighs_by_probability_where_asked(references: int) -> None:
    """Probabilities of all classes, over those of the references alone, differentiated as they stand."""
    model, x = curved(), images(2, (7, 9)).double()
    given = {"layer": "stem", "references": references, "strength": 0.7}
    found = fs.FinerCAM(weighting="probability", **given)(model, x, target=1)
    for n, row in enumerate(x):
        leaf = model.stem(row[None]).detach().requires_grad_()
        scores = model.tail(leaf)[0]
        order = sorted((k for k in range(4) if k != 1), key=lambda k: abs(float((scores[k] - scores[1]).detach())))[
            :references
        ]
        p = torch.exp(scores) / torch.exp(scores).sum()
        score = sum(p[k] * (scores[1] - 0.7 * scores[k]) for k in order) / sum(p[k] for k in order)
        weights = torch.autograd.grad(score, leaf)[0].mean((2, 3))
        expected = torch.einsum("nk,nkxy->xy", weights, leaf.detach()).relu().numpy()
        np.testing.assert_allclose(found.values[n], expected, rtol=1e-8, atol=1e-12)
    assert found.values.max() > 0
    alike = np.allclose(found.values, fs.FinerCAM(**given)(model, x, target=1).values, rtol=1e-3)
    assert alike == (references == 1)


def test_shapley_cam_equals_its_formula() -> None:
    """Gradient and Hessian of the utility by finite differences of the gradient."""
    model, x = curved(), images(1, (6, 7)).double()
    for utility in ("rest", "score"):
        found = fs.ShapleyCAM(layer="stem", utility=utility)(model, x, target=1)
        with torch.no_grad():
            a = model.stem(x)

        def gradient(at: torch.Tensor, utility: str = utility) -> torch.Tensor:
            leaf = at.clone().requires_grad_()
            scores = model.tail(leaf)
            u = scores[0, 1] + (math.log(1) if utility == "score" else F.log_softmax(scores, 1)[0, 1])
            return torch.autograd.grad(u, leaf)[0]

        step = 1e-5
        curvature = (gradient(a * (1 + step)) - gradient(a * (1 - step))) / (2 * step)
        weights = (gradient(a) - curvature / 2).mean((2, 3))
        expected = torch.einsum("nk,nkxy->nxy", weights, a).relu().numpy()
        np.testing.assert_allclose(found.values, expected, rtol=1e-5, atol=1e-9)
        assert expected.max() > 0
        first_order = torch.einsum("nk,nkxy->nxy", gradient(a).mean((2, 3)), a).relu().numpy()
        assert not np.allclose(expected, first_order, rtol=1e-2)


def test_shapley_cam_of_a_piecewise_linear_score_is_grad_cam() -> None:
    model, x = network(), images(2)
    a = fs.ShapleyCAM(layer="stem", utility="score")(model, x, target=1).values
    np.testing.assert_allclose(a, fs.GradCAM(layer="stem")(model, x, target=1).values, rtol=1e-5, atol=1e-8)
    told = fs.ShapleyCAM(layer="stem")(model, x, target=lambda y: y[:, 0])
    assert any("utility is its score" in n for n in told.notes)


def test_eigen_cam_knows_no_target_and_needs_no_gradient() -> None:
    class Hard(Curved):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.one_hot(super().forward(x).argmax(1), 4).to(x)

    torch.manual_seed(0)
    model, x = Hard().eval(), images(2)
    a, b = fs.EigenCAM(layer="stem")(model, x, target=0), fs.EigenCAM(layer="stem")(model, x, target=1)
    np.testing.assert_array_equal(a.values, b.values)
    with pytest.raises(NumericalError, match="no gradient"):
        fs.EigenGradCAM(layer="stem")(model, x, target=0)
