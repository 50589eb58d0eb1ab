"""The gradient noise scale: against gaussian gradients whose covariance is known, and plain float64 formulas."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import InputError, ModelError, OptionError
from fluoroscope.training.recorder.requested.moving_ratio import MovingRatio, ratio_error
from fluoroscope.training.recorder.requested.noise_scale import unbiased

P, MEAN, SPREAD = 20, 0.5, 2.0
TRUE = P * SPREAD**2 / (P * MEAN**2)
"""tr(Sigma) / |G|^2 = 16 examples: the gradient of an example x is x itself."""


class Linear(nn.Module):
    """A loss w x, whose gradient is the mean of the examples."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(P))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x @ self.w).mean()


def examples(n: int, seed: int) -> torch.Tensor:
    return MEAN + SPREAD * torch.randn(n, P, generator=torch.Generator().manual_seed(seed))


def train(
    folder: Path, steps: int, passes: int = 4, size: int = 4, clip: float | None = None, **options: Any
) -> Linear:
    net = Linear()
    optimizer = torch.optim.SGD(net.parameters(), 0.0)
    options = {"noise_scale_every": 1, "samples_per_step": size * passes, **options}
    with fs.record(net, optimizer, "a", folder, **options):
        for step in range(steps):
            optimizer.zero_grad()
            for i in range(passes):
                (net(examples(size, step * passes + i)) / passes).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            optimizer.step()
    return net


def column(folder: Path, name: str) -> np.ndarray:
    return fs.open_runs(folder)["a"].column(name).values


def test_without_bias_from_two_batch_sizes() -> None:
    generator = np.random.default_rng(0)
    found = []
    for _ in range(4000):
        parts = MEAN + SPREAD * generator.standard_normal((6, P)) / math.sqrt(3)  # means of 3 examples each
        small, large = (parts**2).sum(1).mean(), (parts.mean(0) ** 2).sum()
        found.append(unbiased(small, large, 6, 3))
    noise, gradient = np.array(found).T
    for values, wanted in ((noise, P * SPREAD**2), (gradient, P * MEAN**2)):
        assert abs(values.mean() - wanted) < 4 * values.std() / math.sqrt(len(values))


def test_accumulated_gradients_of_known_noise(tmp_path: Path) -> None:
    train(tmp_path, 300)
    value, error = column(tmp_path, "noise_scale/examples")[-1], column(tmp_path, "noise_scale/standard_error")[-1]
    assert abs(value - TRUE) < 4 * error
    assert 0 < error < 0.3 * TRUE
    assert column(tmp_path, "noise_scale/batch")[-1] == 16


def test_the_numbers_of_a_step(tmp_path: Path) -> None:
    """One step, against the formula in float64."""
    train(tmp_path, 1, passes=3, size=2)
    parts = np.stack([examples(2, i).double().numpy().mean(0) for i in range(3)]) / 3
    small, large = (parts**2).sum(1).mean(), ((parts.sum(0) / 3) ** 2).sum()
    noise, gradient = (small - large) / (1 - 1 / 3), (3 * large - small) / 2
    assert column(tmp_path, "noise_scale_parts/noise")[0] == pytest.approx(noise, rel=1e-5)
    assert column(tmp_path, "noise_scale_parts/gradient")[0] == pytest.approx(gradient, rel=1e-5)
    names = fs.open_runs(tmp_path)["a"].names()
    assert not [n for n in names if n.startswith("noise_scale/")]  # nothing can be said of one pair


def test_neither_clipping_nor_the_scale_of_the_loss_matters(tmp_path: Path) -> None:
    for name, options in {"plain": {}, "clipped": {"clip": 1e-3}}.items():
        train(tmp_path / name, 20, **options)
    for name in ("noise_scale/examples", "noise_scale/standard_error", "noise_scale_parts/noise"):
        assert column(tmp_path / "clipped", name).tolist() == column(tmp_path / "plain", name).tolist()
    train(tmp_path / "batches", 20, samples_per_step=None)
    found = column(tmp_path / "batches", "noise_scale/batches")
    np.testing.assert_allclose(found * 16, column(tmp_path / "plain", "noise_scale/examples"), rtol=1e-9)


