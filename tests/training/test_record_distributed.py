"""The recorder in two processes: DDP and FSDP of both generations, on processors with gloo."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import fluoroscope as fs

PROGRAM = """
import sys
import torch, torch.distributed as dist, torch.nn.functional as F
from torch import nn
import fluoroscope as fs

kind, folder, ranks, rank = *sys.argv[1:4], int(sys.argv[4])
dist.init_process_group("gloo", init_method=f"file://{folder}.met", rank=rank, world_size=2)
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3))
data = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
labels = torch.arange(8) % 3
if kind == "ddp":
    model = nn.parallel.DistributedDataParallel(net)
elif kind == "fsdp":
    from torch.distributed.fsdp import FullyShardedDataParallel
    model = FullyShardedDataParallel(net, use_orig_params=True, device_id=torch.device("cpu"))
else:
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.device_mesh import init_device_mesh
    mesh = init_device_mesh("cpu", (2,))
    for layer in net:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh)
    model = fully_shard(net, mesh=mesh)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
half = slice(4 * rank, 4 * rank + 4)
with fs.record(model, optimizer, "a", folder, ranks=ranks) as run:
    for step in range(3):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(data[half]), labels[half])
        loss.backward()
        optimizer.step()
        run.log(loss=loss)
"""


# gloo's threads, when they meet the end of the interpreter, now and then abort a process that has done all its work
# ("terminate called without an active exception"): it leaves before that, with what runs at exit already done.
END = """
dist.barrier()
dist.destroy_process_group()
import atexit, os
atexit._run_exitfuncs()
sys.stderr.flush()
os._exit(0)
"""


def run(kind: str, folder: Path, ranks: str, program: str = PROGRAM) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(fs.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program + END, kind, str(folder), ranks]
    children = [
        subprocess.Popen([*command, str(rank)], env=environment, stderr=subprocess.PIPE, text=True) for rank in range(2)
    ]
    try:
        told = [child.communicate(timeout=180)[1] for child in children]
    finally:
        for child in children:
            child.kill()
    assert [child.returncode for child in children] == [0, 0], "\n".join(told)


def alone() -> list[dict[str, tuple[float, float, float]]]:
    """The same training in one process: norms of gradient, weight and update by parameter, at every step."""
    import torch.nn.functional as F
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3)).double()
    data = torch.randn(8, 6, generator=torch.Generator().manual_seed(1)).double()
    found = []
    for _ in range(3):
        net.zero_grad()
        F.cross_entropy(net(data), torch.arange(8) % 3).backward()
        with torch.no_grad():
            for p in net.parameters():
                assert p.grad is not None
                p -= 0.1 * p.grad
        found.append(
            {n: (float(p.grad.norm()), float(p.norm()), 0.1 * float(p.grad.norm())) for n, p in net.named_parameters()}
        )
    return found


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without torch.distributed")
@pytest.mark.parametrize(
    ("kind", "ranks"), [("ddp", "zero"), ("ddp", "all"), ("fsdp", "zero"), ("fsdp2", "zero"), ("fsdp2", "all")]
)
def test_two_processes(kind: str, ranks: str, tmp_path: Path) -> None:
    """Norms are those of whole tensors, whatever part of them a process holds."""
    run(kind, tmp_path, ranks)
    runs = fs.open_runs(tmp_path)
    assert list(runs) == ["a"]
    found = runs["a"]
    assert ("rank1/loss" in found.names()) == (ranks == "all")
    assert found.column("loss").steps.tolist() == [1, 2, 3]
    for rank in (0, 1) if ranks == "all" else (0,):
        history = found.tensor_history(rank=rank)
        for i, wanted in enumerate(alone()):
            for name, norms in wanted.items():
                row = history.names.index(name)
                for quantity, norm in zip(("gradient", "weight", "update"), norms, strict=True):
                    got = history.statistics[f"{quantity}/norm"][row, i]
                    assert math.isclose(got, norm, rel_tol=1e-4), (rank, i, name, quantity, got, norm)
        assert np.isfinite(history.statistics["activation/std"][history.names.index("1"), 0]).all()
        told = [n for n in history.meta["notes"] if f"the part that rank {rank} holds" in n]
        assert len(told) == (kind != "ddp")
    totals = found.column("norm/gradient").values
    wanted_totals = [math.hypot(*(norms[0] for norms in step.values())) for step in alone()]
    np.testing.assert_allclose(totals, wanted_totals, rtol=1e-4)


BESIDE = """
import sys
import torch, torch.distributed as dist
from torch import nn
import fluoroscope as fs

