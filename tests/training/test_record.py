"""The recorder: statistics against naive float64, the training unchanged, whatever happens in the block."""

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
from fluoroscope.errors import InputError, ModelError, OptionError
from fluoroscope.results import TensorHistory

Arrays = dict[str, np.ndarray]


class Net(nn.Module):
    """A convolution, a normalization, functional and modular activations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.hidden = nn.Linear(4 * 36, 16)
        self.act = nn.Tanh()
        self.out = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn(self.conv(x)))
        return self.out(self.act(self.hidden(x.flatten(1))))


def data(n: int = 8, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, 6, 6, generator=generator), torch.randint(0, 3, (n,), generator=generator)


def made(optimizer: str = "AdamW", **options: Any) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    net = Net()
    return net, getattr(torch.optim, optimizer)(net.parameters(), lr=0.01, **options)


def step(net: nn.Module, optimizer: torch.optim.Optimizer, seed: int = 0) -> torch.Tensor:
    inputs, labels = data(seed=seed)
    optimizer.zero_grad()
    loss = F.cross_entropy(net(inputs), labels)
    loss.backward()
    optimizer.step()
    return loss


def naive(tensor: torch.Tensor) -> dict[str, float]:
    """The statistics in plain float64."""
    x = tensor.detach().double().reshape(-1)
    mean = x.sum() / len(x)
    return {
        "norm": math.sqrt(float((x * x).sum())),
        "mean": float(mean),
        "std": math.sqrt(float(((x - mean) ** 2).sum() / len(x))),
        "min": float(x.min()),
        "max": float(x.max()),
        "zero_share": float((x == 0).double().mean()),
    }


def close(found: float, wanted: float, scale: float = 0.0) -> bool:
    return math.isclose(found, wanted, rel_tol=3e-6, abs_tol=3e-6 * scale)


def check(history: TensorHistory, at: int, quantity: str, name: str, tensor: torch.Tensor) -> None:
    row, column = history.names.index(name), history.steps.tolist().index(at)
    for key, wanted in naive(tensor).items():
        found = history.statistics[f"{quantity}/{key}"][row, column]
        assert close(found, wanted, float(tensor.detach().abs().max())), (name, quantity, key, found, wanted)


@pytest.mark.parametrize("exact_every", [0, 1])
def test_statistics_equal_naive_float64(exact_every: int, tmp_path: Path) -> None:
    """Tensors smaller than the sample are read whole, so that both ways have to agree with float64."""
    net, optimizer = made()
    with fs.record(net, optimizer, "a", tmp_path, exact_every=exact_every, sample=4096) as run:
        kept = []
        for i in range(3):
            before = [p.detach().clone() for p in net.parameters()]
            run.log(loss=step(net, optimizer, i))
            kept.append(
                [
                    (p.grad.clone(), p.detach().clone(), p.detach() - b)
                    for p, b in zip(net.parameters(), before, strict=True)
                ]
            )
    history = fs.open_runs(tmp_path)["a"].tensor_history()
    for i, tensors in enumerate(kept):
        for (name, _), triple in zip(net.named_parameters(), tensors, strict=True):
            for quantity, tensor in zip(("gradient", "weight", "update"), triple, strict=True):
                check(history, i + 1, quantity, name, tensor)
    ratio, norm = history.statistics["update/ratio"], history.statistics["update/norm"]
    np.testing.assert_allclose(ratio, norm / history.statistics["weight/norm"], rtol=1e-6)
    assert history.meta["exact_steps"] == ([1, 2, 3] if exact_every else [])


def test_norms_are_exact_for_large_tensors_and_samples_within_bounds(tmp_path: Path) -> None:
    """Samples of n entries: the mean within 5 / sqrt(n) standard deviations, the spread within 5 / sqrt(2 n)."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1024, 700), nn.Linear(700, 1024))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    before = [p.detach().clone() for p in net.parameters()]
    with fs.record(net, optimizer, "a", tmp_path, exact_every=0, sample=1000):
        for p in net.parameters():
            p.grad = torch.randn_like(p) * 3 + 1
        optimizer.step()
    history = fs.open_runs(tmp_path)["a"].tensor_history()
    for row, (p, old) in enumerate(zip(net.parameters(), before, strict=True)):
        assert p.grad is not None
        triple = {"gradient": p.grad, "weight": p.detach(), "update": p.detach() - old}
        for quantity, tensor in triple.items():
            wanted, n = naive(tensor), min(tensor.numel() // 2, 900)
            found = {k: history.statistics[f"{quantity}/{k}"][row, 0] for k in wanted}
            assert close(found["norm"], wanted["norm"])
            assert abs(found["mean"] - wanted["mean"]) <= 5 * wanted["std"] / math.sqrt(n)
            assert abs(found["std"] - wanted["std"]) <= 5 * wanted["std"] / math.sqrt(2 * n)
            assert wanted["min"] <= found["min"] <= wanted["mean"] - wanted["std"]
            assert wanted["max"] >= found["max"] >= wanted["mean"] + wanted["std"]


def test_histograms_count_every_entry_of_the_sample(tmp_path: Path) -> None:
    net, optimizer = made()
    values = torch.tensor(
        [0.0, 1.0, -1.0, 1.5, -3e-20, 1e30, math.nan, math.inf, 0.75, 2.0, -0.5, 1e-13, 2**-48, 0, 0, 0]
    )
    with fs.record(net, optimizer, "a", tmp_path):
        for p in net.parameters():
            p.grad = torch.zeros_like(p)
        net.hidden.bias.grad = values
        optimizer.step()
    found = fs.open_runs(tmp_path)["a"].tensor_history()
    histogram = found.histograms["gradient"]
    counts = histogram.counts[found.names.index("hidden.bias"), 0]
    finite = values[torch.isfinite(values)].double().numpy()
    edges = histogram.edges.copy()
    wanted = np.zeros(len(edges) - 1, int)
    for value in finite:  # away from zero a bin holds its inner edge: |x| in [2**e, 2**(e + 1))
        place = np.searchsorted(edges, value, "right") - 1 if value >= 0 else np.searchsorted(edges, value, "left") - 1
        wanted[np.clip(place, 0, len(wanted) - 1)] += 1
    assert np.all(np.diff(edges) > 0)
    np.testing.assert_array_equal(counts, wanted)


def test_the_training_is_bit_for_bit_the_same(tmp_path: Path) -> None:
    plain, recorded = made(), made()
    for i in range(5):
        step(*plain, seed=i)
    before = torch.get_rng_state()
    with fs.record(*recorded, "a", tmp_path, activations_every=2, exact_every=2) as run:
        for i in range(5):
            run.log(loss=step(*recorded, seed=i))
    assert torch.equal(before, torch.get_rng_state())
    for (name, a), b in zip(plain[0].state_dict().items(), recorded[0].state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def hooks(net: nn.Module, optimizer: torch.optim.Optimizer) -> list[int]:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_hooks_always_called")
    own = [len(getattr(m, k)) for m in net.modules() for k in kinds]
    return [*own, len(optimizer._optimizer_step_pre_hooks), len(optimizer._optimizer_step_post_hooks)]


def test_everything_is_as_before_after_an_error(tmp_path: Path) -> None:
    net, optimizer = made()
    before, attributes = hooks(net, optimizer), [set(m.__dict__) for m in net.modules()]
    with pytest.raises(ZeroDivisionError), fs.record(net, optimizer, "a", tmp_path, activations_every=1):
        step(net, optimizer)
        _ = 1 / 0
    assert hooks(net, optimizer) == before
    assert [set(m.__dict__) for m in net.modules()] == attributes
    run = fs.open_runs(tmp_path)["a"]
    assert (run.state, run.error) == ("failed", "ZeroDivisionError: division by zero")
    assert run.tensor_history().steps.tolist() == [1]


def test_an_error_inside_a_forward_leaves_no_mode_behind(tmp_path: Path) -> None:
    class Broken(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("inside")

    net = Broken()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with fs.record(net, optimizer, "a", tmp_path, activations_every=1):
        with pytest.raises(RuntimeError, match="inside"):
            net(data()[0])
        assert torch.overrides._get_current_function_mode_stack() == []
    assert hooks(net, optimizer) == hooks(Net(), made()[1])


def test_values_and_steps(tmp_path: Path) -> None:
    net, optimizer = made()
    with fs.record(net, optimizer, "a", tmp_path, config={"lr": 0.01}) as run:
        run.log(before=1)
        loss = step(net, optimizer)
        run.log({"a/b": np.float32(2), "n": {"x": True}}, loss=loss, late=torch.tensor([math.nan]))
        run.log({"loss": math.inf}, step=77)
        assert run.step == 1
        for wrong in ("text", [1, 2], torch.ones(2)):
            with pytest.raises(InputError, match="'x'"):
                run.log(x=wrong)
    found = fs.open_runs(tmp_path)["a"]
    assert found.column("before").steps.tolist() == [0]
    assert found.column("a/b").values.tolist() == [2.0]
    assert found.column("n/x").values.tolist() == [1.0]
    assert found.column("loss").steps.tolist() == [1, 77]
    assert found.column("loss").values.tolist() == [float(loss.detach()), math.inf]
    assert np.isnan(found.column("late").values[0])
    assert found.column("learning_rate").values.tolist() == [0.01]
    assert found.config == {"lr": 0.01}


def test_nan_and_infinity_are_recorded(tmp_path: Path) -> None:
    net, optimizer = made("SGD")
    with fs.record(net, optimizer, "a", tmp_path):
        for poison in (1.0, math.nan, math.inf):
            for p in net.parameters():
                p.grad = torch.ones_like(p)
            net.out.weight.grad[0, :4] *= poison
            optimizer.step()
    history = fs.open_runs(tmp_path)["a"].tensor_history()
    row = history.names.index("out.weight")
    norms = history.statistics["gradient/norm"][row]
    assert norms[0] == pytest.approx(math.sqrt(48))
    assert np.isnan(norms[1])
    assert history.recorded["gradient/norm"][row].all()
    assert norms[2] == math.inf
    assert history.statistics["gradient/nonfinite_share"][row, 1:].tolist() == pytest.approx([4 / 48, 4 / 48])
    assert np.isnan(history.statistics["weight/norm"][row, 1:]).all()
    assert np.isfinite(history.statistics["gradient/norm"][history.names.index("conv.weight")]).all()
    assert np.isnan(fs.open_runs(tmp_path)["a"].column("norm/gradient").values[1])


@pytest.mark.parametrize("scale", [1e-25, 1e-30, 1e25, 1e-42])
def test_norms_beyond_the_range_of_squares(scale: float, tmp_path: Path) -> None:
    net, optimizer = made("SGD")
    with fs.record(net, optimizer, "a", tmp_path):
        for p in net.parameters():
            p.grad = torch.full_like(p, scale)
        optimizer.step()
    history = fs.open_runs(tmp_path)["a"].tensor_history()
    row = history.names.index("conv.weight")
    wanted = naive(torch.full((36,), scale))["norm"]
    assert history.statistics["gradient/norm"][row, 0] == pytest.approx(wanted, rel=1e-6)


def test_wrong_arguments(tmp_path: Path) -> None:
    net, optimizer = made()
    with pytest.raises(ModelError):
        fs.record("net", optimizer, dir=tmp_path)
    with pytest.raises(InputError):
        fs.record(net, "optimizer", dir=tmp_path)
    with pytest.raises(OptionError, match="every"):
        fs.record(net, optimizer, dir=tmp_path, every=0)
    with pytest.raises(OptionError, match="updates"):
        fs.record(net, optimizer, dir=tmp_path, updates="never")
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_carries(tmp_path: Path) -> None:
    net, optimizer = made()
    with fs.record(net, optimizer, "a", tmp_path) as run:
        step(net, optimizer)
        assert fs.open_runs(tmp_path)["a"].state == "running"
        assert run.read().name == "a"
    found = fs.open_runs(tmp_path)["a"]
    assert found.environment["versions"]["torch"] == torch.__version__
    assert found.environment["command"]
    assert found.facts["model"]["parameters"] == sum(p.numel() for p in net.parameters())
    assert found.facts["model"]["class"].endswith("Net")
    assert len(found.facts["model"]["fingerprint"]) == 12
    assert "after clipping" in found.facts["recorder"]["gradient"]


def test_an_optimizer_of_another_network_is_told(tmp_path, caplog) -> None:
    """The likely slip: the optimizer was made anew, or for a copy; its steps are then all that would count."""
    model, other = nn.Linear(2, 1), nn.Linear(2, 1)
    with caplog.at_level("WARNING", logger="fluoroscope"):
        with fs.record(model, torch.optim.SGD(other.parameters(), lr=0.1), run="a", dir=tmp_path) as run:
            pass
        assert "holds a parameter of this network" in caplog.text
        assert "holds a parameter" in str(run.read().facts["recorder"]["notes"])
        caplog.clear()
        both = [torch.optim.SGD(other.parameters(), lr=0.1), torch.optim.SGD(model.parameters(), lr=0.1)]
        with fs.record(model, both, run="b", dir=tmp_path):
            pass
        assert not caplog.text


def test_values_that_all_lie_on_one_step_are_told(tmp_path, caplog) -> None:
    """A loop that steps no optimizer: how to say the step is told at the end, in the log and in the run."""
    model = nn.Linear(2, 1)

    def logged(name: str, count: int, steps: int = 0, **step: Any) -> list[str]:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with fs.record(model, optimizer, run=name, dir=tmp_path) as run:
            for _ in range(count):
                run.log(loss=1.0, **step)
            for _ in range(steps):
                optimizer.step()
        return [note for note in run.read().facts["recorder"]["notes"] if "step=i" in note]

    with caplog.at_level("WARNING", logger="fluoroscope"):
        for quiet in (logged("few", 20), logged("given", 30, step=0), logged("stepped", 30, steps=1)):
            assert quiet == []
        assert not caplog.text
        (note,) = logged("many", 21)
    assert note.startswith("21 values of 'loss' are all at step 0") and note in caplog.text


@pytest.mark.parametrize("options", [{"run": 3}, {"samples_per_step": 0}, {"samples_per_step": -1.0}])
def test_names_and_numbers_that_make_no_sense_are_refused_before_anything_is_written(tmp_path, options) -> None:
    model = nn.Linear(2, 1)
    with pytest.raises(OptionError, match=next(iter(options))):
        fs.record(model, torch.optim.SGD(model.parameters(), lr=0.1), dir=tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_a_number_beyond_floats_is_refused_and_the_run_goes_on(tmp_path) -> None:
    model = nn.Linear(2, 1)
    with fs.record(model, torch.optim.SGD(model.parameters(), lr=0.1), run="a", dir=tmp_path) as run:
        with pytest.raises(InputError, match="'loss' is no number"):
            run.log(loss=10**5000)
        with pytest.raises(InputError, match="None"):
            run.log(loss=None)
        run.log(loss=1.0)
    assert run.read().column("loss").values.tolist() == [1.0]
