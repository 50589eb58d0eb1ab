"""CAM, FullGrad and Guided Grad-CAM: maps that look at more than one layer's gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import NotApplicable
from tests.contract.networks import Functional, Plain, Wrapped, images, network
from tests.methods.test_cam_gradients import Tokens

# ------------------------------------------------------------------------------------------------------------------ CAM


@pytest.mark.parametrize("kind", [Plain, Functional, Wrapped])
@pytest.mark.parametrize("layer", [None, "block"])
def test_cam_equals_its_formula(kind: type[Plain], layer: str | None) -> None:
    if kind is Functional and layer == "block":
        pytest.skip("its block is not run as a module")
    model, x = network(kind).double().eval(), images(2, (8, 10)).double()
    found = fs.CAM(layer=layer)(model, x, target=[[1, 4], [0, 2]])
    with torch.no_grad():
        a = model.features(x).numpy()
    weight, bias = model.fc.weight.detach().numpy(), model.fc.bias.detach().numpy()
    for n, classes in enumerate([[1, 4], [0, 2]]):
        for k, c in enumerate(classes):
            expected = sum(weight[c, i] * a[n, i] for i in range(len(weight[c])))
            np.testing.assert_allclose(found.values[n, k], expected, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(found.values[n, k].mean() + bias[c], found.scores[n, k], rtol=1e-9)
    assert np.abs(found.values).max() > 0
    assert found.meta["layer"] == ("block" if layer else "input of mean")


def test_grad_cam_is_cam_over_the_number_of_positions() -> None:
    model, x = network(), images(2)
    cam = fs.CAM(layer="block")(model, x, target=1).values
    grad = fs.GradCAM(layer="block")(model, x, target=1).values
    np.testing.assert_allclose(grad * cam[0].size, np.maximum(cam, 0), rtol=1e-4, atol=1e-6)


class Flattened(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4 * 10 * 14, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.stem(x).relu().flatten(1))


class Deep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.head = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.adaptive_avg_pool2d(self.stem(x), 1).flatten(1))


def test_cam_is_refused_where_it_does_not_hold() -> None:
    x = images(2)
    with pytest.raises(NotApplicable, match="does not average"):
        fs.CAM()(Flattened(), x, target=0)
    with pytest.raises(NotApplicable, match="Relu between stem and the score"):
        fs.CAM(layer="stem")(Flattened(), x, target=0)
    with pytest.raises(NotApplicable, match="Relu between input of adaptive_avg_pool2d and the score"):
        fs.CAM()(Deep(), x, target=0)
    with pytest.raises(NotApplicable, match="Relu"):
        fs.CAM()(Tokens(), images(1, (16, 24)), target=0)
    plain = Flattened()
    plain.forward = lambda x: plain.fc(plain.stem(x).flatten(1))  # type: ignore[method-assign]
    with pytest.raises(NotApplicable, match="differ from position to position"):
        fs.CAM(layer="stem")(plain, x, target=0)


def test_cam_of_tokens_and_of_networks_with_pooling_inside() -> None:
    class Squeezed(nn.Module):
        """A squeeze-and-excitation block pools too, but not last; the last pooling is over tokens."""

        def __init__(self) -> None:
            super().__init__()
            self.embed, self.gate, self.fc = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 8), nn.Linear(8, 3)

        def tokens(self, x: torch.Tensor) -> torch.Tensor:
            y = self.embed(x)
            y = y * self.gate(y.mean((2, 3))).sigmoid()[:, :, None, None]
            return y.relu().flatten(2).transpose(1, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.tokens(x).mean(1))

    torch.manual_seed(0)
    model, x = Squeezed().double().eval(), images(2, (16, 24)).double()
    found = fs.CAM()(model, x, target=1)
    with torch.no_grad():
        expected = (model.tokens(x) @ model.fc.weight[1]).view(2, 4, 6).numpy()
    np.testing.assert_allclose(found.values, expected, rtol=1e-9)


# ------------------------------------------------------------------------------------------------------------- FullGrad


class Biased(nn.Module):
    """Convolutions with biases, a batch norm, one module that runs twice, and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.twice, self.fc = nn.Conv2d(4, 4, 3, padding=1, stride=2), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.norm(self.first(x)))
        y = F.relu(self.twice(F.relu(self.twice(y))))
        return self.fc(y.mean((2, 3)))


def biased() -> Biased:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = Biased().double().eval()
        nn.init.uniform_(model.norm.running_mean, -0.3, 0.3)
        nn.init.uniform_(model.norm.running_var, 0.5, 1.5)
        nn.init.normal_(model.norm.bias)
    return model


