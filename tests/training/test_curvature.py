"""The largest curvature: against matrices whose eigenvalues are known and Hessians in float64; nothing left behind."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import InputError, ModelError, OptionError
from fluoroscope.training.recorder.requested.curvature import CurvatureMeter
from fluoroscope.training.recorder.requested.eigenvalue import largest_eigenvalue
from fluoroscope.training.recorder.requested.hessian import Differences, Flat, unable
from fluoroscope.training.recorder.requested.stability import stability


def symmetric(eigenvalues: list[float], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    n = len(eigenvalues)
    q = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=generator))[0]
    return q @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ q.T


class Quadratic(nn.Module):
    """A loss w H w / 2 of one vector of weights."""

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(len(matrix), dtype=matrix.dtype))
        self.matrix = matrix

    def forward(self) -> torch.Tensor:
        return self.w @ self.matrix @ self.w / 2


def net_and_loss(dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Callable[[], torch.Tensor]]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.BatchNorm1d(6), nn.Linear(6, 3)).to(dtype)
    x, y = torch.randn(16, 5, dtype=dtype), torch.randint(0, 3, (16,))
    return net, lambda: F.cross_entropy(net(x), y)


def whole_hessian(net: nn.Module, loss: Callable[[], torch.Tensor]) -> torch.Tensor:
    """Row by row."""
    parameters = list(net.parameters())
    grads = torch.autograd.grad(loss(), parameters, create_graph=True)
    flat = torch.cat([g.reshape(-1) for g in grads])
    rows = [torch.autograd.grad(g, parameters, retain_graph=True, allow_unused=True) for g in flat]
    return torch.stack(
        [
            torch.cat(
                [(torch.zeros_like(p) if g is None else g).reshape(-1) for g, p in zip(r, parameters, strict=True)]
            )
            for r in rows
        ]
    )


@pytest.mark.parametrize(
    "eigenvalues", [[3.0], [5.0, -50.0, 1.0], [float(i) for i in range(-40, 21)], [7.0] * 4 + [0.0] * 60, [0.0, 0.0]]
)
def test_the_largest_not_the_largest_in_magnitude(eigenvalues: list[float]) -> None:
    matrix = symmetric(eigenvalues)
    start = torch.randn(len(matrix), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = largest_eigenvalue(lambda v: matrix @ v, start, iterations=100, tolerance=1e-6)
    assert found.value == pytest.approx(max(eigenvalues), rel=1e-6, abs=1e-6)
    residual = float(torch.linalg.vector_norm(matrix @ found.vector - found.value * found.vector))
    assert found.residual * abs(found.value) == pytest.approx(residual, abs=1e-9)
    assert float(torch.linalg.vector_norm(found.vector)) == pytest.approx(1)


def test_a_start_on_another_eigenvector_is_left() -> None:
    matrix = torch.diag(torch.tensor([1.0, 9.0, 4.0], dtype=torch.float64))
    net = Quadratic(matrix)
    meter = CurvatureMeter(net, [torch.optim.SGD(net.parameters(), 0.1)], iterations=50, tolerance=1e-4)
    meter._last["plain"] = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    meter._count = 1
    assert meter(net).value == pytest.approx(9, rel=1e-3)


@pytest.mark.parametrize("differences", [False, True])
def test_against_the_whole_hessian(differences: bool) -> None:
    net, loss = net_and_loss()
    wanted = float(torch.linalg.eigvalsh(whole_hessian(net, loss))[-1])
    meter = CurvatureMeter(net, [torch.optim.SGD(net.parameters(), 0.1)], 60, 1e-5, _differences=differences)
    found = meter(loss)
    assert found.value == pytest.approx(wanted, rel=1e-4)
    assert found.how == ("differences of gradients" if differences else "second derivatives")
    assert found.loss == pytest.approx(float(loss().detach()))
    again = meter(loss)
    assert again.value == pytest.approx(wanted, rel=1e-4)
    assert again.products < found.products


def test_what_sgd_bears() -> None:
    p = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))]
    assert stability([torch.optim.SGD(p, 0.1)], p).limit == pytest.approx(20)
    assert stability([torch.optim.SGD(p, 0.1, momentum=0.9)], p).limit == pytest.approx(38)
    assert stability([torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True)], p).limit == pytest.approx(38 / 2.8)
    assert stability([torch.optim.SGD(p, 0.1, maximize=True)], p).limit is None
    assert stability([torch.optim.RMSprop(p, 0.1)], p).limit is None
    groups = [{"params": p[:1], "lr": 0.1}, {"params": p[1:], "lr": 0.025}]
    found = stability([torch.optim.SGD(groups, 0.1)], p)
    assert (found.limit, found.scales, found.scaled_limit) == (None, [1.0, 0.25], pytest.approx(20))


@pytest.mark.parametrize("kind", ["sgd", "momentum", "nesterov", "dampening", "groups", "adam", "amsgrad"])
def test_steps_grow_beyond_the_limit_and_shrink_below(kind: str) -> None:
    """The limit in practice: along a direction of curvature a hundredth above it weights grow, below they shrink."""

    def course(factor: float) -> list[float]:
        net = Quadratic(torch.diag(torch.tensor([1.0, 0.3], dtype=torch.float64)))
        options: dict[str, Any] = {
            "momentum": {"momentum": 0.9},
            "nesterov": {"momentum": 0.8, "nesterov": True},
            "dampening": {"momentum": 0.9, "dampening": 0.5},
        }.get(kind, {})
        if kind in ("adam", "amsgrad"):
            net.w.data *= 1e-6
            optimizer: Any = torch.optim.Adam(
                net.parameters(), 0.01, amsgrad=kind == "amsgrad", betas=(0.9, 1.0 - 1e-12)
            )
            optimizer.state[net.w] = {
                "step": torch.tensor(1e6, dtype=torch.float64),
                "exp_avg": torch.zeros(2, dtype=torch.float64),
                "exp_avg_sq": torch.tensor([1e-6, 4e-6], dtype=torch.float64),  # held by a second beta of nearly one
                **({"max_exp_avg_sq": torch.tensor([1e-6, 4e-6], dtype=torch.float64)} if kind == "amsgrad" else {}),
            }
        elif kind == "groups":
            extra = nn.Parameter(torch.ones(1, dtype=torch.float64))
            net.register_parameter("extra", extra)
            optimizer = torch.optim.SGD([{"params": [net.w], "lr": 0.5}, {"params": [extra], "lr": 0.1}])
        else:
            optimizer = torch.optim.SGD(net.parameters(), 0.1, **options)
        loss: Callable[[], torch.Tensor] = net
        if kind == "groups":
            loss = lambda: net() + 2 * net.extra.square().sum()  # noqa: E731
        meter = CurvatureMeter(net, [optimizer], 60, 1e-8)
        found = meter(loss)
        limit, value = (
            (found.limit, found.value)
            if found.preconditioned is None
            else (found.preconditioned_limit, found.preconditioned)
        )
        assert limit is not None
        scale = factor * limit / value
        sizes = []
        for _ in range(2000):
            optimizer.zero_grad()
            (scale * loss()).backward()
            optimizer.step()
            sizes.append(max(float(p.detach().abs().max()) for p in net.parameters()))
            if not sizes[-1] < 100 * sizes[0]:  # with Adam the second moment would end it
                break
        return sizes

    sizes = course(0.97)
    assert sizes[-1] < 0.1 * sizes[0]
    sizes = course(1.03)
    assert not sizes[-1] < 100 * sizes[0]


def test_adam_is_preconditioned_as_its_step_is() -> None:
    """P^-1 g is the step that Adam makes from rest: P read back from a real step."""
    net, loss = net_and_loss()
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2, weight_decay=0.0, eps=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    found = CurvatureMeter(net, [optimizer], 80, 1e-7)(loss)
    inverse = []
    for p in net.parameters():
        state = optimizer.state[p]
        t = float(state["step"])
        root = (state["exp_avg_sq"] / (1 - 0.999**t)).sqrt() + 1e-3
        inverse.append((1 / (1 - 0.9**t) / root).reshape(-1))
    matrix = torch.diag(torch.cat(inverse)) @ whole_hessian(net, loss)
    assert found.preconditioned == pytest.approx(float(torch.linalg.eigvals(matrix).real.max()), rel=1e-4)
    assert found.preconditioned_limit == pytest.approx(3800)
    assert found.limit is None


def state_of(net: nn.Module, optimizer: Any) -> list[torch.Tensor]:
    tensors = [t.clone() for t in net.state_dict().values()]
    grads = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    states = [t.clone() for s in optimizer.state.values() for t in s.values() if isinstance(t, torch.Tensor)]
    return [*tensors, *grads, *states, torch.get_rng_state()]


@pytest.mark.parametrize("differences", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_behind(differences: bool, fails: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.Dropout(), nn.BatchNorm1d(6), nn.Linear(6, 3))
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    x, y = torch.randn(16, 5), torch.randint(0, 3, (16,))
    F.cross_entropy(net(x), y).backward()
    optimizer.step()
    grads, calls = [p.grad for p in net.parameters()], [0]

    def loss() -> torch.Tensor:
        calls[0] += 1
        if fails and calls[0] == (4 if differences else 1):
            net(x).sum().backward()
            raise ZeroDivisionError
        return F.cross_entropy(net(x), y)

    with fs.record(net, optimizer, "a", tmp_path) as run:
        run._beside._meter._differences = differences
        pending = F.cross_entropy(net(x), y)
        before, versions = state_of(net, optimizer), [p._version for p in net.parameters()]
        if fails:
            with pytest.raises(ZeroDivisionError):
                run.curvature(loss)
        else:
            assert run.curvature(loss) is not None
        after = state_of(net, optimizer)
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        assert all(p.grad is g for p, g in zip(net.parameters(), grads, strict=True))
        assert [p._version for p in net.parameters()] == versions
        pending.backward()  # a backward that was waiting goes on


def train(folder: Path | None, **options: Any) -> nn.Module:
    net, loss = net_and_loss(torch.float32)
    net.append(nn.Dropout(0.2))
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)

    def steps() -> None:
        for _ in range(7):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()

    if folder is None:
        steps()
    else:
        with fs.record(net, optimizer, "a", folder, curvature=loss, activations_every=1, **options):
            steps()
    return net


def test_a_training_with_it_is_bit_for_bit_the_same(tmp_path: Path) -> None:
    plain, recorded = train(None), train(tmp_path, curvature_every=3)
    for a, b in zip(plain.state_dict().values(), recorded.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    run = fs.open_runs(tmp_path)["a"]
    assert run.column("curvature/largest").steps.tolist() == [1, 4, 7]
    assert run.column("curvature/limit").values.tolist() == pytest.approx([38.0] * 3)
    assert (run.column("curvature_residual/plain").values <= 0.05).all()
    assert run.column("time/curvature").values.min() > 0
    history = run.tensor_history()
    assert np.isfinite(history.statistics["activation/std"][history.names.index("0")]).all()


def test_between_the_forwards_of_a_training(tmp_path: Path) -> None:
    """A measurement before a step's forward does not take its place in the activations."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(net.parameters(), 0.0)
    with fs.record(net, optimizer, "a", tmp_path, activations_every=1) as run:
        run.curvature(lambda: net(torch.full((4, 2), 100.0)).square().mean())
        net(torch.zeros(4, 2)).sum().backward()
        optimizer.step()
    history = fs.open_runs(tmp_path)["a"].tensor_history()
    largest = history.statistics["activation/max"][history.names.index("0"), 0]
    assert largest == pytest.approx(float(net[0].bias.detach().max()))


