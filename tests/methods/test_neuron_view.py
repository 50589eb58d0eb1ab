"""The neuron view, beside the network's arithmetic written out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import NotApplicable, OptionError
from fluoroscope.render import design
from fluoroscope.render.graph.neurons import neuron_sheet
from fluoroscope.render.graph.sheet import Path, Text


class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.three = nn.Linear(5, 4), nn.Linear(4, 3), nn.Linear(3, 2, bias=False)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        x = F.relu(self.one(x), inplace=True)
        return self.three(self.drop(torch.tanh(self.two(x)))).softmax(1)


class Lenet(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 2, 3, stride=2)
        self.fc1, self.fc2 = nn.Linear(2 * 9, width), nn.Linear(width, 3)

    def forward(self, x):
        return {"logits": self.fc2(F.relu(self.fc1(F.relu(self.conv(x)).flatten(1))))}


def by_hand(model, x):
    """Every column, one number at a time, in float64."""
    columns, before = [x.double().numpy()], None
    for layer, f in ((model.one, lambda v: max(v, 0.0)), (model.two, np.tanh), (model.three, lambda v: v)):
        weights = layer.weight.detach().double().numpy()
        bias = layer.bias.detach().double().numpy() if layer.bias is not None else np.zeros(len(weights))
        given = columns[-1]
        before = np.array(
            [
                [sum(w * a for w, a in zip(row, r, strict=True)) + b for row, b in zip(weights, bias, strict=True)]
                for r in given
            ]
        )
        columns.append(np.vectorize(f)(before))
    powers = np.exp(before)
    return [*columns[:-1], powers / powers.sum(1, keepdims=True)], before


def test_every_column_is_the_network_s_arithmetic():
    model, x = Perceptron(), torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    result = fs.NeuronView()(model, x)
    expected, logits = by_hand(model, x)
    assert [layer.name for layer in result.layers] == ["input", "one", "two", "three"]
    for layer, column in zip(result.layers, expected, strict=True):
        np.testing.assert_allclose(layer.after, column, atol=1e-6)
    np.testing.assert_allclose(result.layers[-1].before, logits, atol=1e-6)
    np.testing.assert_array_equal(result.layers[1].weights, model.one.weight.detach().numpy())
    assert result.layers[3].bias is None and result.layers[0].weights is None
    assert result.notes == ()
    assert result.values.shape == (4, 5 + 4 + 3 + 2)


def test_a_column_follows_from_the_one_before():
    model, x = Perceptron().double(), torch.randn(3, 5, dtype=torch.float64)
    layers = fs.NeuronView()(model, x).layers
    for one, other in pairwise(layers):
        bias = other.bias if other.bias is not None else 0
        np.testing.assert_allclose(one.after @ other.weights.T + bias, other.before, atol=1e-12)


def test_the_dense_head_of_a_cnn_is_drawn_and_said_to_be_one():
    model, x = Lenet(), torch.randn(2, 1, 7, 7)
    result = fs.NeuronView()(fs.Subject(model, classes=["a", "b", "c"]), x)
    head = F.relu(model.conv(x)).flatten(1)
    np.testing.assert_allclose(result.layers[0].after, head.detach().numpy(), atol=1e-6)
    assert [layer.after.shape[1] for layer in result.layers] == [18, 16, 3]
    assert result.names(2) == ("a", "b", "c")
    assert any("only the dense layers from 'fc1'" in note for note in result.notes)


def test_names_of_features_go_to_the_input():
    result = fs.NeuronView(features=("a", "b", "c", "d", "e"))(Perceptron(), torch.zeros(1, 5))
    assert result.layers[0].names == ("a", "b", "c", "d", "e")
    assert fs.NeuronView(features=("a",))(Perceptron(), torch.zeros(1, 5)).layers[0].names == ()


def test_networks_that_are_too_large_are_told_why():
    with pytest.raises(NotApplicable, match="too many weights") as caught:
        fs.NeuronView(most_weights=100)(Lenet(), torch.zeros(1, 1, 7, 7))
    assert "336 weights" in str(caught.value) and "WeightMaps" in str(caught.value)
    with pytest.raises(NotApplicable, match="needs dense layers"):
        fs.NeuronView()(nn.Conv2d(1, 2, 3), torch.zeros(1, 1, 7, 7))


def lines_of(sheet):
    return [m for m in sheet.marks if isinstance(m, Path) and m.title]


def test_lines_have_the_width_and_sign_of_weights():
    result = fs.NeuronView()(Perceptron(), torch.randn(2, 5, generator=torch.Generator().manual_seed(2)))
    weights = [layer.weights for layer in result.layers[1:]]
    lines = lines_of(neuron_sheet(result, design.theme()))
    expected = sum(int((np.abs(w) >= 0.02 * np.abs(w).max()).sum()) for w in weights)
    assert len(lines) == expected
    assert len({m.stroke for m in lines}) == 2
    widest = max(lines[: weights[0].size], key=lambda m: m.line)
    to, source = np.unravel_index(np.abs(weights[0]).argmax(), weights[0].shape)
    assert widest.title.endswith(f"from {source} to {to}")
    flow = lines_of(neuron_sheet(result, design.theme(), lines="flow"))
    sent = [w * layer.after[0] for w, layer in zip(weights, result.layers, strict=False)]
    assert len(flow) == sum(int((np.abs(f) >= 0.02 * np.abs(f).max()).sum()) for f in sent) < expected


def test_of_a_wide_layer_the_strongest_are_shown():
    result = fs.NeuronView()(Lenet(width=64), torch.randn(1, 1, 7, 7, generator=torch.Generator().manual_seed(3)))
    sheet = neuron_sheet(result, design.theme(), most=5)
    texts = [m.text for m in sheet.marks if isinstance(m, Text)]
    assert "⋮ 13 weaker" in texts and "⋮ 59 weaker" in texts
    strength = np.abs(result.layers[1].after[0]) * np.abs(result.layers[2].weights).max(0)
    last = lines_of(sheet)[-15:]
    shown = {
        int(m.title.split(" from ")[1].split(" to ")[0]) for m in last if m.title.endswith(("to 0", "to 1", "to 2"))
    }
    assert shown <= set(np.argsort(-strength)[:5].tolist())


def test_an_example_that_is_not_there_is_a_mistake():
    with pytest.raises(OptionError, match="example"):
        fs.NeuronView()(Perceptron(), torch.zeros(2, 5)).plot(example=2)


def test_a_real_perceptron(load_asset):
    model, _, classes = load_asset("mlp_titanic")
    x = torch.randn(8, 12, generator=torch.Generator().manual_seed(0))
    result = fs.NeuronView()(fs.Subject(model, classes=classes), x)
    assert [layer.after.shape[1] for layer in result.layers] == [12, 12, 8, 2]
    np.testing.assert_allclose(result.layers[-1].after, model(x).detach().numpy(), atol=1e-6)
    assert result.names(3) == ("died", "survived")


def test_a_real_lenet_head(load_asset):
    model, _, _ = load_asset("lenet_cifar10")
    result = fs.NeuronView()(model, torch.rand(1, 3, 32, 32))
    assert [layer.name for layer in result.layers] == ["input", "fc1", "fc2", "fc3"]
    assert result.plot(neurons=8) is not None
