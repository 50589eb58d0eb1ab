"""Randomization: blind methods fail, methods that read the weights pass, and the user's network stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import ModelError, NumericalError, OptionError
from fluoroscope.model.inputs import prepare_inputs
from fluoroscope.model.subject import as_subject
from fluoroscope.trust.private_copy import PrivateCopy, stages_of
from fluoroscope.trust.similarity import spearman
from tests.contract.networks import differences, images, network, snapshot
from tests.trust.networks import FromInput, Noise


def deep(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for a, b in ((3, 8), (8, 8), (8, 8), (8, 8)):
            layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


@pytest.mark.parametrize(
    "make",
    [lambda at: fs.Saliency(at=at), lambda at: fs.IntegratedGradients(at=at), lambda at: fs.GradCAM(layer=at)],
    ids=["saliency", "integrated gradients", "grad-cam"],
)
def test_layers_may_be_modules(make: Callable[[Any], fs.Method]) -> None:
    model, x = deep(), images(3, (12, 12))
    by_name, by_module = (fs.Randomization()(make(at), model, x, target=1) for at in ("3", model[3]))
    assert np.isfinite(by_name.table[0]).all()
    np.testing.assert_array_equal(by_module.table, by_name.table)
    assert by_module.verdicts == by_name.verdicts


def test_blind_methods_fail_and_the_others_pass() -> None:
    model, x = deep(), images(4, (16, 16))
    card = fs.Randomization()([FromInput(), fs.GradCAM(), Noise()], model, x)
    assert card.columns[0] == "rank correlation, top layers random"
    np.testing.assert_allclose(card.table[0, :4], 1)
    assert card.verdicts[0].startswith("fails: the map hardly depends on what the network learned")
    assert card.table[0, 4] == 0
    assert card.verdicts[1].startswith("passes")
    assert card.rows[3] == "Control: edge detector"
    assert card.verdicts[3] == "a control: it asks no network"
    assert "random maps pass too" in card.caption


def test_the_similarity_is_that_of_a_network_randomized_by_hand() -> None:
    model, x = deep(), images(2, (16, 16))
    check = fs.Randomization(shares=(1.0,), independent=False, seed=4)
    card = check("grad-cam", model, x, target=2)
    subject = as_subject(model)
    layer = fs.GradCAM()(model, x, target=2).meta["layer"]
    other = PrivateCopy(subject, "shuffle", 4)
    other.randomize([n for n, m in model.named_modules() if m._parameters])
    before = fs.GradCAM(layer=layer)(model, x, target=2).values
    after = fs.GradCAM(layer=layer)(other.subject, x, target=2).values
    expected = np.mean([spearman(a, b) for a, b in zip(before, after, strict=True)])
    assert card.table[0, 0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("draw", ["shuffle", "initial"])
def test_the_network_is_as_before(draw: str) -> None:
    model = network()
    before = snapshot(model)
    fs.Randomization(draw=draw, shares=(0.5, 1.0))(["saliency"], model, images(2))
    assert differences(before, snapshot(model)) == []


@pytest.mark.parametrize("draw", ["shuffle", "initial"])
def test_a_private_copy_loses_its_weights_and_gets_them_back(draw: str) -> None:
    model = deep()
    copy = PrivateCopy(as_subject(model), draw, 0)
    names = ["3", "14"]
    copy.randomize(names)
    for name, value in model.state_dict().items():
        other = copy.subject.module.state_dict()[name]
        assert torch.equal(value, other) == (name.rpartition(".")[0] not in names)
        if draw == "shuffle":
            assert torch.equal(value.flatten().sort().values, other.flatten().sort().values)
    copy.restore()
    for name, value in model.state_dict().items():
        assert torch.equal(value, copy.subject.module.state_dict()[name])


def test_layers_are_taken_from_the_output_on() -> None:
    model, x = deep(), images(1)
    subject = as_subject(model)
    groups = stages_of(subject, prepare_inputs(x, subject), (0.25, 0.5, 1.0))
    assert [n for group in groups for n in group] == ["14", "10", "9", "7", "6", "4", "3", "1", "0"]
    assert [len(g) for g in groups] == [2, 2, 5]


def test_weights_of_containers_are_found() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.token, self.last = nn.Linear(4, 4), nn.Parameter(torch.ones(4)), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(x) + self.token)

    subject = as_subject(Tokens())
    assert stages_of(subject, prepare_inputs(torch.ones(1, 4), subject), (1.0,)) == [["last", "token", "first"]]


class Functional(nn.Module):
    """Weights in a list and on the network itself, called by functions; the head is registered first."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.head = nn.Parameter(torch.randn(3, 8, generator=generator))
        shapes = ((8, 3, 3, 3), (8, 8, 3, 3))
        self.filters = nn.ParameterList([nn.Parameter(torch.randn(s, generator=generator) / 5) for s in shapes])
        self.norm = nn.BatchNorm2d(8)
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu_(self.norm(nn.functional.conv2d(x, self.filters[0], padding=1)))
        x = x + torch.relu_(nn.functional.conv2d(x, weight=self.filters[1], padding=1))
        return nn.functional.linear(x.mean((2, 3)), self.head)


