"""Methods that read a layer run together: the same values, one forward, one backward per target."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fluoroscope as fs
from fluoroscope.errors import LayerError, NotApplicable
from fluoroscope.methods.progress import listening
from tests.contract.networks import Functional, differences, images, network, snapshot

SIX = [fs.GradCAM, fs.GradCAMPlusPlus, fs.XGradCAM, fs.LayerCAM, fs.HiResCAM, fs.ElementWiseCAM]
MORE = [fs.EigenCAM, fs.EigenGradCAM, fs.RandomCAM, fs.FinerCAM, fs.ShapleyCAM]
RUNS = [
    fs.SmoothGradCAMPlusPlus(samples=2),
    fs.ScoreCAM(),
    fs.AblationCAM(),
    fs.CAM(),
    fs.FullGrad(),
    fs.GuidedGradCAM(),
]


@pytest.mark.parametrize("target", [1, "top2", [[0, 1], [2, 3], [4, 0], [1, 2], [3, 4]]])
def test_the_same_as_one_by_one(target: object) -> None:
    model, x = network(), images(5)
    methods = [m(batch_size=2) for m in (*SIX, *MORE)] + [m.replace(batch_size=2) for m in RUNS]
    found = fs.explain(model, x, methods, target)
    assert not found.errors
    assert list(found) == [m.name for m in methods]
    for method in methods:
        alone = method(model, x, target=target)
        together = found[method.name]
        np.testing.assert_allclose(together.values, alone.values, rtol=1e-5, atol=1e-7, err_msg=method.name)
        np.testing.assert_array_equal(together.targets, alone.targets)
        assert together.notes == alone.notes
        different = {k for k in alone.meta if alone.meta[k] != together.meta.get(k)} - {"seconds", "versions"}
        assert different <= {"forwards"}, method.name  # looking for the layer is remembered by the network
        assert together.caption == alone.caption


def test_one_forward_and_one_backward_for_all() -> None:
    model, x = network(), images(4)
    fs.GradCAM()(model, x)
    found = fs.explain(model, x, SIX, targets=[[0, 1]] * 4)
    assert (found.forwards, found.backwards) == (4, 8)
    assert found["layer-cam"].meta["forwards"] == 4
    assert found["layer-cam"].meta["backwards"] == 8
    assert found["layer-cam"].meta["shared_with"] == [
        "grad-cam",
        "grad-cam++",
        "xgrad-cam",
        "hires-cam",
        "element-wise-cam",
    ]
    free = fs.explain(model, x, [fs.EigenCAM, fs.RandomCAM])
    assert (free.forwards, free.backwards) == (4, 0)
    more = fs.explain(model, x, [*SIX, fs.FinerCAM, fs.ShapleyCAM], 1)
    assert (more.forwards, more.backwards) == (4, 4 + 4 + 8)
    assert more["shapley-cam"].meta["backwards"] == 8
    assert more["grad-cam"].meta["backwards"] == 4


def test_several_layers_on_one_tape() -> None:
    model, x = network(), images(3)
    fs.GradCAM()(model, x)
    methods = [fs.GradCAM(layer=layer) for layer in ("stem", "block.0", "block", "stem")]
    found = fs.explain(model, x, methods, 2)
    assert (found.forwards, found.backwards) == (3, 3)
    for (_, together), method in zip(found.items(), methods, strict=True):
        np.testing.assert_allclose(together.values, method(model, x, target=2).values, rtol=1e-6, atol=1e-9)


def test_errors_stay_with_their_method() -> None:
    model, x = network(Functional), images(2)
    methods = [
        fs.GradCAM(layer="blok"),
        fs.LayerCAM(layer="block"),
        fs.HiResCAM(layer="fc"),
        fs.GradCAM(),
        fs.XGradCAM(),
    ]
    found = fs.explain(model, x, methods, 0)
    assert list(found) == ["grad-cam 2", "xgrad-cam"]
    assert isinstance(found.errors["grad-cam"], LayerError)
    assert "did not run" in str(found.errors["layer-cam"])
    assert "no positions" in str(found.errors["hires-cam"])
    alone = fs.explain(model, x, [fs.FinerCAM, fs.GradCAM, fs.LayerCAM], lambda y: y[:, 0])
    assert isinstance(alone.errors["finer-cam"], NotApplicable)
    assert list(alone) == ["grad-cam", "layer-cam"]


def test_memory_that_runs_out_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network(), images(5)
    expected = fs.explain(model, x, SIX, 1)
    usual = type(model).forward

    def small(self: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 2:
            raise RuntimeError("not enough memory: you tried to allocate a lot")
        return usual(self, x)

    monkeypatch.setattr(type(model), "forward", small)
    found = fs.explain(model, x, SIX, 1)
    for name in expected:
        np.testing.assert_allclose(found[name].values, expected[name].values, rtol=1e-5, atol=1e-8)
        assert any("cut to 2" in n for n in found[name].notes)


def test_one_bar_and_the_network_as_before() -> None:
    told: list[tuple[str, float, float]] = []
    model = network()
    before = snapshot(model)
    with listening(lambda *step: told.append(step)):
        fs.explain(model, images(3), [*SIX, "saliency", fs.ScoreCAM(seed=1)], "top2")
    assert {title for title, _, _ in told} == {"Explain"}
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[-1][1] == told[-1][2]
    assert differences(before, snapshot(model)) == []
