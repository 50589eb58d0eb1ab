"""Weight maps against naive float64 statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import NotApplicable, OptionError
from fluoroscope.methods.weights.weight_maps import largest_magnitude
from tests.contract.networks import network


def test_statistics_are_exact() -> None:
    model = network()
    found = fs.WeightMaps(bins=10)(model)
    assert [t.name for t in found.tensors] == [n for n, _ in model.named_parameters()]
    for tensor, parameter in zip(found.tensors, model.parameters(), strict=True):
        w = parameter.detach().double().numpy()
        s = tensor.statistics
        assert s["mean"] == pytest.approx(w.mean(), abs=1e-12)
        assert s["std"] == pytest.approx(w.std(), abs=1e-12)
        assert (s["min"], s["max"]) == (w.min(), w.max())
        assert s["l2"] == pytest.approx(np.sqrt((w**2).sum()))
        assert tensor.counts.sum() == w.size
        for b in range(10):
            upper = w <= tensor.edges[b + 1] if b == 9 else w < tensor.edges[b + 1]
            assert tensor.counts[b] == ((w >= tensor.edges[b]) & upper).sum()


def test_first_layer_filters_are_raw() -> None:
    model = network()
    found = fs.WeightMaps()(model).tensor("stem.0.weight")
    assert found.form == "filters"
    np.testing.assert_array_equal(found.picture, model.stem[0].weight.detach().numpy())


def test_an_outlier_survives_reduction() -> None:
    model = nn.Linear(1000, 700)
    with torch.no_grad():
        model.weight[123, 456] = -9.0
        model.weight[3, 7] = float("nan")
    found = fs.WeightMaps(side=64)(model).tensor("weight")
    assert found.reduced
    assert found.picture.shape == (64, 64)
    assert np.nanmin(found.picture) == -9.0
    assert found.statistics["nonfinite"] == 1
    assert found.statistics["min"] == -9.0


def test_largest_magnitude_keeps_the_sign() -> None:
    matrix = np.array([[1.0, -5.0, 2.0, 0.0], [3.0, 4.0, -1.0, 0.5]])
    np.testing.assert_array_equal(largest_magnitude(matrix, 2), [[-5.0, 2.0], [4.0, -1.0]])


def test_tied_weights_appear_once() -> None:
    model = nn.ModuleDict({"embed": nn.Embedding(6, 4), "out": nn.Linear(4, 6, bias=False)})
    model["out"].weight = model["embed"].weight
    found = fs.WeightMaps()(model)
    assert len(found.tensors) == 1
    assert found.tensor("out.weight").shared_with == ("out.weight",)


def test_mistakes_are_told() -> None:
    with pytest.raises(NotApplicable, match="no parameters"):
        fs.WeightMaps()(nn.ReLU())
    with pytest.raises(OptionError, match="pattern"):
        fs.WeightMaps(match="layer9.*")(network())
    with torch.device("meta"):
        empty = nn.Linear(2, 2)
    with pytest.raises(NotApplicable, match="meta"):
        fs.WeightMaps()(empty)