@pytest.mark.parametrize("rescale", [None, "layer", "channel", "none"])
@pytest.mark.parametrize("together", [False, True])
def test_full_grad_equals_its_formula(rescale: str | None, together: bool) -> None:
    """Term by term, one image at a time; the terms with their signs add up to the score, the dense bias included."""
    model, x = biased(), images(2, (8, 12)).double()
    if together:
        model.norm = nn.SyncBatchNorm.convert_sync_batchnorm(model.norm)
    found = (fs.FullGrad() if rescale is None else fs.FullGrad(rescale=rescale))(model, x, target=2)
    for n, row in enumerate(x):
        leaf = row[None].clone().requires_grad_()
        z = [model.first(leaf)]
        z.append(model.norm(z[0]))
        z.append(model.twice(F.relu(z[1])))
        z.append(model.twice(F.relu(z[2])))
        score = model.fc(F.relu(z[3]).mean((2, 3)))[0, 2]
        gradients = torch.autograd.grad(score, [leaf, *z])
        sigma = (model.norm.running_var + model.norm.eps).sqrt()
        biases = [model.first.bias, model.norm.bias - model.norm.weight * model.norm.running_mean / sigma]
        biases += [model.twice.bias, model.twice.bias]
        terms = [leaf * gradients[0]] + [g * b[None, :, None, None] for g, b in zip(gradients[1:], biases, strict=True)]
        complete = sum(float(t.detach().sum()) for t in terms) + float(model.fc.bias[2].detach())
        assert complete == pytest.approx(float(score.detach()), rel=1e-9)
        total = torch.zeros(1, 1, 8, 12, dtype=torch.float64)
        for term in terms:
            made = term.detach().abs()
            for part in {"none": [], "channel": made[0]}.get(rescale or "layer", [made]):  # written to where they lie
                part.sub_(part.min().clone()).div_(part.max().clone()).nan_to_num_(0)  # one that is zero everywhere
            total += F.interpolate(made, (8, 12), mode="bilinear", align_corners=False).sum(1, keepdim=True)
        np.testing.assert_allclose(found.values[n], total[0, 0].numpy(), rtol=1e-9)
    assert found.meta["completeness_error"] < 1e-10
    assert found.values.shape == (2, 8, 12)


def test_full_grad_tells_what_its_biases_miss() -> None:
    class Curvy(Biased):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(F.silu(self.first(x) + 1).mean((2, 3)))

    torch.manual_seed(0)
    found = fs.FullGrad()(Curvy().eval(), images(2), target=0)
    assert found.meta["completeness_error"] > 0.01
    assert any("miss the score by" in n for n in found.notes)
    with pytest.raises(NotApplicable, match="has a bias"):
        fs.FullGrad()(
            nn.Sequential(nn.Conv2d(3, 2, 3, bias=False), nn.Flatten(), nn.Linear(280, 2)), images(1), target=0
        )


# ------------------------------------------------------------------------------------------------------ Guided Grad-CAM


def guided_gradient(model: Plain, row: torch.Tensor, target: int) -> torch.Tensor:
    """Guided backpropagation through the two blocks by hand."""
    z1 = model.stem[1](model.stem[0](row[None]))
    a1 = z1.clamp(min=0).detach().requires_grad_()
    z2 = model.block[1](model.block[0](a1))
    a2 = z2.clamp(min=0).detach().requires_grad_()
    (g2,) = torch.autograd.grad(model.fc(a2.mean((2, 3)))[0, target], a2)
    (g1,) = torch.autograd.grad(z2, a1, g2.clamp(min=0) * (z2 > 0))
    leaf = row[None].clone().requires_grad_()
    z = model.stem[1](model.stem[0](leaf))
    return torch.autograd.grad(z, leaf, g1.clamp(min=0) * (z > 0))[0][0]


@pytest.mark.parametrize("kind", [Plain, Functional, Wrapped])
def test_guided_grad_cam_equals_its_formula(kind: type[Plain]) -> None:
    """Also where the rectifiers are functions or in place, and where the backbone runs under no_grad."""
    model, x = network(kind).double().eval(), images(2, (8, 12)).double()
    found = fs.GuidedGradCAM(layer="block.1")(model, x, target=1)
    coarse = fs.GradCAM(layer="block.1")(network().double(), x, target=1).values
    for n, row in enumerate(x):
        fine = guided_gradient(model, row, 1)
        large = F.interpolate(torch.from_numpy(coarse[n])[None, None], (8, 12), mode="bilinear", align_corners=False)
        np.testing.assert_allclose(found.values[n], (fine * large[0]).numpy(), rtol=1e-8, atol=1e-13)
    assert np.abs(found.values).max() > 0
    assert found.axes == ("N", "C", "H", "W")
    assert found.meta["backwards"] == 4


def test_guided_grad_cam_keeps_the_plain_gradient_for_grad_cam() -> None:
    """At an early layer the guided rule would change Grad-CAM itself."""
    model, x = network(), images(1)
    found = fs.GuidedGradCAM(layer="stem")(model, x, target=1)
    coarse = fs.GradCAM(layer="stem")(model, x, target=1).values
    fine = guided_gradient(model.eval(), x[0], 1).numpy()
    np.testing.assert_allclose(found.values[0], fine * coarse, rtol=1e-4, atol=1e-8)


def test_guided_grad_cam_needs_rectifiers() -> None:
    smooth = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(NotApplicable, match=r"no ReLU \(silu\)"):
        fs.GuidedGradCAM()(smooth, images(1), target=0)
    mixed = nn.Sequential(nn.ReLU(), *smooth)
    told = fs.GuidedGradCAM(layer="1")(mixed, images(1), target=0)
    assert any("plain gradient holds for silu" in n for n in told.notes)