def test_weights_without_a_module_stand_where_they_are_used() -> None:
    model, x = Functional(), images(2)
    subject = as_subject(model)
    before = snapshot(model)
    groups = stages_of(subject, prepare_inputs(x, subject), (0.2, 1.0))
    assert groups == [["head"], ["filters.1", "norm", "filters.0", "unused"]]
    copy = PrivateCopy(subject, "shuffle", 0)
    copy.randomize(groups[0])
    changed = [n for n, p in copy.subject.module.named_parameters() if not torch.equal(p, model.get_parameter(n))]
    assert changed == ["head"]
    assert differences(before, snapshot(model)) == []


def test_fused_attention_stands_as_one() -> None:
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 8, batch_first=True), nn.Flatten(), nn.Linear(32, 2))
    subject = as_subject(model)
    (names,) = stages_of(subject, prepare_inputs(torch.ones(1, 4, 8), subject), (1.0,))
    assert names[0] == "2"
    assert "0.self_attn" in names
    assert not any("in_proj" in name for name in names)


def test_noise_averages_and_batches_do_not_matter() -> None:
    model, x = deep(), images(3, (12, 12))
    noisy = fs.Randomization(samples=2, shares=(1.0,), independent=False)(fs.Saliency(), model, x)
    again = fs.Randomization(samples=2, shares=(1.0,), independent=False)(fs.Saliency(batch_size=1), model, x)
    plain = fs.Randomization(shares=(1.0,), independent=False)(fs.Saliency(), model, x)
    np.testing.assert_allclose(noisy.table, again.table, atol=1e-5)
    assert abs(noisy.table[0, 0] - plain.table[0, 0]) > 1e-4


def test_the_target_stays_the_one_of_the_network_as_it_is() -> None:
    seen = []

    class Spy(FromInput):
        def compute(self, study: Any, batch: Any) -> Any:
            seen.append(batch.target.wanted.tolist())
            return super().compute(study, batch)

    model, x = deep(), images(3)
    fs.Randomization(independent=False)(Spy(), model, x)
    with torch.no_grad():
        expected = model.eval()(x).argmax(1).tolist()
    assert len(seen) == 5
    assert all(s == expected for s in seen)


def test_a_method_that_fails_on_random_weights_is_told() -> None:
    class Fragile(FromInput):
        def compute(self, study: Any, batch: Any) -> Any:
            if study.module is not model:
                raise NumericalError("planted")
            return super().compute(study, batch)

    model = deep()
    card = fs.Randomization(shares=(1.0,), independent=False)([Fragile(), "grad-cam"], model, images(2))
    assert card.verdicts[0] == "can't be told: its maps are empty"
    assert any("planted" in note for note in card.notes)
    assert np.isfinite(card.table[1, 0])


def test_mistakes_are_told() -> None:
    with pytest.raises(OptionError, match="shares of the layers"):
        fs.Randomization(shares=(0.0, 1.0))("saliency", deep(), images(1))
    with pytest.raises(ModelError, match="no weights"):
        fs.Randomization()("saliency", nn.Sequential(nn.Flatten(), nn.ReLU()), torch.rand(2, 4))

    class Uncopyable(nn.Linear):
        def __deepcopy__(self, memo: Any) -> Any:
            raise RuntimeError("planted")

    with pytest.raises(ModelError, match="can't be copied"):
        fs.Randomization()("saliency", Uncopyable(4, 2), torch.rand(2, 4))


@pytest.mark.slow
def test_published_expectations_hold(assets: Path, load_asset: Callable[[str], Any]) -> None:
    """Adebayo et al.: guided backpropagation hardly notices random top layers; gradient and Grad-CAM do."""
    from PIL import Image

    model, preprocess, _ = load_asset("mobilenet_v2_imagenet")
    files = sorted((assets / "photos").rglob("*.jpg"))[:4]
    x = torch.cat([preprocess(Image.open(f).convert("RGB")) for f in files])
    check = fs.Randomization(shares=(0.25,), independent=False)
    card = check([fs.Saliency(), fs.GradCAM(), fs.GuidedBackprop()], model, x)
    assert card.verdicts[0].startswith("passes")
    assert card.verdicts[1].startswith("passes")
    assert card.verdicts[2].startswith("fails")
    assert card.table[2, 0] > 0.8 > 0.5 > card.table[0, 0]