kind, folder, ranks, rank = *sys.argv[1:4], int(sys.argv[4])
dist.init_process_group("gloo", init_method=f"file://{folder}.met", rank=rank, world_size=2)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(5))
        self.norm = nn.BatchNorm1d(5, affine=False)
    def forward(self, x):
        self.norm(x)
        return x @ self.w

def examples(seed):
    return 1 + torch.randn(3, 5, generator=torch.Generator().manual_seed(seed))

model = nn.parallel.DistributedDataParallel(Net())
optimizer = torch.optim.SGD(model.parameters(), 0.5)
matrix = torch.diag(torch.arange(5.0)) + 1
x0 = torch.linalg.cholesky(matrix + 0.01 * torch.eye(5)).T * 5 ** 0.5
loss = lambda: model(x0).square().mean() / 2
with fs.record(model, optimizer, "a", folder, ranks=ranks, noise_scale_every=1, curvature=loss, curvature_every=2):
    for step in range(3):
        optimizer.zero_grad()
        with model.no_sync():
            model(examples(4 * step + 2 * rank)).mean().backward()
        model(examples(4 * step + 2 * rank + 1)).mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        optimizer.step()
weights = [torch.zeros(5) for _ in range(2)]
dist.all_gather(weights, model.module.w.detach())
assert torch.equal(*weights)
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without torch.distributed")
@pytest.mark.parametrize("ranks", ["zero", "all"])
def test_noise_scale_and_curvature_in_two_processes(ranks: str, tmp_path: Path) -> None:
    """Two passes in each of two processes are four small batches, of which each process sees its own two."""
    run("ddp", tmp_path, ranks, BESIDE)
    found = fs.open_runs(tmp_path)["a"]
    for rank in (0, 1) if ranks == "all" else (0,):
        prefix, sums = "rank1/" if rank else "", np.zeros(2)
        for step in range(3):
            draw = [torch.randn(3, 5, generator=torch.Generator().manual_seed(4 * step + i)) for i in range(4)]
            parts = np.stack([1 + d.double().mean(0).numpy() for d in draw])
            small, large = (parts[2 * rank : 2 * rank + 2] ** 2).sum(1).mean(), (parts.mean(0) ** 2).sum()
            sums = 0.99 * sums + 0.01 * np.array([(small - large) / (1 - 1 / 4), (4 * large - small) / 3])
            noise, gradient = sums / (1 - 0.99 ** (step + 1))
            for name, wanted in {"noise": noise, "gradient": gradient}.items():
                got = found.column(f"{prefix}noise_scale_parts/{name}").values[step]
                assert got == pytest.approx(wanted, rel=1e-4), (rank, step, name)
        largest = float(torch.linalg.eigvalsh(torch.diag(torch.arange(5.0)) + 1)[-1]) + 0.01
        curvature = found.column(f"{prefix}curvature/largest")
        assert curvature.steps.tolist() == [1, 3]
        np.testing.assert_allclose(curvature.values, largest, rtol=1e-3)


