"""One set of baselines, whatever takes one: each kind against its formula, and the same in methods and checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope import axes as ax
from fluoroscope.errors import InputError, OptionError
from fluoroscope.methods.baselines import baseline_of
from fluoroscope.methods.registry import methods

METHODS = (fs.IntegratedGradients, fs.DeepLIFT, fs.Occlusion, fs.FeatureAblation, fs.ShapleySampling, fs.KernelSHAP)
CHECKS = (fs.Deletion, fs.Insertion, fs.SensitivityN, fs.Infidelity)
KINDS: tuple[Any, ...] = ("zero", 0, 0.25, "mean", "blur", "noise", [0.25], np.zeros((1, 8, 8)), torch.ones(2, 1, 8, 8))


def network() -> nn.Module:
    """Three classes of small pictures."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 3)).eval()


def pictures() -> torch.Tensor:
    return torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def by_method(kind: Callable[..., Any], baseline: Any) -> Any:
    """An attribution with that baseline."""
    options = {"samples": 200} if kind in (fs.ShapleySampling, fs.KernelSHAP) else {}
    return kind(baseline=baseline, **options)(network(), pictures(), target=1)


def by_check(kind: Callable[..., Any], baseline: Any) -> Any:
    """A scorecard with that baseline."""
    return kind(baseline=baseline, **({} if kind is fs.Infidelity else {"controls": False}))(
        fs.Saliency(), network(), pictures(), target=1
    )


@pytest.mark.parametrize("kind", KINDS, ids=range(len(KINDS)))
def test_methods_and_checks_take_the_same_baselines(kind: Any) -> None:
    for method in METHODS:
        found = by_method(method, kind)
        assert found.values.any(), method
        assert isinstance(found.meta["options"]["baseline"], (str, float, int, list))
    for check in CHECKS:
        assert np.isfinite(by_check(check, kind).table).all(), check


def test_zero_is_the_number_0_and_a_colour_is_its_picture() -> None:
    for word, other in (("zero", 0.0), ([0.5], torch.full((1, 8, 8), 0.5)), (np.array([0.5]), 0.5)):
        for method in METHODS:
            np.testing.assert_array_equal(by_method(method, word).values, by_method(method, other).values)
        for check in CHECKS:
            np.testing.assert_array_equal(by_check(check, word).table, by_check(check, other).table)


@pytest.mark.parametrize("wrong", ["blurred", "Blur"])
def test_another_spelling_is_answered_with_the_word(wrong: str) -> None:
    taking = [cls for cls in methods().values() if "baseline" in {f.name for f in cls.options()}]
    assert {*METHODS} <= {*taking}
    for kind in (*taking, *CHECKS):
        with pytest.raises(OptionError, match=r"nearest: +'blur'"):
            kind(baseline=wrong)


@pytest.mark.parametrize(
    "wrong", [None, True, {}, object(), [[1], [1, 2]], ["a"]], ids=["none", "truth", "dict", "object", "ragged", "text"]
)
def test_what_is_no_baseline_is_refused_at_once(wrong: Any) -> None:
    for kind in (*METHODS, *CHECKS):
        with pytest.raises(OptionError, match="option 'baseline'"):
            kind(baseline=wrong)
    with pytest.raises(OptionError, match="the baseline"):
        baseline_of(wrong, pictures())


def gaussian(length: int, sigma: float) -> np.ndarray:
    weights = np.array([[np.exp(-((i - j) ** 2) / 2 / sigma**2) for j in range(length)] for i in range(length)])
    return weights / weights.sum(1, keepdims=True)


def test_each_kind_against_its_formula() -> None:
    x = torch.rand(2, 3, 80, 6, dtype=torch.float64)
    assert (baseline_of(0.5, x) == 0.5).all()
    np.testing.assert_allclose(baseline_of("mean", x), x.mean((2, 3), keepdim=True).expand_as(x))
    down, across = gaussian(80, 0.05 * 80), gaussian(6, 0.05 * 80)
    np.testing.assert_allclose(baseline_of("blur", x), down @ x.numpy() @ across.T)
    small = x[:, :, :8]
    np.testing.assert_allclose(baseline_of("blur", small), gaussian(8, 1.0) @ small.numpy() @ gaussian(6, 1.0).T)
    rows = torch.rand(4, 3, 80, 6)
    assert torch.equal(baseline_of(rows, x, start=2), rows[2:].double())
    colour = baseline_of([1, 2, 3], x)
    for c in range(3):
        assert (colour[:, c] == c + 1).all()
    last = baseline_of([1, 2, 3], x.permute(0, 2, 3, 1))
    assert torch.equal(last.permute(0, 3, 1, 2), colour)
    assert (baseline_of("blur", torch.full((1, 2, 9, 9), 0.7).bfloat16()).float() - 0.7).abs().max() < 4e-3


def test_noise_has_each_channels_moments_and_repeats_by_example() -> None:
    x = torch.rand(2, 2, 90, 90, dtype=torch.float64) * torch.tensor([1.0, 5.0]).view(2, 1, 1) + 3
    found = baseline_of("noise", x, seed=4)
    for n in range(2):
        for c in range(2):
            assert float(found[n, c].mean()) == pytest.approx(float(x[n, c].mean()), abs=0.1)
            assert float(found[n, c].std()) == pytest.approx(float(x[n, c].std()), rel=0.05)
    assert torch.equal(baseline_of("noise", x[1:], seed=4, start=1), found[1:])
    assert not torch.equal(baseline_of("noise", x, seed=5), found)


def test_what_does_not_fit_the_input_is_told() -> None:
    x = pictures()
    for wrong in (torch.rand(5, 5), [1.0, 2.0], torch.ones(1, 8, 9)):
        with pytest.raises(OptionError, match="the baseline does not fit the input"):
            baseline_of(wrong, x)
    assert baseline_of(float("nan"), x).isnan().all()  # what is missing, for networks that take it
    for wrong in (torch.full((1, 8, 8), torch.nan), float("nan"), float("inf")):
        for kind in (fs.IntegratedGradients, fs.DeepLIFT):
            with pytest.raises(InputError, match="NaN"):
                by_method(kind, wrong)
    table = torch.rand(3, 4)
    for word in ("mean", "blur", "noise"):
        with pytest.raises(OptionError, match="images and series"):
            baseline_of(word, table)
    np.testing.assert_allclose(baseline_of("mean", table, rows=True), table.mean(0).expand(3, 4))
    with pytest.raises(OptionError, match="the mean of one row is the row itself"):
        baseline_of("mean", table[:1], rows=True)
    tokens = torch.tensor([[3, 4, 5]])
    assert torch.equal(baseline_of("zero", tokens), tokens * 0)
    with pytest.raises(OptionError, match="a token can only be replaced by a token"):
        baseline_of(0.5, tokens)
    with pytest.raises(OptionError, match="tokens have no blur"):
        baseline_of("blur", tokens)
    with pytest.raises(OptionError, match="is for texts"):
        baseline_of("mask", x, fs.Subject(network()))
    vectors = torch.rand(2, 5, 4)
    with pytest.raises(OptionError, match="images and series"):
        baseline_of("mean", vectors, axes=(ax.N, ax.L, ax.C))