def test_networks_without_a_second_derivative(tmp_path: Path) -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            return 3 * ctx.saved_tensors[0] ** 2 * grad

    net = Quadratic(torch.eye(4, dtype=torch.float64))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    meter = CurvatureMeter(net, [optimizer])
    found = meter(lambda: Once.apply(net.w).sum())
    assert found.how == "differences of gradients"
    assert found.value == pytest.approx(6, rel=1e-4)
    noisy = iter(range(100))
    with pytest.raises(InputError, match="same loss each time"):
        meter(lambda: Once.apply(net.w).sum() * next(noisy))
    coarse = nn.Linear(2, 1).to(torch.bfloat16)
    with pytest.raises(ModelError, match="coarse"):
        Differences(lambda: coarse(torch.ones(1, 2)).sum(), Flat(list(coarse.parameters())), [])


def test_attention_and_linear_losses() -> None:
    """Attention has a second derivative in one of its forms; a loss that is linear has none to speak of."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    x = torch.randn(2, 5, 8)
    assert CurvatureMeter(layer, [optimizer])(lambda: layer(x).square().mean()).how == "second derivatives"
    line = nn.Linear(3, 1)
    found = CurvatureMeter(line, [torch.optim.SGD(line.parameters(), 0.1)])(lambda: line(torch.ones(2, 3)).sum())
    assert (found.value, found.residual) == (0.0, 0.0)


def test_mistakes(tmp_path: Path) -> None:
    net, loss = net_and_loss(torch.float32)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)

    def with_backward() -> torch.Tensor:
        found = loss()
        found.backward()
        return found

    wrong: list[tuple[Any, str]] = [
        (lambda: 3.0, "returns the loss"),
        (lambda: torch.ones(2), "returns the loss"),
        (lambda: loss().detach(), "depends on the parameters"),
        (with_backward, "backward"),
    ]
    with fs.record(net, optimizer, "a", tmp_path) as run:
        for function, words in wrong:
            with pytest.raises(InputError, match=words):
                run.curvature(function)
        assert all(p.grad is None for p in net.parameters())
    with pytest.raises(OptionError, match="curvature_every"):
        fs.record(net, optimizer, "b", tmp_path, curvature_every=0)


def test_what_fails_later_does_not_end_a_training(tmp_path: Path) -> None:
    net, loss = net_and_loss(torch.float32)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    calls: list[int] = []

    def sometimes() -> torch.Tensor:
        calls.append(run.step)
        if run.step > 1:
            raise RuntimeError("out of memory")
        return loss()

    with (
        pytest.warns(RuntimeWarning, match="out of memory"),
        fs.record(net, optimizer, "a", tmp_path, curvature=sometimes, curvature_every=1) as run,
    ):
        for _ in range(4):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
    found = fs.open_runs(tmp_path)["a"]
    assert max(calls) == 2
    assert found.state == "finished"
    assert found.column("curvature/largest").steps.tolist() == [1]
    assert "out of memory" in found.facts["recorder"]["notes"][0]
    with (
        pytest.raises(RuntimeError, match="out of memory"),
        fs.record(net, optimizer, "b", tmp_path, curvature=sometimes) as run,
    ):
        run.step = 5
        optimizer.step()


@pytest.mark.slow
def test_a_compiled_network() -> None:
    net, _ = net_and_loss(torch.float32)
    x, y = torch.randn(16, 5), torch.randint(0, 3, (16,))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    wanted = CurvatureMeter(net, [optimizer], 60, 1e-3)(lambda: F.cross_entropy(net(x), y)).value
    compiled: Any = torch.compile(net, backend="aot_eager")
    found = CurvatureMeter(compiled, [optimizer], 60, 1e-3)(lambda: F.cross_entropy(compiled(x), y))
    assert found.how == "differences of gradients"
    assert found.value == pytest.approx(wanted, rel=0.01)


def test_what_says_that_there_is_no_second_derivative() -> None:
    """What a compiled network says depends on whether its backward gives buffers away."""
    for text in (
        "torch.compile with aot_autograd does not currently support double backward",
        "This backward function was compiled with non-empty donated buffers which requires create_graph=False",
        "derivative for aten::_scaled_dot_product_flash_attention_for_cpu_backward is not implemented",
    ):
        assert unable(RuntimeError(text))
    assert not unable(RuntimeError("out of memory"))


def test_a_nan_is_recorded_and_forgotten(tmp_path: Path) -> None:
    net = Quadratic(torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64)))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    meter = CurvatureMeter(net, [optimizer])
    broken = copy.deepcopy(net.matrix)
    net.matrix = broken * math.nan
    assert math.isnan(meter(net).value)
    net.matrix = broken
    assert meter(net).value == pytest.approx(2, rel=1e-3)