REFUSED = """
from fluoroscope.errors import ModelError
for options in ({"noise_scale_every": 1}, {"alignment": "exact"}, {"curvature": lambda: None}):
    try:
        fs.record(model, optimizer, "b", folder, **options)
    except ModelError as error:
        assert "spread over processes" in str(error)
    else:
        raise SystemExit(1)
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without torch.distributed")
def test_what_spread_parameters_do_not_allow(tmp_path: Path) -> None:
    run("fsdp2", tmp_path, "zero", PROGRAM.replace("with fs.record(model", REFUSED + "with fs.record(model"))


WHOLE = """
import numpy as np

def whole(tensors):
    mine = [None if t is None else getattr(t, "_local_tensor", t).detach().flatten().clone() for t in tensors]
    found = [None, None]
    dist.all_gather_object(found, mine)
    return [torch.cat([part[i] for part in found if part[i] is not None]).numpy() for i in range(len(mine))]

seen = {}
def before(*_):
    seen["gradient", run.step + 1] = whole([p.grad for p in model.parameters()])
    seen["old"] = whole(model.parameters())
def after(*_):
    new = whole(model.parameters())
    seen["weight", run.step] = new
    seen["update", run.step] = [a - b for a, b in zip(new, seen["old"])]
"""
KEPT = """
if rank == 0:
    del seen["old"]
    flat = {f"{q}/{s}/{i}": w for (q, s), wholes in seen.items() for i, w in enumerate(wholes)}
    np.savez(f"{folder}/whole.npz", **flat)
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without torch.distributed")
@pytest.mark.parametrize("kind", ["fsdp", "fsdp2"])
@pytest.mark.parametrize("sample", [16, 60000])
def test_parts_of_two_processes_are_joined(kind: str, sample: int, tmp_path: Path) -> None:
    """Every entry is gathered in the program, and its statistics are taken again here."""
    options = f"ranks=ranks, sample={sample}, exact_every=2"
    program = PROGRAM.replace("with fs.record(", WHOLE + "with fs.record(").replace("ranks=ranks", options)
    program = program.replace("net = nn.Sequential(", "net = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), ")
    begun = "    for step in range(3):\n        optimizer.zero_grad()\n"
    hooks = "    optimizer.register_step_pre_hook(before)\n    optimizer.register_step_post_hook(after)\n"
    assert begun in program
    run(kind, tmp_path, "all", program.replace(begun, hooks + begun) + KEPT)
    found = fs.open_runs(tmp_path)["a"].tensor_history(rank="all")
    assert found.meta["ranks_joined"] == [0, 1] and found.meta["exact_steps"] == [1, 3]
    assert not [note for note in found.notes if "the part that rank" in note]
    names = [f"{layer}.{kind}" for layer in (0, 2, 4) for kind in ("weight", "bias")]
    assert sorted(found.names) == sorted(names)
    with np.load(tmp_path / "whole.npz") as wholes:
        for key in wholes.files:
            quantity, step, number = key.split("/")
            whole, at = wholes[key].astype(np.float64), int(step) - 1
            row = found.names.index(names[int(number)])
            assert whole.size in (36, 6, 54, 9, 27, 3)
            if sample < whole.size and at == 1:
                continue  # of samples
            wanted = {"mean": whole.mean(), "std": whole.std(), "min": whole.min(), "max": whole.max()}
            for statistic, value in {**wanted, "zero_share": (whole == 0).mean()}.items():
                got = found.statistics[f"{quantity}/{statistic}"][row, at]
                assert got == pytest.approx(value, rel=1e-5, abs=1e-8), (key, statistic)
            histograms = found.histograms[quantity]
            if sample > whole.size:
                counts = np.histogram(wholes[key], histograms.edges)[0]
                assert histograms.counts[row, at].tolist() == counts.tolist(), key
    only = fs.open_runs(tmp_path)["a"].tensor_history("weight/std", rank="all")
    assert list(only.statistics) == ["weight/std"] and only.recorded["weight/std"].all()
    np.testing.assert_array_equal(only.statistics["weight/std"], found.statistics["weight/std"])