def test_a_scaled_loss(tmp_path: Path) -> None:
    """Mixed precision: the scale is taken off; a step that was left out counts for nothing."""
    train(tmp_path / "plain", 3, passes=2)
    net = Linear()
    optimizer = torch.optim.SGD(net.parameters(), 0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=1)
    with fs.record(net, optimizer, "a", tmp_path / "amp", scaler=scaler, noise_scale_every=1, samples_per_step=8):
        for step in (0, -1, 1, 2):
            optimizer.zero_grad()
            for i in range(2):
                x = examples(4, step * 2 + i) if step >= 0 else torch.full((4, P), math.inf)
                scaler.scale(net(x) / 2).backward()
            scaler.step(optimizer)
            scaler.update()
    for name in ("noise_scale_parts/noise", "noise_scale_parts/gradient", "noise_scale/examples"):
        np.testing.assert_allclose(column(tmp_path / "amp", name), column(tmp_path / "plain", name), rtol=1e-5)


def test_what_can_not_be_compared_is_told(tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="one backward pass"):
        train(tmp_path, 5, passes=1)
    run = fs.open_runs(tmp_path)["a"]
    assert not [n for n in run.names() if n.startswith("noise_scale")]
    assert "one backward pass" in run.facts["recorder"]["notes"][0]


def test_gradients_that_are_not_zeroed(tmp_path: Path) -> None:
    net = Linear()
    optimizer = torch.optim.SGD(net.parameters(), 0.0)
    with (
        pytest.warns(RuntimeWarning, match="not zeroed"),
        fs.record(net, optimizer, "a", tmp_path, noise_scale_every=1),
    ):
        for i in range(3):
            for k in range(2):
                net(examples(4, 2 * i + k)).backward()
            optimizer.step()
    assert len(column(tmp_path, "noise_scale_parts/noise")) == 1


def test_passes_that_are_thrown_away_do_not_count(tmp_path: Path) -> None:
    """Gradients zeroed before a step, and gradients that go nowhere."""
    train(tmp_path / "plain", 4, passes=2)
    net = Linear()
    optimizer = torch.optim.SGD(net.parameters(), 0.0)
    with fs.record(net, optimizer, "a", tmp_path / "more", noise_scale_every=1, samples_per_step=8):
        for step in range(4):
            net(examples(4, 1000)).backward()
            optimizer.zero_grad(set_to_none=step % 2 == 0)
            for i in range(2):
                torch.autograd.grad(net(examples(4, 999)), [net.w])
                (net(examples(4, step * 2 + i)) / 2).backward()
            optimizer.step()
            optimizer.zero_grad()
    name = "noise_scale_parts/noise"
    np.testing.assert_allclose(column(tmp_path / "more", name), column(tmp_path / "plain", name), rtol=1e-6)


def test_the_training_is_the_same_and_no_hook_stays(tmp_path: Path) -> None:
    def run(folder: Path | None) -> nn.Module:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1))
        optimizer = torch.optim.Adam(net.parameters(), 0.1)
        recording = fs.record(net, optimizer, "a", folder, noise_scale_every=2) if folder else None
        if recording is not None:
            recording.start()
        for step in range(6):
            if step == 3:
                net.append(nn.Linear(1, 1))
                optimizer.add_param_group({"params": net[-1].parameters()})
            optimizer.zero_grad()
            for i in range(2):
                net(torch.randn(3, 4, generator=torch.Generator().manual_seed(i))).mean().backward()
            optimizer.step()
        if recording is not None:
            recording.close()
        return net

    plain, recorded = run(None), run(tmp_path)
    for a, b in zip(plain.parameters(), recorded.parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a.grad, b.grad)
        assert not b._backward_hooks
    assert fs.open_runs(tmp_path)["a"].column("noise_scale_parts/noise").steps.tolist() == [1, 3, 5]


