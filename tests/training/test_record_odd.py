"""Trainings that do what is rare: optimizers that put new tensors in the place of weights, networks that are copied
while they are watched, two adversaries, schedules that write into tensors.
"""

from __future__ import annotations

import copy
import gc
import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import InputError
from fluoroscope.training.recorder import packed
from fluoroscope.training.recorder.samples import Samples

INPUTS = torch.linspace(-1, 1, 24).reshape(4, 6)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def hooks(module: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


class Replacing(torch.optim.Optimizer):
    """What many write by hand: new tensors take the place of the old ones."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for p in self.param_groups[0]["params"]:
            p.data = p.data - 0.1 * p.grad


def trained(net: nn.Module, optimizer: torch.optim.Optimizer, after: Any, steps: int, **options: Any) -> list[Any]:
    """Norms of the true updates by step and parameter; ``after()`` is called between steps."""
    wanted = []
    with fs.record(net, optimizer, "a", **options):
        for _ in range(steps):
            optimizer.zero_grad()
            net(INPUTS).square().sum().backward()
            before = [p.detach().clone() for p in net.parameters()]
            optimizer.step()
            wanted.append([float((p.detach() - b).norm()) for p, b in zip(net.parameters(), before, strict=True)])
            after()
    return wanted


def updates(folder: Path, net: nn.Module) -> Any:
    found = fs.open_runs(folder)["a"].tensor_history()
    rows = [found.names.index(name) for name, _ in net.named_parameters()]
    return found.statistics["update/norm"][rows].T


@pytest.mark.parametrize("small", [1 << 16, 0])
@pytest.mark.parametrize("which", ["replaced by the optimizer", "clamped", "replaced in between"])
def test_updates_are_those_of_the_step_alone(
    which: str, small: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(packed, "SMALL", small)  # zero: tensors are read one by one
    net = network()

    def after() -> None:
        for p in net.parameters():
            if which == "clamped":
                p.data.clamp_(-0.05, 0.05)  # as Wasserstein GANs do
            elif which == "replaced in between":
                p.data = 1.5 * p.data

    made = Replacing if which == "replaced by the optimizer" else lambda ps: torch.optim.SGD(ps, 0.01)
    wanted = trained(net, made(net.parameters()), after, 5, dir=tmp_path)
    np.testing.assert_allclose(updates(tmp_path, net), wanted, rtol=1e-5)


def test_an_optimizer_that_changes_the_shape_of_a_weight_ends_no_training(tmp_path: Path) -> None:
    net = nn.Linear(4, 1, bias=False)

    class Growing(Replacing):
        @torch.no_grad()
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            p = self.param_groups[0]["params"][0]
            p.data = torch.cat([p.data, p.data[:1]])

    with fs.record(net, Growing(net.parameters()), "a", tmp_path) as run:
        for i in range(3):
            net.zero_grad()
            net(torch.ones(1, 4)).sum().backward()
            run._optimizers[0].step()
            assert len(net.weight) == i + 2
    assert fs.open_runs(tmp_path)["a"].column("learning_rate").steps.tolist() == [1, 2, 3]


def test_weights_that_move_at_every_step_cost_no_memory(tmp_path: Path) -> None:
    net = network()
    optimizer, sizes = Replacing(net.parameters()), []
    with fs.record(net, optimizer, "a", tmp_path) as run:
        for i in range(10):
            net(INPUTS).sum().backward()
            optimizer.step()
            if i in (1, 9):
                gc.collect()
                sizes.append(sum(type(o) is Samples for o in gc.get_objects()))
        assert sizes[0] == sizes[1]
        assert len(run._writer._tensors._known) <= 4  # type: ignore[union-attr]


def test_a_network_is_copied_and_saved_without_the_hooks(tmp_path: Path) -> None:
    net = network()
    seen = []
    own = net[0].register_forward_hook(lambda *_: seen.append(1))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    before = {name: dict(vars(m)) for name, m in net.named_modules()}
    own.remove()
    with fs.record(net, optimizer, "a", tmp_path) as run:
        assert hooks(net) == 2 * len(list(net.modules()))  # the next forward is looked at
        file = io.BytesIO()
        torch.save(net, file)
        copies = [copy.deepcopy(net), pickle.loads(pickle.dumps(net, 2)), copy.deepcopy(copy.deepcopy(net))]
        file.seek(0)
        copies.append(torch.load(file, weights_only=False))
        assert b"fluoroscope" not in file.getvalue()
        net(INPUTS).square().sum().backward()
        optimizer.step()
        run.log(loss=1.0)
    for copied in copies:
        assert type(copied) is nn.Sequential
        assert hooks(copied) == 0
        assert not any("__reduce_ex__" in vars(m) for m in copied.modules())
        assert copied[0].weight.data_ptr() != net[0].weight.data_ptr()
        torch.testing.assert_close(copied(INPUTS), network()(INPUTS), rtol=0, atol=0)
    assert hooks(net) == 0
    assert {name: vars(m).keys() for name, m in net.named_modules()} == {n: v.keys() for n, v in before.items()}
    assert fs.open_runs(tmp_path)["a"].tensor_history(["activation/std"]).recorded["activation/std"].any()


class Own(nn.Module):
    """Copies itself as some networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def __getstate__(self) -> Any:
        return {**self.__dict__, "note": "mine"}

    def __deepcopy__(self, memo: Any) -> Own:
        memo[id(self)] = made = type(self).__new__(type(self))
        made.__dict__.update({k: copy.deepcopy(v, memo) for k, v in self.__dict__.items()})
        return made


def test_hooks_of_the_user_stay_in_copies_and_ways_of_ones_own_are_kept(tmp_path: Path) -> None:
    net = Own()
    net.inner.register_forward_hook(_doubled)
    first = fs.record(net, torch.optim.SGD(net.parameters(), 0.1), "a", tmp_path)
    second = fs.record(net, torch.optim.SGD(net.parameters(), 0.1), "b", tmp_path)
    first.start()
    second.start()
    pickled, copied = pickle.loads(pickle.dumps(net)), copy.deepcopy(net)
    assert pickled.note == "mine"
    assert hooks(pickled) == 1
    first.close()
    assert hooks(pickle.loads(pickle.dumps(net))) == 1
    second.close()
    assert hooks(net) == 1
    assert not any("__reduce_ex__" in vars(m) for m in net.modules())
    for made in (pickled, copied, pickle.loads(pickle.dumps(copied))):
        assert next(iter(made.inner._forward_hooks.values())) is _doubled


def _doubled(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
    return 2 * output


def test_a_copy_that_runs_is_not_the_network(tmp_path: Path) -> None:
    net = Own()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    net.forward = net.inner.forward  # type: ignore[method-assign]
    with fs.record(net, optimizer, "a", tmp_path) as run:
        average = copy.deepcopy(net.inner)
        average(torch.full((2, 3), 100.0))
        net.inner(torch.zeros(2, 3)).sum().backward()
        optimizer.step()
        run.log(loss=1.0)
    found = fs.open_runs(tmp_path)["a"].tensor_history(["activation/max"])
    assert found.statistics["activation/max"][found.names.index("inner"), 0] < 10


@pytest.mark.parametrize(
    "rate", [torch.tensor([0.1]), torch.tensor(0.1, dtype=torch.bfloat16), torch.tensor(0.1, requires_grad=True)]
)
def test_learning_rates_that_are_tensors(rate: torch.Tensor, tmp_path: Path) -> None:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    optimizer.param_groups[0]["lr"] = rate
    with fs.record(net, optimizer, "a", tmp_path), warnings.catch_warnings():
        warnings.simplefilter("error")
        net(INPUTS).sum().backward()
        with torch.no_grad():
            optimizer.step()
    assert fs.open_runs(tmp_path)["a"].column("learning_rate").values == pytest.approx([0.1], rel=2e-3)


def test_groups_of_one_name_have_a_rate_each(tmp_path: Path) -> None:
    net = network()
    groups = [{"params": net[i].parameters(), "name": "part", "lr": 0.1 * (i + 1)} for i in (0, 2)]
    optimizer = torch.optim.SGD(groups)
    with fs.record(net, optimizer, "a", tmp_path):
        net(INPUTS).sum().backward()
        optimizer.step()
    run = fs.open_runs(tmp_path)["a"]
    assert {n: float(run.column(n).values[0]) for n in run.names() if n.startswith("learning_rate")} == {
        "learning_rate/part 0": pytest.approx(0.1),
        "learning_rate/part 1": pytest.approx(0.3),
    }


def test_gradients_that_are_lazily_conjugate(tmp_path: Path) -> None:
    net = nn.Module()
    net.w = nn.Parameter(torch.randn(5, dtype=torch.complex64))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    gradient = torch.randn(5, dtype=torch.complex64)
    with fs.record(net, optimizer, "a", tmp_path, exact_every=1):
        net.w.grad = gradient.conj()
        optimizer.step()
    found = fs.open_runs(tmp_path)["a"].tensor_history()
    assert found.statistics["gradient/norm"][0, 0] == pytest.approx(float(gradient.norm()), rel=1e-6)


def test_a_start_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    class Broken:
        step = None

        def get_scale(self) -> float:
            return 1.0

        def is_enabled(self) -> bool:
            raise ValueError("no")

    net = network()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with pytest.raises(ValueError, match=r"^no$"), fs.record(net, optimizer, "a", tmp_path, scaler=Broken()):
        pass
    assert (hooks(net), len(optimizer._optimizer_step_pre_hooks), len(optimizer._optimizer_step_post_hooks)) == (
        0,
        0,
        0,
    )
    assert fs.open_runs(tmp_path)["a"].state == "failed"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_recordings_leave_the_scaler_as_it_was(order: tuple[int, int], tmp_path: Path) -> None:
    net, scaler = network(), torch.amp.GradScaler("cpu")
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    both = [fs.record(net, optimizer, name, tmp_path, scaler=scaler) for name in "ab"]
    for each in both:
        each.start()
    both[order[0]].close()
    loss = net(INPUTS).sum() * torch.inf
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    both[order[1]].close()
    assert "step" not in vars(scaler)
    assert fs.open_runs(tmp_path)["ab"[order[1]]].column("amp/skipped").values.tolist() == [1.0]


def test_a_step_that_a_fused_optimizer_leaves_out_is_told(tmp_path: Path) -> None:
    net, scaler = network(), torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.Adam(net.parameters(), 0.01, fused=True)
    with fs.record(net, optimizer, "a", tmp_path, scaler=scaler):
        for i in range(4):
            optimizer.zero_grad()
            scaler.scale(net(INPUTS).square().sum() * (torch.inf if i == 1 else 1.0)).backward()
            scaler.step(optimizer)
            scaler.update()
    run = fs.open_runs(tmp_path)["a"]
    assert run.column("amp/skipped").steps.tolist() == [2]
    assert run.column("norm/update").values[1] == 0


@pytest.mark.parametrize("clipped", ["both", "one", "none"])
def test_two_adversaries_have_norms_of_their_own(clipped: str, tmp_path: Path) -> None:
    """Also where only one of them is clipped, and its gradients alone are read before."""
    nets = nn.ModuleDict({"critic": network(1), "maker": network(2)})
    optimizers = {name: torch.optim.SGD(net.parameters(), 1e-3) for name, net in nets.items()}
    wanted: dict[str, list[float]] = {name: [] for name in nets}
    with fs.record(nets, list(optimizers.values()), "a", tmp_path, exact_every=2) as run:
        for i in range(4):
            for k, (name, optimizer) in enumerate(optimizers.items()):
                optimizer.zero_grad()
                (nets[name](INPUTS).square().sum() * (i + 1) * 100**k).backward()
                gradients = [p.grad.flatten() for p in nets[name].parameters()]
                wanted[name].append(float(torch.cat(gradients).norm()))
                if clipped == "both" or (clipped == "one" and k == 0):
                    run.before_clipping()
                    nn.utils.clip_grad_norm_(nets[name].parameters(), 0.5)
                optimizer.step()
    found = fs.open_runs(tmp_path)["a"]
    assert "norm/gradient" not in found.names()
    for k, name in enumerate(nets):
        column = found.column(f"norm/gradient/{k}")
        assert column.steps.tolist() == [1, 2, 3, 4]
        np.testing.assert_allclose(column.values, wanted[name], rtol=1e-5)
    history = found.tensor_history(["gradient/norm"])
    rows = [i for i, n in enumerate(history.names) if n.startswith("maker.")]
    total = np.sqrt(np.nansum(history.statistics["gradient/norm"][rows] ** 2, axis=0))
    np.testing.assert_allclose(total, wanted["maker"], rtol=1e-5)


@pytest.mark.parametrize("step", [2**70, float("nan"), float("inf"), 1.5, "x"])
def test_a_step_that_is_no_whole_number_is_refused_and_the_run_goes_on(step: Any, tmp_path: Path) -> None:
    net = network()
    with fs.record(net, torch.optim.SGD(net.parameters(), 0.1), "a", tmp_path) as run:
        with pytest.raises(InputError, match="no whole number"):
            run.log(loss=1.0, step=step)
        run.log(loss=2.0, step=torch.tensor(2**62))
    assert fs.open_runs(tmp_path)["a"].column("loss").steps.tolist() == [2**62]
