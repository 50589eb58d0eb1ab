"""Weight maps against naive float64 statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import ModelError, NotApplicable, OptionError
from tests.contract.networks import network


def inside(w: np.ndarray, edges: np.ndarray, b: int) -> int:
    """Entries of one bar, which holds its edge nearer to zero (and zero itself)."""
    low, high = edges[b], edges[b + 1]
    if low >= 0:
        return int(((w >= low) & ((w < high) | (b == len(edges) - 2))).sum())
    if high <= 0:
        return int((((w > low) | (b == 0)) & (w <= high) & ~((w == 0) & (high == 0))).sum())
    return int(((w > low) & (w < high)).sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("bins", [10, 7])
def test_statistics_are_exact(dtype: torch.dtype, bins: int) -> None:
    model = network().to(dtype)
    with torch.no_grad():
        model.fc.weight[0, :3] = 0
        model.fc.bias.mul_(1e-9).add_(1e4)  # a mean far from zero
    found = fs.WeightMaps(bins=bins)(model)
    assert [t.name for t in found.tensors] == [n for n, _ in model.named_parameters()]
    for tensor, parameter in zip(found.tensors, model.parameters(), strict=True):
        w = parameter.detach().double().numpy()
        s = tensor.statistics
        assert s["mean"] == pytest.approx(w.mean(), rel=1e-12, abs=1e-12)
        assert s["std"] == pytest.approx(w.std(), rel=1e-9, abs=1e-12)
        assert (s["min"], s["max"]) == (w.min(), w.max())
        assert s["l2"] == pytest.approx(np.sqrt((w**2).sum()), rel=1e-12)
        assert s["zeros"] == (w == 0).sum()
        below = s["zero_threshold"]
        rms = np.sqrt((w**2).mean())
        assert 1e-3 * rms * (1 - 1 / 128) <= below <= 1e-3 * rms or below == 0
        assert s["zero_share"] == pytest.approx(((np.abs(w) < below) | (w == 0)).mean(), abs=1e-15)
        for edges, counts in ((tensor.edges, tensor.counts), (tensor.log_edges, tensor.log_counts)):
            assert counts.sum() == w.size
            assert (np.diff(edges) > 0).all()
            assert [inside(w, edges, b) for b in range(len(counts))] == counts.tolist()
        assert np.abs(w).ravel().max() == np.abs(w.reshape(w.shape[0] if w.ndim > 1 else 1, -1)[tensor.peak])
        if w.ndim > 1:
            flat = w.reshape(len(w), -1)
            np.testing.assert_allclose(tensor.row_norms, np.linalg.norm(flat, axis=1), rtol=1e-12)
            np.testing.assert_allclose(tensor.column_norms, np.linalg.norm(flat, axis=0), rtol=1e-12)


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
    assert found.picture.shape == (44, 63)
    assert found.steps == ((16, 16), (8, 8), (4, 4), (2, 2), (1, 1))
    for level, (down, across) in zip((found.picture, *found.levels), found.steps, strict=True):
        assert level[123 // down, 456 // across] == -9.0
        assert np.isnan(level[3 // down, 7 // across])
    assert found.peak == (123, 456)
    assert np.nanmin(found.picture) == -9.0
    assert found.statistics["nonfinite"] == 1
    assert found.statistics["min"] == -9.0


def test_finer_levels_keep_to_their_budget() -> None:
    model = nn.ModuleList([nn.Linear(300, 200, bias=False), nn.Linear(900, 800, bias=False)])
    cells = lambda r: sum(level.size for t in r.tensors for level in t.levels)  # noqa: E731
    assert cells(fs.WeightMaps(zoom=0)(model)) == 0
    some = fs.WeightMaps(zoom=100_000)(model)
    assert 0 < cells(some) <= 100_000
    assert cells(fs.WeightMaps()(model)) > 800_000
    assert fs.WeightMaps()(model).tensors[1].levels[-1].shape == (800, 900)


def test_dead_and_duplicate_rows_are_named() -> None:
    torch.manual_seed(0)
    model = nn.ModuleList([nn.Conv2d(3, 12, 5), nn.Linear(3000, 1200)])
    with torch.no_grad():
        for part in model:
            part.weight[3] = 0
            part.weight[5] = 1e-9 * part.weight[5]
            part.weight[8] = 2.5 * part.weight[2]
            part.weight[10] = part.weight[2] + 0.01 * part.weight[2].std() * torch.randn_like(part.weight[2])
            part.weight[11] = -part.weight[2]  # the opposite is no duplicate
    for tensor in fs.WeightMaps(match="*.weight")(model).tensors:
        assert tensor.dead.tolist() == [3, 5]
        assert tensor.duplicates.tolist() == [[8, 2], [10, 2]]
        w = model.get_parameter(tensor.name).detach().double().numpy().reshape(tensor.shape[0], -1)
        for (a, b), cosine in zip(tensor.duplicates, tensor.likeness, strict=True):
            assert cosine == pytest.approx(w[a] @ w[b] / np.linalg.norm(w[a]) / np.linalg.norm(w[b]), abs=1e-6)
    strict = fs.WeightMaps(match="*.weight", alike=0.999999)(model)
    assert [t.duplicates.tolist() for t in strict.tensors] == [[[8, 2]], [[8, 2]]]


def test_filters_are_ordered_by_norm_and_by_likeness() -> None:
    rng = np.random.default_rng(3)
    kinds = rng.normal(size=(3, 3, 7, 7))
    model = nn.Conv2d(3, 12, 7, bias=False)
    label = np.arange(12) % 3
    filters = kinds[label] * rng.uniform(0.5, 2, (12, 1, 1, 1)) + 0.05 * rng.normal(size=(12, 3, 7, 7))
    with torch.no_grad():
        model.weight.copy_(torch.tensor(filters))
    tensor = fs.WeightMaps()(model).tensors[0]
    norms = np.linalg.norm(filters.reshape(12, -1), axis=1)
    assert tensor.orders["norm"].tolist() == np.argsort(-norms).tolist()
    assert sorted(tensor.orders["similar"].tolist()) == list(range(12))
    turns = np.count_nonzero(np.diff(label[tensor.orders["similar"]]))
    assert turns == 2  # every kind is one run


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        parts = [nn.ModuleDict({"up": nn.Linear(4, 6, bias=False)}) for _ in range(3)]
        self.layers = nn.ModuleList([nn.ModuleDict({"mlp": nn.ModuleDict({"experts": nn.ModuleList(parts)})})])
        self.layers.append(nn.ModuleDict({"fused_experts": nn.ParameterList([nn.Parameter(torch.randn(3, 4, 6))])}))
        self.experts = nn.Parameter(torch.randn(3, 4, 6))


def test_experts_get_a_table() -> None:
    torch.manual_seed(1)
    model = Experts()
    found = fs.WeightMaps()(model)
    grid = next(g for g in found.grids if g.pattern == "layers.{layer}.mlp.experts.{expert}.up.weight")
    assert (grid.layers, grid.experts) == ((0,), (0, 1, 2))
    norms = [float(e["up"].weight.detach().norm()) for e in model.layers[0]["mlp"]["experts"]]
    np.testing.assert_allclose(grid.tables["norm"], [norms], rtol=1e-6)
    fused = next(g for g in found.grids if g.pattern == "experts")
    np.testing.assert_allclose(fused.tables["norm"][0], model.experts.detach().flatten(1).norm(dim=1), rtol=1e-6)


def test_numbers_in_hostile_names_make_no_huge_table() -> None:
    from fluoroscope.methods.weights.experts import expert_of, grids

    cells = [("p", i * 1000, j, {"n": 1.0}) for i in range(2000) for j in (i, i + 7_000_000)]
    assert grids(cells) == ()
    assert expert_of("a.experts.<b>.w") is None
    place = expert_of("m.layers.12.moe.experts.003.w")
    assert (place.pattern, place.layer, place.expert) == ("m.layers.{layer}.moe.experts.{expert}.w", 12, 3)


@pytest.mark.parametrize(
    "values", [torch.tensor(2.5), torch.zeros(0), torch.zeros(0, 5), torch.zeros(4, 0), torch.zeros(3, 3)]
)
def test_scalars_empty_and_zero_tensors(values: torch.Tensor) -> None:
    model = nn.ParameterDict({"w": nn.Parameter(values)})
    found = fs.WeightMaps()(model)
    assert found.tensors[0].size == values.numel()
    assert found.tensors[0].counts.sum() == values.numel()
    assert found.tensors[0].statistics["zeros"] == (values == 0).sum()
    if values.numel() and not values.any():
        assert found.tensors[0].statistics["zero_share"] == 1
    found.plot().draw_without_rendering()
    found.to_html()


def test_nan_and_infinity_are_counted_and_kept() -> None:
    model = nn.Linear(600, 500)
    with torch.no_grad():
        model.weight[1, 2], model.weight[300, 400], model.weight[9] = float("inf"), float("-inf"), float("nan")
    tensor = fs.WeightMaps()(model).tensor("weight")
    w = model.weight.detach().double().numpy()
    known = w[np.isfinite(w)]
    assert tensor.statistics["nonfinite"] == 602
    assert tensor.statistics["std"] == pytest.approx(known.std(), rel=1e-12)
    assert tensor.counts.sum() == known.size
    assert np.isposinf(tensor.levels[-1][1, 2]) and np.isneginf(tensor.levels[-1][300, 400])
    clean = np.where(np.isfinite(w), w, 0)
    np.testing.assert_allclose(tensor.row_norms, np.linalg.norm(clean, axis=1), rtol=1e-12)


def test_layouts_quantized_whole_and_complex_tensors() -> None:
    model = nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)
    found = fs.WeightMaps()(model).tensor("weight")
    np.testing.assert_array_equal(found.picture, model.weight.detach().numpy())
    turned = nn.ParameterDict({"w": nn.Parameter(torch.randn(700, 900).T)})
    np.testing.assert_array_equal(fs.WeightMaps()(turned).tensors[0].levels[-1], turned["w"].detach().numpy())
    whole = nn.ParameterDict({"w": nn.Parameter(torch.arange(-4, 4, dtype=torch.int8), requires_grad=False)})
    assert fs.WeightMaps()(whole).tensors[0].picture.tolist() == list(range(-4, 4))
    wave = nn.ParameterDict({"w": nn.Parameter(torch.tensor([3 + 4j, 1j]))})
    assert fs.WeightMaps()(wave).tensors[0].picture.tolist() == [5, 1]


def test_a_file_gives_what_the_network_gives(tmp_path: Path) -> None:
    model = network()
    save_file({n: p.detach().contiguous() for n, p in model.named_parameters()}, tmp_path / "w.safetensors")
    there, here = fs.WeightMaps()(tmp_path / "w.safetensors"), fs.WeightMaps()(model)
    for tensor in here.tensors:
        other = there.tensor(tensor.name)
        assert other.statistics == tensor.statistics
        np.testing.assert_array_equal(other.picture, tensor.picture)
        np.testing.assert_array_equal(other.log_counts, tensor.log_counts)
    assert there.meta["model"] == "w.safetensors"
    assert len(there.meta["fingerprint"]) == 12
    assert fs.open_result(there.save(tmp_path / "r")).tensors[0].steps == there.tensors[0].steps


def test_part_of_a_network_on_the_meta_device() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta"))
    found = fs.WeightMaps()(model)
    assert [t.name for t in found.tensors] == ["0.weight", "0.bias"]
    assert any("2 tensors on the meta device" in n for n in found.notes)
    with pytest.raises(ModelError, match="never run"):
        fs.WeightMaps()(nn.LazyLinear(3))


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
