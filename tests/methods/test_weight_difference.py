"""Differences of weights against subtraction in float64."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import NotApplicable, OptionError
from tests.contract.networks import differences, network, snapshot


def pair() -> tuple[nn.Module, nn.Module]:
    before = network()
    after = copy.deepcopy(before)
    with torch.no_grad():
        after.fc.weight.mul_(1.5)
        after.stem[0].weight[2] += 0.25
        after.block[0].bias[1] = float("nan")
    return before, after


def test_norms_relative_change_and_cosine() -> None:
    before, after = pair()
    states = snapshot(before), snapshot(after)
    found = fs.WeightDifference()(before, after)
    assert differences(states[0], snapshot(before)) == []
    assert differences(states[1], snapshot(after)) == ["block.0.bias"]  # which is not equal to itself
    for name in ("fc.weight", "stem.0.weight", "block.0.bias"):
        a, b = (m.get_parameter(name).detach().double().numpy() for m in (before, after))
        known = np.isfinite(b)
        a, b = a[known], b[known]
        s = found.tensor(name).statistics
        assert s["l2"] == pytest.approx(np.linalg.norm(b - a), rel=1e-9)
        assert s["l2_before"] == pytest.approx(np.linalg.norm(a))
        assert s["l2_after"] == pytest.approx(np.linalg.norm(b))
        assert s["relative"] == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a), rel=1e-9)
        assert s["cosine"] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        assert s["max"] == (b - a).max()
    assert found.tensor("block.0.bias").statistics["nonfinite"] == 1
    expected = (after.stem[0].weight.double() - before.stem[0].weight.double()).detach().numpy()
    np.testing.assert_array_equal(found.tensor("stem.0.weight").picture, expected)
    assert "stem.0.bias" in found.comparison.unchanged
    assert "fc.weight" not in found.comparison.unchanged
    assert {"stem.1.running_mean", "seen"} <= {t.name for t in found.tensors}


def test_files_of_other_formats_and_shapes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    a, b = torch.randn(40, 30), torch.randn(5)
    save_file({"w": a, "gone": b, "turned": a.clone()}, tmp_path / "a.safetensors")
    save_file({"w": a.bfloat16(), "new<b>": b, "turned": a.T.contiguous()}, tmp_path / "b.safetensors")
    found = fs.WeightDifference()(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert [t.name for t in found.tensors] == ["w"]
    assert found.tensors[0].dtype == "float32 to bfloat16"
    change = (a.bfloat16().double() - a.double()).numpy()
    assert found.tensors[0].statistics["l2"] == pytest.approx(np.linalg.norm(change))
    assert found.comparison.missing == ("gone",)
    assert found.comparison.extra == ("new<b>",)
    assert found.comparison.reshaped == (("turned", (40, 30), (30, 40)),)
    assert fs.open_result(found.save(tmp_path / "d")).comparison.reshaped == found.comparison.reshaped
    found.plot().draw_without_rendering()
    found.plot(view="overview").draw_without_rendering()
    assert "new&lt;b&gt;" in found.to_html() or "new\\u003cb" in found.to_html()
    with pytest.raises(OptionError, match="pattern"):
        fs.WeightDifference(match="x*")(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    with pytest.raises(NotApplicable, match="no tensor of the same name"):
        fs.WeightDifference(match="[gn]*")(tmp_path / "a.safetensors", tmp_path / "b.safetensors")


def test_a_network_against_its_file(tmp_path: Path) -> None:
    model = network()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "w.safetensors")
    found = fs.WeightDifference()(model, tmp_path / "w.safetensors")
    assert found.comparison.extra == found.comparison.missing == ()
    assert len(found.comparison.unchanged) == len(found.tensors) == len(model.state_dict())
    assert np.isnan(found.tensor("seen").statistics["relative"])  # from nothing to nothing


def test_tied_and_meta_tensors() -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    model["b"].weight = model["a"].weight
    found = fs.WeightDifference()(model, copy.deepcopy(model))
    assert [t.name for t in found.tensors] == ["a.weight", "a.bias", "b.bias"]
    part = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3, device="meta")})
    found = fs.WeightDifference()(part, nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)}))
    assert [t.name for t in found.tensors] == ["a.weight", "a.bias"]
    assert any("meta" in n for n in found.notes)
