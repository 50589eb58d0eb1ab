"""Weight spectra against numpy's decomposition in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import NotApplicable
from fluoroscope.methods.weights import singular_values
from fluoroscope.methods.weights.noise_edge import noise_edges, noise_values
from fluoroscope.methods.weights.power_law import tail_exponent
from fluoroscope.methods.weights.singular_values import all_values, largest_values
from fluoroscope.methods.weights.unfolding import Unfolding
from fluoroscope.model.weights import ModuleWeight


def decaying(rows: int, columns: int, power: float = 1.0, seed: int = 0) -> np.ndarray:
    """A matrix with singular values i^-power."""
    rng = np.random.default_rng(seed)
    k = min(rows, columns)
    left, right = (np.linalg.qr(rng.normal(size=(n, k)))[0] for n in (rows, columns))
    return (left * np.arange(1, k + 1.0) ** -power) @ right.T


def linear(matrix: np.ndarray) -> nn.Module:
    return nn.ParameterDict({"w": nn.Parameter(torch.tensor(matrix))})


def unfolded(matrix: np.ndarray) -> Unfolding:
    return Unfolding(ModuleWeight.of(torch.tensor(matrix), ["w"]))


def test_small_matrices_are_exact_and_ranks_follow() -> None:
    w = decaying(40, 25)
    found = fs.WeightSpectrum()(linear(w)).spectra[0]
    s = np.linalg.svd(w, compute_uv=False)
    np.testing.assert_allclose(found.values, s, rtol=1e-12, atol=1e-14)
    assert found.exact and (found.errors < 1e-13).all()
    p = s / s.sum()
    assert found.statistics["spectral_norm"] == pytest.approx(s[0])
    assert found.statistics["frobenius"] == pytest.approx(np.linalg.norm(w))
    assert found.statistics["stable_rank"] == pytest.approx((s**2).sum() / s[0] ** 2)
    assert found.statistics["effective_rank"] == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert found.statistics["condition"] == pytest.approx(s[0] / s[-1])
    edge = np.sqrt((w**2).mean()) * (np.sqrt(40) + np.sqrt(25))
    assert found.statistics["noise_edge"] == pytest.approx(edge)
    assert found.statistics["above_edge"] == (s > edge).sum()


def test_convolutions_say_how_they_are_unfolded() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 8, 3, bias=False)
    w = conv.weight.detach().double().numpy()
    out = fs.WeightSpectrum()(conv).spectra[0]
    np.testing.assert_allclose(out.values, np.linalg.svd(w.reshape(8, -1), compute_uv=False), rtol=1e-6)
    assert out.unfolding == "8 outputs x (6 inputs x 9 kernel)"
    inner = fs.WeightSpectrum(unfold="input")(conv).spectra[0]
    turned = w.transpose(1, 0, 2, 3).reshape(6, -1)
    np.testing.assert_allclose(inner.values, np.linalg.svd(turned, compute_uv=False), rtol=1e-6)
    assert (inner.matrix, inner.unfolding) == ((6, 72), "6 inputs x (8 outputs x 9 kernel)")


@pytest.mark.parametrize("shape", [(30, 400), (400, 30)])
@pytest.mark.parametrize("axis", ["output", "input"])
def test_long_matrices_go_through_their_triangle(monkeypatch, shape: tuple[int, int], axis: str) -> None:
    monkeypatch.setattr(singular_values, "AT_ONCE", 10)
    monkeypatch.setattr("fluoroscope.methods.weights.unfolding.BLOCK", 700)
    monkeypatch.setattr("fluoroscope.methods.weights.unfolding.STRIP", 1000)
    w = decaying(*shape)
    if axis == "input" and shape[0] > shape[1]:
        pytest.skip("the turned matrix is wide, as its blocks are")
    tensor = torch.tensor(w if axis == "output" else w.T)
    found = all_values(Unfolding(ModuleWeight.of(tensor, ["w"]), axis))
    np.testing.assert_allclose(found.values, np.linalg.svd(w, compute_uv=False), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shape", [(300, 200), (150, 420)])
@pytest.mark.parametrize("power", [0.0, 0.3, 1.0])
def test_randomized_values_keep_their_bounds(monkeypatch, shape: tuple[int, int], power: float) -> None:
    monkeypatch.setattr("fluoroscope.methods.weights.unfolding.BLOCK", 5000)
    w = decaying(*shape, power) if power else np.random.default_rng(1).normal(size=shape)
    s = np.linalg.svd(w, compute_uv=False)
    found = largest_values(unfolded(w), 12, seed=3)
    assert not found.exact
    assert len(found.values) == 12
    assert (found.values <= s[:12] * (1 + 1e-9)).all()
    nearest = np.abs(found.values[:, None] - s).min(axis=1)
    assert (nearest <= found.errors + 1e-9).all()
    if power == 1:
        np.testing.assert_allclose(found.values, s[:12], rtol=1e-5)
    np.testing.assert_array_equal(found.values, largest_values(unfolded(w), 12, seed=3).values)


def test_large_ones_say_that_they_are_not_whole() -> None:
    found = fs.WeightSpectrum(exact=10, count=5)(linear(decaying(40, 30))).spectra[0]
    assert not found.exact
    assert len(found.values) == len(found.reference) == 5
    assert np.isnan([found.statistics[n] for n in ("effective_rank", "condition", "alpha")]).all()
    assert found.statistics["stable_rank"] == pytest.approx((1 / np.arange(1, 31.0) ** 2).sum(), rel=1e-5)


def test_noise_lies_on_its_reference() -> None:
    w = np.random.default_rng(2).normal(size=(900, 400)) * 0.3
    s = np.linalg.svd(w, compute_uv=False)
    reference = noise_values(900, 400, 0.3, 400)
    np.testing.assert_allclose(reference[5:-5], s[5:-5], rtol=0.02)
    low, high = noise_edges(900, 400, 0.3)
    assert low < reference[-1] < reference[0] < high
    np.testing.assert_allclose((reference**2).sum(), (w**2).sum(), rtol=0.01)  # trace
    square = np.linalg.svd(np.random.default_rng(2).normal(size=(400, 400)), compute_uv=False)
    np.testing.assert_allclose(noise_values(400, 400, 1, 400)[:300], square[:300], rtol=0.03)


@pytest.mark.parametrize("exponent", [2.0, 3.5])
def test_the_exponent_of_a_power_law_is_found(exponent: float) -> None:
    u = np.random.default_rng(0).uniform(size=4000)
    sample = (1 - u) ** (-1 / (exponent - 1))
    assert tail_exponent(sample) == pytest.approx(exponent, rel=0.08)
    assert np.isnan(tail_exponent(sample[:10]))


def test_experts_nan_rank_and_vectors(tmp_path: Path) -> None:
    torch.manual_seed(0)
    fused = torch.randn(3, 5, 4)
    tensors = {
        "layers.0.mlp.experts.up": fused,
        "a.bias": torch.ones(4),
        "b.weight": torch.full((3, 3), float("nan")),
        "c.weight": torch.ones(5, 4),
        "d.weight": torch.ones(1, 9),
    }
    save_file(tensors, tmp_path / "w.safetensors")
    found = fs.WeightSpectrum()(tmp_path / "w.safetensors")
    assert [s.name for s in found.spectra] == ["c.weight", *(f"layers.0.mlp.experts.up[{e}]" for e in range(3))]
    expected = np.linalg.norm(fused.double().numpy(), ord=2, axis=(1, 2))
    np.testing.assert_allclose(found.grids[0].tables["spectral norm"], expected[None], rtol=1e-6)
    assert any("b.weight holds 9 values NaN" in n for n in found.notes)
    flat = found.spectrum("c.weight").statistics
    assert flat["condition"] == np.inf
    assert flat["effective_rank"] == pytest.approx(1, abs=1e-6)
    with pytest.raises(NotApplicable, match="no spectrum"):
        fs.WeightSpectrum(match="a.bias")(tmp_path / "w.safetensors")


def test_zero_matrix_has_no_ranks() -> None:
    found = fs.WeightSpectrum()(linear(np.zeros((4, 6)))).spectra[0]
    assert np.isnan(found.statistics["stable_rank"])
    fs.WeightSpectrum()(linear(np.zeros((4, 6)))).plot().draw_without_rendering()
