"""Activations against a plain forward; the network stops where it can."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import LayerError, OptionError
from tests.contract.networks import Functional, images, network


def test_equals_a_plain_forward() -> None:
    model, x = network().eval(), images(3)
    found = fs.Activations(layer=["block.1", "stem", "fc"])(model, x)
    assert found.layers == ("stem", "block.1", "fc")  # in the order in which they ran
    with torch.no_grad():
        stem = model.stem(x)
        np.testing.assert_array_equal(found.maps["stem"], stem.numpy())
        before_relu = model.block[1](model.block[0](stem))
        np.testing.assert_array_equal(found.maps["block.1"], before_relu.numpy())  # not what the in-place ReLU left
        np.testing.assert_allclose(found.maps["fc"], model(x).numpy(), rtol=1e-5)
    assert (found.maps["block.1"] < 0).any()
    assert found.axes == {"stem": ("N", "C", "H", "W"), "block.1": ("N", "C", "H", "W"), "fc": ("N", "D")}


def test_layers_are_named_or_given_as_modules() -> None:
    model, x = network().eval(), images(2)
    named = fs.Activations(layer=["block.1", "stem"])(model, x)
    for layers in ([model.block[1], model.stem], (model.block[1], "stem"), ["block.1", model.stem]):
        found = fs.Activations(layer=layers)(model, x)
        assert found.layers == named.layers
        for name in found.layers:
            np.testing.assert_array_equal(found.maps[name], named.maps[name])
    one = fs.Activations(layer=model.stem)(model, x)
    np.testing.assert_array_equal(one.values, named.maps["stem"])
    assert one.meta["layer"] == ["stem"]


@pytest.mark.parametrize("method", [fs.Activations, fs.GradCAM, fs.AblationCAM, fs.GuidedGradCAM])
def test_modules_that_are_no_layers_of_the_network(method: type[fs.Method]) -> None:
    model, x = network().eval(), images(2)
    for module, what in ((nn.ReLU(), "not part of the network"), (model, "the network itself is no layer")):
        with pytest.raises(LayerError, match=what):
            method(layer=module)(model, x)  # type: ignore[call-arg]


def test_several_layers_where_one_is_mapped() -> None:
    model = network()
    with pytest.raises(OptionError) as failed:
        fs.GradCAM(layer=[model.block, "stem"])  # type: ignore[arg-type]
    assert failed.value.got == f"[{type(model.block).__name__}, 'stem'], of type list"
    assert failed.value.remedy == "give one of them; for several make a method for each"
    with pytest.raises(OptionError, match="wrong type") as failed:
        fs.Activations(layer=[model.block, 3])  # type: ignore[list-item]
    assert failed.value.remedy is None


def test_the_network_stops_after_the_layer() -> None:
    model, x = network(), images(2)
    ran: list[str] = []
    handle = model.fc.register_forward_hook(lambda *_: ran.append("fc"))
    fs.Activations(layer="block")(model, x)  # the first call looks which layers run at all
    ran.clear()
    fs.Activations(layer="block")(model, x)
    assert ran == []
    fs.Activations(layer="fc")(model, x)
    assert ran == ["fc"]
    handle.remove()


def test_a_shared_module_gives_its_last_or_a_named_call() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu, self.fc = nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True), nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.relu(self.conv(x))
            return self.fc(self.relu(x - 0.3).mean((2, 3)))

    model, x = Shared().eval(), images(2)
    with torch.no_grad():
        first = model.conv(x).relu()
        last = (first - 0.3).relu()
    for _ in range(2):
        np.testing.assert_array_equal(fs.Activations(layer="relu")(model, x).values, last.numpy())
        np.testing.assert_array_equal(fs.Activations(layer="relu@0")(model, x).values, first.numpy())


def test_layers_are_found_when_not_named() -> None:
    found = fs.Activations()(network(), images(2))
    assert found.layers == ("stem", "block")
    with pytest.raises(LayerError, match="several layers"):
        _ = found.values


def test_a_layer_that_did_not_run() -> None:
    with pytest.raises(LayerError, match="did not run"):
        fs.Activations(layer="block.2")(network(Functional), images(1))


def test_the_blocks_of_a_transformer_are_shown() -> None:
    """One resolution from end to end: the blocks tell of the way, not what holds them."""

    class Encoder(nn.Module):
        def __init__(self, depth: int) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(20, 8), nn.Linear(8, 3)
            self.body = nn.Module()
            layers = [nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(depth)]
            self.body.layers = nn.ModuleList(layers)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.embed(x)
            for layer in self.body.layers:
                x = layer(x)
            return self.head(x.mean(1))

    ids = torch.randint(0, 20, (2, 7))
    assert list(fs.Activations()(Encoder(4).eval(), ids).maps) == ["embed", *(f"body.layers.{i}" for i in range(4))]
    names = list(fs.Activations()(Encoder(12).eval(), ids).maps)
    assert len(names) == 6
    assert (names[0], names[-1]) == ("embed", "body.layers.11")
