"""The recorder on trainings as they are: accumulation, clipping, mixed precision, several optimizers, odd tensors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs
from fluoroscope.results import TensorHistory
from tests.training.test_record import Net, close, data, made, naive, step


def read(folder: Path) -> TensorHistory:
    return fs.open_runs(folder)["a"].tensor_history()


def value(history: TensorHistory, quantity: str, name: str, at: int = 0) -> float:
    return float(history.statistics[quantity][history.names.index(name), at])


def gradient(net: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
    """What autograd says, without an optimizer near."""
    return list(torch.autograd.grad(F.cross_entropy(net(inputs), labels), list(net.parameters())))


def test_accumulated_gradients(tmp_path: Path) -> None:
    net, optimizer = made("SGD")
    net.eval()  # batch statistics would make halves differ from the whole
    inputs, labels = data(16)
    wanted = gradient(net, inputs, labels)
    with fs.record(net, optimizer, "a", tmp_path):
        for part in range(4):
            rows = slice(4 * part, 4 * part + 4)
            (F.cross_entropy(net(inputs[rows]), labels[rows]) / 4).backward()
        optimizer.step()
    history = read(tmp_path)
    assert history.steps.tolist() == [1]
    for (name, _), tensor in zip(net.named_parameters(), wanted, strict=True):
        assert math.isclose(value(history, "gradient/norm", name), naive(tensor)["norm"], rel_tol=1e-4, abs_tol=1e-8)


def test_before_and_after_clipping(tmp_path: Path) -> None:
    net, optimizer = made("SGD")
    limit = 0.01
    with fs.record(net, optimizer, "a", tmp_path / "after"):
        F.cross_entropy(net(data()[0]), data()[1]).backward()
        nn.utils.clip_grad_norm_(net.parameters(), limit)
        optimizer.step()
    run = fs.open_runs(tmp_path / "after")["a"]
    assert run.column("norm/gradient").values[0] == pytest.approx(limit, rel=1e-4)
    assert "after clipping" in run.facts["recorder"]["gradient"]
    net, optimizer = made("SGD")
    wanted = torch.cat([g.reshape(-1) for g in gradient(made("SGD")[0], *data())])
    with fs.record(net, optimizer, "a", tmp_path / "before") as recording:
        F.cross_entropy(net(data()[0]), data()[1]).backward()
        recording.before_clipping()
        nn.utils.clip_grad_norm_(net.parameters(), limit)
        optimizer.step()
    run = fs.open_runs(tmp_path / "before")["a"]
    assert run.column("norm/gradient").values[0] == pytest.approx(naive(wanted)["norm"], rel=1e-5)
    assert run.column("norm/gradient_clipped").values[0] == pytest.approx(limit, rel=1e-4)
    assert "before clipping" in run.facts["recorder"]["gradient"]
    assert np.nanmax(read(tmp_path / "before").statistics["gradient/norm"]) > limit


def scaler(scale: float) -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)


@pytest.mark.parametrize("unscale_first", [False, True])
def test_mixed_precision_is_unscaled(unscale_first: bool, tmp_path: Path) -> None:
    net, optimizer = made("SGD")
    wanted = gradient(made("SGD")[0], *data())
    grad_scaler = scaler(2.0**14)
    with fs.record(net, optimizer, "a", tmp_path, scaler=grad_scaler):
        grad_scaler.scale(F.cross_entropy(net(data()[0]), data()[1])).backward()
        if unscale_first:
            grad_scaler.unscale_(optimizer)
        grad_scaler.step(optimizer)
        grad_scaler.update()
    assert "step" not in vars(grad_scaler)
    history = read(tmp_path)
    for (name, _), tensor in zip(net.named_parameters(), wanted, strict=True):
        assert close(value(history, "gradient/norm", name), naive(tensor)["norm"], 1e-3)
    assert fs.open_runs(tmp_path)["a"].column("amp/scale").values.tolist() == [2.0**14]


def test_a_fused_optimizer_unscales_by_itself(tmp_path: Path) -> None:
    """The gradients are still scaled when the optimizer gets them; the record says what it uses."""
    net, optimizer = made("SGD", fused=True)
    wanted = gradient(made("SGD")[0], *data())
    grad_scaler = scaler(2.0**10)
    with fs.record(net, optimizer, "a", tmp_path, scaler=grad_scaler, exact_every=1):
        grad_scaler.scale(F.cross_entropy(net(data()[0]), data()[1])).backward()
        grad_scaler.step(optimizer)
        grad_scaler.update()
    history = read(tmp_path)
    for (name, _), tensor in zip(net.named_parameters(), wanted, strict=True):
        for key in ("norm", "mean", "max"):
            assert close(value(history, f"gradient/{key}", name), naive(tensor)[key], 1e-2), (name, key)


def test_a_step_left_out_by_the_scaler_is_recorded(tmp_path: Path) -> None:
    net, optimizer = made("SGD")
    grad_scaler = scaler(2.0**8)
    with fs.record(net, optimizer, "a", tmp_path, scaler=grad_scaler) as run:
        for poison in (1.0, math.inf, 1.0):
            optimizer.zero_grad()
            grad_scaler.scale(F.cross_entropy(net(data()[0]), data()[1]) * poison).backward()
            grad_scaler.step(optimizer)
            grad_scaler.update()
        assert run.step == 2
    found = fs.open_runs(tmp_path)["a"]
    assert found.column("amp/skipped").values.tolist() == [1.0]
    norms = found.column("norm/gradient").values
    assert np.isfinite(norms).tolist() == [True, False, True]
    assert found.column("norm/update").values[1] == 0
    assert found.column("amp/scale").values.tolist() == [256.0, 256.0, 128.0]


def test_a_closure_computes_gradients_inside_the_step(tmp_path: Path) -> None:
    net, optimizer = made("SGD")
    wanted = gradient(made("SGD")[0], *data())

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(data()[0]), data()[1])
        loss.backward()
        return loss

    with fs.record(net, optimizer, "a", tmp_path, exact_every=1):
        optimizer.step(closure)
    history = read(tmp_path)
    for (name, _), tensor in zip(net.named_parameters(), wanted, strict=True):
        assert close(value(history, "gradient/norm", name), naive(tensor)["norm"], 1e-3)
        assert close(value(history, "update/norm", name), 0.01 * naive(tensor)["norm"], 1)


def test_several_optimizers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    nets = nn.ModuleDict({"critic": nn.Linear(4, 2), "maker": nn.Linear(4, 3)})
    critic = torch.optim.SGD(nets["critic"].parameters(), 0.1)
    maker = torch.optim.Adam(nets["maker"].parameters(), 0.2)
    with fs.record(nets, [critic, maker], "a", tmp_path) as run:
        for i in range(6):
            nets["critic"](torch.ones(1, 4)).sum().backward()
            critic.step()
            if i % 3 == 2:
                nets["maker"](torch.ones(1, 4)).sum().backward()
                maker.step()
            run.log(i=i)
    found = fs.open_runs(tmp_path)["a"]
    history = found.tensor_history()
    assert [n for n in history.names if "." in n] == ["critic.weight", "critic.bias", "maker.weight", "maker.bias"]
    assert found.column("i").steps.tolist() == [1, 2, 3, 4, 5, 6]
    row = history.names.index("maker.weight")
    assert history.steps[history.recorded["update/norm"][row]].tolist() == [3, 6]
    assert set(found.column("learning_rate/0").values) == {0.1}
    assert found.column("learning_rate/1").steps.tolist() == [3, 6]


def test_parameters_that_join_and_rates_by_group(tmp_path: Path) -> None:
    net = Net()
    optimizer = torch.optim.SGD([{"params": net.out.parameters(), "name": "head"}], 0.1)
    with fs.record(net, optimizer, "a", tmp_path):
        step(net, optimizer)
        optimizer.add_param_group({"params": net.conv.parameters(), "lr": 0.01, "name": "body"})
        step(net, optimizer)
        optimizer.param_groups[1]["lr"] = 0.001
        step(net, optimizer)
    history = read(tmp_path)
    seen = {n: history.recorded["gradient/norm"][i].tolist() for i, n in enumerate(history.names)}
    assert seen["out.weight"] == [True, True, True]
    assert seen["conv.weight"] == [False, True, True]
    found = fs.open_runs(tmp_path)["a"]
    assert found.column("learning_rate/body").values.tolist() == [0.01, 0.001]
    assert value(history, "update/norm", "conv.weight", 1) == pytest.approx(
        0.01 * value(history, "gradient/norm", "conv.weight", 1), rel=1e-4
    )


def test_frozen_and_unused_parameters(tmp_path: Path) -> None:
    """No gradient is not the same as a gradient of zero or of NaN."""
    net, optimizer = made("SGD")
    net.conv.weight.requires_grad_(False)
    with fs.record(net, optimizer, "a", tmp_path, exact_every=1):
        step(net, optimizer)
    history = read(tmp_path)
    row = history.names.index("conv.weight")
    for quantity in ("gradient/norm", "gradient/mean", "gradient/zero_share"):
        assert not history.recorded[quantity][row, 0]
    assert history.recorded["gradient/norm"][history.names.index("conv.bias"), 0]
    assert history.histograms["gradient"].counts[row].sum() == 0
    assert value(history, "update/norm", "conv.weight") == 0
    assert value(history, "weight/norm", "conv.weight") == pytest.approx(naive(net.conv.weight)["norm"], rel=1e-6)


@pytest.mark.parametrize("exact_every", [0, 1])
def test_sparse_gradients(exact_every: int, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Embedding(40, 5, sparse=True))
    optimizer = torch.optim.SparseAdam(net.parameters(), 0.1)
    with fs.record(net, optimizer, "a", tmp_path, exact_every=exact_every):
        (net(torch.tensor([[3, 3, 7, 39]])) * torch.arange(1.0, 6.0)).sum().backward()
        dense = net[0].weight.grad.to_dense()
        optimizer.step()
    history = read(tmp_path)
    for key, wanted in naive(dense).items():
        assert close(value(history, f"gradient/{key}", "0.weight"), wanted, 10), key
    assert history.histograms["gradient"].counts[history.names.index("0.weight")].sum() == 200


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.complex64])
def test_number_formats(dtype: torch.dtype, tmp_path: Path) -> None:
    """Norms are added up in float32 at least; an update that is lost in rounding is told as no update."""
    torch.manual_seed(0)
    net = nn.ParameterDict({"w": torch.randn(90, 70).to(dtype), "b": torch.ones(50).to(dtype)})
    optimizer = torch.optim.SGD(net.parameters(), 1.0)
    before = {n: p.detach().clone() for n, p in net.items()}
    with fs.record(net, optimizer, "a", tmp_path, sample=20_000, activations=False):
        for p in net.values():
            p.grad = torch.randn_like(p) * 0.01
        net["b"].grad = torch.full_like(net["b"], 1e-5)
        optimizer.step()
    history = read(tmp_path)

    def real(tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.detach().to(torch.complex128 if dtype.is_complex else torch.float64)
        return torch.view_as_real(tensor) if dtype.is_complex else tensor

    for name, p in net.items():
        for quantity, tensor in {
            "gradient": real(p.grad), "weight": real(p), "update": real(p) - real(before[name]),
        }.items():  # fmt: skip
            for key, wanted in naive(tensor).items():
                assert close(value(history, f"{quantity}/{key}", name), wanted, 1), (name, quantity, key)
    if dtype in (torch.bfloat16, torch.float16):
        assert value(history, "update/norm", "b") == 0


def test_layouts_in_memory(tmp_path: Path) -> None:
    """channels_last, transposed and scattered parameters."""
    net, optimizer = made("SGD")
    net.to(memory_format=torch.channels_last)
    net.odd = nn.Parameter(torch.randn(6, 8)[:, ::2])
    net.turned = nn.Parameter(torch.randn(6, 8).t())
    optimizer.add_param_group({"params": [net.odd, net.turned]})
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    with fs.record(net, optimizer, "a", tmp_path, exact_every=0, sample=4096):
        for p in net.parameters():
            p.grad = torch.randn_like(p)
        optimizer.step()
    history = read(tmp_path)
    for name, p in net.named_parameters():
        for quantity, tensor in {"gradient": p.grad, "weight": p.detach(), "update": p.detach() - before[name]}.items():
            for key, wanted in naive(tensor).items():
                assert close(value(history, f"{quantity}/{key}", name), wanted, 10), (name, quantity, key)


def test_changes_by_others_are_not_updates(tmp_path: Path) -> None:
    net, optimizer = made("SGD")
    with fs.record(net, optimizer, "a", tmp_path):
        step(net, optimizer)
        with torch.no_grad():
            for p in net.parameters():
                p.mul_(3.0)
        before = net.out.weight.detach().clone()
        step(net, optimizer)
    wanted = naive(net.out.weight.detach() - before)["norm"]
    assert value(read(tmp_path), "update/norm", "out.weight", 1) == pytest.approx(wanted, rel=1e-5)


def test_weights_that_move_in_memory(tmp_path: Path) -> None:
    net, optimizer = made("SGD")
    with fs.record(net, optimizer, "a", tmp_path):
        step(net, optimizer)
        net.out.weight.data = net.out.weight.data.clone() * 2
        before = net.out.weight.detach().clone()
        step(net, optimizer)
        after = net.out.weight.detach().clone()
    history = read(tmp_path)
    assert value(history, "update/norm", "out.weight", 1) == pytest.approx(naive(after - before)["norm"], rel=1e-5)
    assert value(history, "weight/norm", "out.weight", 1) == pytest.approx(naive(after)["norm"], rel=1e-6)


def test_every_so_many_steps(tmp_path: Path) -> None:
    net, optimizer = made("SGD")
    with fs.record(net, optimizer, "a", tmp_path, every=3, activations=False) as run:
        for i in range(8):
            before = net.out.weight.detach().clone()
            run.log(loss=step(net, optimizer, i))
            if i == 6:
                wanted = naive(net.out.weight.detach() - before)["norm"]
    history = read(tmp_path)
    assert history.steps.tolist() == [1, 4, 7]
    assert value(history, "update/norm", "out.weight", 2) == pytest.approx(wanted, rel=1e-5)
    assert len(fs.open_runs(tmp_path)["a"].column("loss")) == 8


def test_updates_estimated_from_samples(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Linear(300, 200)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with fs.record(net, optimizer, "a", tmp_path, updates="sampled"):
        for p in net.parameters():
            p.grad = torch.randn_like(p)
        optimizer.step()
    wanted = 0.1 * naive(net.weight.grad)["norm"]
    history = read(tmp_path)
    assert value(history, "update/norm", "weight") == pytest.approx(wanted, rel=5 / math.sqrt(2 * 500))
    assert history.meta["update_norm"] == "estimated from samples"
    assert [n for n in history.notes if "estimated from samples of 512 entries, as asked for" in n]


def test_weights_that_are_too_large_for_a_copy_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluoroscope.training.recorder.optimizer_watch.COPY_LIMIT", 100)
    for updates in ("auto", "exact"):
        net, optimizer = made("SGD")
        with fs.record(net, optimizer, updates, tmp_path, updates=updates):
            step(net, optimizer)
    found = {k: fs.open_runs(tmp_path)[k].tensor_history() for k in ("auto", "exact")}
    assert [n for n in found["auto"].notes if "more than 1 GiB; updates='exact'" in n]
    assert found["auto"].meta["update_norm"] == "estimated from samples"
    assert found["exact"].meta["update_norm"] == "exact"
    assert not found["exact"].notes


def test_a_run_goes_on(tmp_path: Path) -> None:
    net, optimizer = made("SGD")
    for _ in range(2):
        with fs.record(net, optimizer, "a", tmp_path, resume=True) as run:
            for i in range(3):
                run.log(loss=step(net, optimizer, i))
    found = fs.open_runs(tmp_path)
    assert list(found) == ["a"]
    assert found["a"].column("loss").steps.tolist() == [1, 2, 3, 4, 5, 6]
    assert found["a"].tensor_history().steps.tolist() == [1, 2, 3, 4, 5, 6]


def test_a_run_goes_on_from_an_older_checkpoint(tmp_path: Path) -> None:
    net, optimizer = made("SGD")
    options: dict[str, Any] = {"exact_every": 4, "sample": 16}
    with fs.record(net, optimizer, "a", tmp_path, **options) as run:
        for i in range(7):
            run.log(loss=step(net, optimizer, i))
    with torch.no_grad():
        net.conv.weight.add_(1.0)
    with fs.record(net, optimizer, "a", tmp_path, resume=True, after_step=3, **options) as run:
        assert run.step == 3
        for i in range(3):
            run.log(loss=step(net, optimizer, i))
    found = fs.open_runs(tmp_path)["a"]
    assert found.column("loss").steps.tolist() == [1, 2, 3, 4, 5, 6, 7, 4, 5, 6]
    history = found.tensor_history()
    assert history.steps.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert history.meta["exact_steps"] == [1, 4]  # step 5 was exact before, and is a sample of what came after
    means = dict(zip(history.names, history.statistics["weight/mean"], strict=True))["conv.weight"]
    assert (means[[3, 4, 5]] > 0.5).all() and abs(means[6]) < 0.5
    assert not [f for f in fs.diagnose(found) if f.severity == "problem"]


def test_a_compiled_network(tmp_path: Path) -> None:
    net, optimizer = made("SGD")
    compiled: Any = torch.compile(net, backend="eager")
    with fs.record(compiled, optimizer, "a", tmp_path):
        step(compiled, optimizer)
    history = read(tmp_path)
    assert history.names[:2] == ("conv.weight", "conv.bias")
    assert "activation/std" not in history.statistics
    (note,) = history.meta["notes"]
    assert note.startswith("activations are not seen in a compiled network; activations='eager'")
    wanted = gradient(made("SGD")[0], *data())
    assert value(history, "gradient/norm", "conv.weight") == pytest.approx(naive(wanted[0])["norm"], rel=1e-4)


@pytest.mark.parametrize("wrap", ["whole", "part", "in place"])
def test_activations_of_a_compiled_network(wrap: str, tmp_path: Path) -> None:
    """One more forward: the numbers of the network that is not compiled, and the training as without."""

    def train(folder: Path | None, compiles: bool) -> nn.Module:
        net, optimizer = made("SGD")
        model: Any = net
        if compiles and wrap == "whole":
            model = torch.compile(net, backend="eager")
        elif compiles and wrap == "part":
            net.act = torch.compile(net.act, backend="eager")  # type: ignore[assignment]
        elif compiles:
            net.compile(backend="eager")
        call = net._compiled_call_impl
        torch.manual_seed(3)
        if folder is None:
            for i in range(3):
                step(model, optimizer, i)
        else:
            with fs.record(model, optimizer, "a", folder, activations="eager", activations_every=2):
                for i in range(3):
                    step(model, optimizer, i)
        assert net._compiled_call_impl is call
        return net

    plain, seen = train(None, True), train(tmp_path / "compiled", True)
    for a, b in zip(plain.state_dict().values(), seen.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    found = read(tmp_path / "compiled")
    (note,) = found.notes
    assert "one more forward" in note
    train(tmp_path / "eager", False)
    wanted = read(tmp_path / "eager")
    assert not wanted.notes
    for name in ("conv", "bn", "hidden", "act", "out"):
        for column in (0, 2):
            assert value(found, "activation/std", name, column) == value(wanted, "activation/std", name, column)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_forward_that_is_not_possible_without_compiling_is_told(in_place: bool, tmp_path: Path) -> None:
    class Only(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)
            self.compiled = False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not torch.compiler.is_compiling():
                raise RuntimeError("only compiled")
            return self.layer(x)

    net = Only()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    model: Any = net
    if in_place:
        net.compile(backend="eager")
    else:
        model = torch.compile(net, backend="eager")
    with fs.record(model, optimizer, "a", tmp_path, activations="eager", activations_every=1):
        for _ in range(2):
            model(torch.ones(3, 4)).sum().backward()
            optimizer.step()
    notes = fs.open_runs(tmp_path)["a"].facts["recorder"]["notes"]
    assert "only compiled" in notes[1]
    assert len(notes) == 2


def test_activations(tmp_path: Path) -> None:
    """Modules and functions, dead and saturated units, the first batch of a step only, never an evaluation."""
    net, optimizer = made("SGD")
    with torch.no_grad():
        net.bn.bias[0] = -100.0  # a channel that is dead behind the rectifier
        net.hidden.weight *= 1000  # a saturated tanh
    inputs, labels = data(n=7)  # no output has more entries than are looked at
    with torch.no_grad():
        copy = Net()
        copy.load_state_dict(net.state_dict())
        x = F.relu(copy.bn(copy.conv(inputs)))
        hidden = copy.hidden(x.flatten(1))
    with fs.record(net, optimizer, "a", tmp_path):
        with torch.no_grad():
            net.eval()(inputs * 100)
        net.train()
        F.cross_entropy(net(inputs), labels).backward()
        F.cross_entropy(net(inputs * 100), labels).backward()
        optimizer.step()
    history = read(tmp_path)
    assert list(history.names) == [
        "conv.weight", "conv.bias", "conv", "bn.weight", "bn.bias", "bn", ":relu", "hidden.weight", "hidden.bias",
        "hidden", "act", "out.weight", "out.bias", "out",
    ]  # fmt: skip
    for name, tensor in {":relu": x, "hidden": hidden, "act": hidden.tanh()}.items():
        for key in ("mean", "std", "min", "max", "zero_share"):
            assert close(value(history, f"activation/{key}", name), naive(tensor)[key], 1e3), (name, key)
    assert value(history, "activation/dead", ":relu") == 0.25
    assert value(history, "activation/saturated", "act") == pytest.approx(
        float((hidden.tanh().abs() > 0.99).double().mean())
    )
    assert not history.recorded["activation/dead"][history.names.index("conv"), 0]


def test_names_of_parameters_without_a_place(tmp_path: Path) -> None:
    net, other = nn.Linear(2, 2), nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([*net.parameters(), other], 0.1)
    with fs.record(net, optimizer, "a", tmp_path):
        other.grad = torch.ones(3)
        optimizer.step()
    history = read(tmp_path)
    assert value(history, "gradient/norm", "optimizer.group0.2") == pytest.approx(math.sqrt(3))
    assert not history.recorded["gradient/norm"][history.names.index("weight"), 0]