def test_on_request(tmp_path: Path) -> None:
    net = Linear()
    optimizer = torch.optim.SGD(net.parameters(), 0.0)
    values, errors = [], []
    with fs.record(net, optimizer, "a", tmp_path) as run:
        for i in range(60):
            found = run.noise_scale(lambda batch: net(batch["x"]), {"x": examples(64, i)}, parts=8)
            assert found is not None
            values.append(found.value)
            errors.append(found.standard_error)
    assert (found.examples, found.parts) == (64, 8)
    last = {k: column(tmp_path, f"noise_scale/{k}")[-1] for k in ("examples", "standard_error")}
    assert abs(last["examples"] - TRUE) < 4 * last["standard_error"]
    assert np.median(errors) == pytest.approx(np.std(values), rel=0.6)  # the error says how far values scatter
    parts = np.stack([examples(64, 59).double().numpy()[8 * i : 8 * i + 8].mean(0) for i in range(8)])
    small, large = (parts**2).sum(1).mean(), (parts.mean(0) ** 2).sum()
    noise, gradient = (small - large) / (1 / 8 - 1 / 64), (64 * large - 8 * small) / 56
    assert (found.noise, found.gradient) == pytest.approx((noise, gradient), rel=1e-5)


def test_a_gradient_that_drowns_in_noise_gives_no_number(tmp_path: Path) -> None:
    net = Linear()
    optimizer = torch.optim.SGD(net.parameters(), 0.0)
    x = examples(4, 0)
    x = torch.cat([x, -x])
    with fs.record(net, optimizer, "a", tmp_path) as run:
        found = run.noise_scale(net, x, parts=8)
    assert found is not None
    assert math.isnan(found.value)
    assert math.isnan(found.standard_error)
    assert found.gradient < 0 < found.noise
    assert "noise_scale/examples" not in fs.open_runs(tmp_path)["a"].names()


def test_the_error_of_a_moving_ratio() -> None:
    """Standard errors hold what they say: scatter of the ratio over many sequences."""
    generator = np.random.default_rng(0)
    values, told, known = [], [], []
    covariance = np.array([[4.0, 1.0], [1.0, 0.5]])
    root = np.linalg.cholesky(covariance)
    for _ in range(400):
        blind, seeing = MovingRatio(0.95), MovingRatio(0.95)
        for _ in range(150):
            n, d = np.array([12.0, 3.0]) + root @ generator.standard_normal(2)
            blind.add(n, d)
            seeing.add(n, d, covariance)
        values.append(blind.value)
        told.append(blind.standard_error)
        known.append(seeing.standard_error)
    assert np.mean(values) == pytest.approx(4, rel=0.02)
    assert np.mean(told) == pytest.approx(np.std(values), rel=0.15)
    assert np.mean(known) == pytest.approx(np.std(values), rel=0.15)
    assert math.isnan(MovingRatio().value)
    assert seeing.sure
    assert not MovingRatio().sure
    unsure = MovingRatio()
    for denominator in (1.0, -1.0, 1.0):
        unsure.add(5.0, denominator)
    assert unsure.value > 0
    assert not unsure.sure
    assert math.isnan(ratio_error(1.0, -1.0, covariance))


def test_mistakes(tmp_path: Path) -> None:
    net = Linear()
    optimizer = torch.optim.SGD(net.parameters(), 0.0)
    with pytest.raises(InputError, match="one optimizer"):
        fs.record(net, [optimizer, torch.optim.SGD(net.parameters(), 0.1)], dir=tmp_path, noise_scale_every=1)
    with pytest.raises(OptionError, match="noise_scale_every"):
        fs.record(net, optimizer, dir=tmp_path, noise_scale_every=-1)
    norm = nn.Linear(2, 2, dtype=torch.complex64)
    with pytest.raises(ModelError, match="complex"):
        fs.record(norm, torch.optim.SGD(norm.parameters(), 0.1), dir=tmp_path, noise_scale_every=1)
    assert list(tmp_path.iterdir()) == []
    with fs.record(net, optimizer, "a", tmp_path) as run:
        with pytest.raises(OptionError, match="parts"):
            run.noise_scale(net, examples(8, 0), parts=1)
        with pytest.raises(InputError, match="example for each part"):
            run.noise_scale(net, examples(3, 0), parts=4)
        with pytest.raises(InputError, match="split"):
            run.noise_scale(net, (examples(3, 0), examples(4, 0)))
        with pytest.raises(InputError, match="split"):
            run.noise_scale(net, "text")
