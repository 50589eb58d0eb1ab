"""Alignment of steps: parallel, opposite and orthogonal ones, and cosines in plain float64."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import OptionError
from fluoroscope.results import TensorHistory

SIZES = {"a": (40,), "b": (7, 30)}


def network() -> nn.Module:
    net = nn.Module()
    torch.manual_seed(0)
    for name, shape in SIZES.items():
        net.register_parameter(name, nn.Parameter(torch.randn(shape)))
    return net


def steps(net: nn.Module, optimizer: Any, gradients: list[dict[str, torch.Tensor | None]]) -> None:
    for given in gradients:
        for name, p in net.named_parameters():
            grad = given[name]
            p.grad = None if grad is None else grad.clone()
        optimizer.step()


def recorded(folder: Path, gradients: list[dict[str, torch.Tensor | None]], alignment: Any, **options: Any) -> Any:
    net = network()
    kind = options.pop("optimizer", torch.optim.SGD)
    optimizer = kind(net.parameters(), 0.1, **options)
    with fs.record(net, optimizer, "a", folder, alignment=alignment, sample=512):
        steps(net, optimizer, gradients)
    return fs.open_runs(folder)["a"]


def value(history: TensorHistory, quantity: str, name: str, step: int) -> float:
    return float(history.statistics[quantity][history.names.index(name), history.steps.tolist().index(step)])


def gradients(*factors: float) -> list[dict[str, torch.Tensor | None]]:
    first = {n: torch.randn(s, generator=torch.Generator().manual_seed(i)) for i, (n, s) in enumerate(SIZES.items())}
    return [{n: f * g for n, g in first.items()} for f in factors]


@pytest.mark.parametrize("alignment", ["sampled", "exact"])
def test_parallel_and_opposite_steps(alignment: str, tmp_path: Path) -> None:
    run = recorded(tmp_path, gradients(1, 2, -3), alignment)
    history = run.tensor_history()
    for name in SIZES:
        assert value(history, "alignment/update", name, 2) == pytest.approx(1, abs=1e-4)
        assert value(history, "alignment/update", name, 3) == pytest.approx(-1, abs=1e-4)
    total = run.column("alignment/update")
    assert total.steps.tolist() == [2, 3]
    assert total.values == pytest.approx([1, -1], abs=1e-4)
    if alignment == "sampled":
        assert run.column("alignment/gradient").values == pytest.approx([1, -1], abs=1e-4)
    else:
        assert "alignment/gradient" not in run.names()


@pytest.mark.parametrize("alignment", ["sampled", "exact"])
def test_orthogonal_steps(alignment: str, tmp_path: Path) -> None:
    along = {n: torch.zeros(s) for n, s in SIZES.items()}
    across = {n: torch.zeros(s) for n, s in SIZES.items()}
    for n in SIZES:
        along[n].view(-1)[::2], across[n].view(-1)[1::2] = 1.0, 1.0
    run = recorded(tmp_path, [along, across], alignment)
    for name in SIZES:
        assert value(run.tensor_history(), "alignment/update", name, 2) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("alignment", ["sampled", "exact"])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_against_float64(alignment: str, optimizer: Any, tmp_path: Path) -> None:
    """Tensors smaller than the sample are read whole: both ways have to agree with plain cosines."""
    given = [
        {
            n: torch.randn(s, generator=torch.Generator().manual_seed(10 * t + i))
            for i, (n, s) in enumerate(SIZES.items())
        }
        for t in range(4)
    ]
    run = recorded(tmp_path, given, alignment, optimizer=optimizer)
    net = network()
    own = optimizer(net.parameters(), 0.1)
    last: dict[str, torch.Tensor] = {}
    history = run.tensor_history()
    for t, step in enumerate(given):
        before = {n: p.detach().double().clone() for n, p in net.named_parameters()}
        if last:
            pairs = {n: (-step[n].double().reshape(-1), last[n].reshape(-1)) for n in SIZES}
            for n, (g, u) in pairs.items():
                wanted = float(g @ u / g.norm() / u.norm())
                assert value(history, "alignment/update", n, t + 1) == pytest.approx(wanted, abs=1e-5)
            g, u = (torch.cat([pair[i] for pair in pairs.values()]) for i in (0, 1))
            wanted = float(g @ u / g.norm() / u.norm())
            assert run.column("alignment/update").values[t - 1] == pytest.approx(wanted, abs=1e-5)
        steps(net, own, [step])
        last = {n: p.detach().double() - before[n] for n, p in net.named_parameters()}


def test_samples_of_large_tensors_are_within_chance(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Linear(300, 400, bias=False)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    first = torch.randn(400, 300)
    second = 0.6 * first + 0.8 * torch.randn(400, 300)
    with fs.record(net, optimizer, "a", tmp_path, alignment="sampled", sample=2000):
        for g in (first, second):
            net.weight.grad = g.clone()
            optimizer.step()
    found = fs.open_runs(tmp_path)["a"].column("alignment/gradient").values[0]
    wanted = float((first * second).sum() / first.norm() / second.norm())
    assert abs(found - wanted) < 5 / math.sqrt(2000)
    assert found != pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("alignment", ["sampled", "exact"])
def test_what_is_not_there_is_not_recorded(alignment: str, tmp_path: Path) -> None:
    """No gradient, and a last step that was none; NaN is seen like any other value."""
    one = gradients(1)[0]
    given = [{"a": one["a"], "b": None}, one, {"a": math.nan * one["a"], "b": one["b"]}]
    history = recorded(tmp_path, given, alignment).tensor_history()
    row = history.names.index("b")
    columns = [history.steps.tolist().index(s) for s in (2, 3)]
    assert history.recorded["alignment/update"][row, columns].tolist() == [False, True]
    assert math.isnan(value(history, "alignment/update", "a", 3))
    assert history.recorded["alignment/update"][history.names.index("a"), columns].tolist() == [True, True]


def test_weights_changed_by_others_are_no_step(tmp_path: Path) -> None:
    net, given = network(), gradients(1, 1, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with fs.record(net, optimizer, "a", tmp_path, alignment="exact"):
        steps(net, optimizer, given[:1])
        with torch.no_grad():
            net.a.add_(5)
        steps(net, optimizer, given[1:])
    history = fs.open_runs(tmp_path)["a"].tensor_history()
    seen = history.recorded["alignment/update"][:, [history.steps.tolist().index(s) for s in (2, 3)]]
    assert seen[history.names.index("a")].tolist() == [False, True]
    assert seen[history.names.index("b")].tolist() == [True, True]


def test_a_step_that_was_left_out(tmp_path: Path) -> None:
    """The scaler leaves out a step: the next one is held against the last that was made."""
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1000)
    with fs.record(net, optimizer, "a", tmp_path, alignment="sampled", scaler=scaler):
        for factor in (1.0, math.inf, 2.0):
            for name, p in net.named_parameters():
                p.grad = 4 * factor * gradients(1)[0][name]
            scaler._lazy_init_scale_growth_tracker(torch.device("cpu")) if scaler._scale is None else None
            scaler.step(optimizer)
            scaler.update()
    found = fs.open_runs(tmp_path)["a"].column("alignment/update")
    assert np.isfinite(found.values).all()
    assert found.values[-1] == pytest.approx(1, abs=1e-4)


def test_groups_that_join_and_mistakes(tmp_path: Path) -> None:
    net, extra = network(), nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for alignment in ("sampled", "exact"):
        with fs.record(net, optimizer, alignment, tmp_path, alignment=alignment):
            steps(net, optimizer, gradients(1, 1))
            if alignment == "sampled":
                optimizer.add_param_group({"params": [extra]})
            extra.grad = torch.ones(3)
            steps(net, optimizer, gradients(1, 1))
    for alignment in ("sampled", "exact"):
        values = fs.open_runs(tmp_path)[alignment].column("alignment/update").values
        assert values == pytest.approx(np.ones(len(values)), abs=1e-4)
        assert len(values) >= 2
    with pytest.raises(OptionError, match="alignment"):
        fs.record(net, optimizer, dir=tmp_path, alignment="some")
    with pytest.raises(OptionError, match="the one before"):
        fs.record(net, optimizer, dir=tmp_path, alignment="exact", every=2)


@pytest.mark.parametrize("alignment", ["sampled", "exact"])
def test_the_training_is_the_same(alignment: str, tmp_path: Path) -> None:
    plain, optimizer = network(), None
    optimizer = torch.optim.AdamW(plain.parameters(), 0.1)
    steps(plain, optimizer, gradients(1, 2, -1))
    seen = network()
    optimizer = torch.optim.AdamW(seen.parameters(), 0.1)
    with fs.record(seen, optimizer, "a", tmp_path, alignment=alignment):
        steps(seen, optimizer, gradients(1, 2, -1))
    for a, b in zip(plain.parameters(), seen.parameters(), strict=True):
        assert torch.equal(a, b)
