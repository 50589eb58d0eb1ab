"""The store of runs: scalars written step by step, long series read, writers killed."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import fluoroscope as fs
from bench.case import Bar, Row, Setting, Unmeasured, case
from bench.peers import load_peer
from bench.timing import quartiles
from fluoroscope.training.store import RunWriter

SERIES, STEPS, POINTS, BUCKETS = 20, 10_000, 10_000_000, 2000
TENSORBOARD, WANDB, READ = Bar(15, at_least=True), Bar(10, at_least=True), Bar(0.5)


@case("training-store", "The store of training runs", on_accelerator=False)
def training_store(setting: Setting) -> Iterator[Row | Unmeasured]:
    """20 series of 10,000 steps, one call for each step after which a reader sees it, in its own process; processor
    time of the process and its children from the first call to the end of the file. SummaryWriter is given the same
    with `add_scalar` and a flush at its usual intervals (so its steps are seen up to two minutes later), wandb with
    `log` in offline mode. Reading: one series of 10 million points, opened and reduced to 2,000 pairs of least and
    greatest values, whose equality with NumPy's on the original is checked. Killing: writers that are killed with
    `kill -9` at random moments; a failure is a run that does not open, lacks a step whose call had returned, or holds
    anything that was not written.
    """
    rounds = 2 if setting.quick else 3
    programs = {"ours": OURS, "tensorboard": TENSORBOARD_PROGRAM, "wandb": WANDB_PROGRAM}
    there = [n for n in programs if n == "ours" or load_peer(n) is not None]
    spent: dict[str, list[float]] = {name: [] for name in there}
    for _ in range(rounds):
        for name in there:
            spent[name].append(_processor_seconds(programs[name]))
    ours = statistics.median(spent["ours"])
    low, high = quartiles(spent["ours"])
    detail = f"{1e6 * ours / SERIES / STEPS:.2f} µs a scalar"
    yield Row("200,000 scalars: processor time", ours, "s", None, low, high, detail)
    for name, bar in (("tensorboard", TENSORBOARD), ("wandb", WANDB)):
        if name not in there:
            yield Unmeasured(f"200,000 scalars: {name}", "not installed")
            continue
        ratios = [theirs / mine for theirs, mine in zip(spent[name], spent["ours"], strict=True)]
        detail = f"{statistics.median(spent[name]):.2f} s"
        yield Row(
            f"200,000 scalars: {name}, its time / ours", statistics.median(ratios), "×", bar, *quartiles(ratios), detail
        )
    yield from _reading(5)
    yield _killing(20 if setting.quick else 200)


OURS = f"""
with tempfile.TemporaryDirectory() as folder:
    from fluoroscope.training.store import RunWriter
    begin()
    run = RunWriter(folder, "bench")
    for step in range({STEPS}):
        run.scalars(step, {{name: step * 0.5 for name in names}})
    run.close()
    end()
"""
TENSORBOARD_PROGRAM = f"""
with tempfile.TemporaryDirectory() as folder:
    from torch.utils.tensorboard import SummaryWriter
    begin()
    run = SummaryWriter(folder)
    for step in range({STEPS}):
        for name in names:
            run.add_scalar(name, step * 0.5, step)
    run.close()
    end()
"""
WANDB_PROGRAM = f"""
with tempfile.TemporaryDirectory() as folder:
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=folder)
    import wandb
    begin()
    run = wandb.init(project="bench", dir=folder)
    for step in range({STEPS}):
        run.log({{name: step * 0.5 for name in names}})
    run.finish()
    wandb.teardown()
    end()
"""
FRAME = f"""
import os, sys, tempfile
names = [f"series {{i}}" for i in range({SERIES})]
started = 0.0
def spent():
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system
def begin():
    global started
    started = spent()
def end():
    print("SPENT", spent() - started)
"""


def _processor_seconds(program: str) -> float:
    """Processor time of the timed part of a program that runs by itself; its children are ended when it ends."""
    source = str(Path(fs.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", FRAME + program],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(next(line for line in done.stdout.splitlines() if line.startswith("SPENT")).split()[1])


def _reading(rounds: int) -> Iterator[Row]:
    values = np.cumsum(np.random.default_rng(0).normal(size=POINTS))
    with tempfile.TemporaryDirectory() as folder:
        with RunWriter(folder, "bench") as run:
            run.columns("x", np.arange(POINTS), values, 1.7e9 + np.arange(POINTS) * 0.1)
        found = fs.open_runs(folder)["bench"]
        seconds = [_seconds(lambda: found.envelope("x", BUCKETS)) for _ in range(rounds)]
        reduced = found.envelope("x", BUCKETS)
    low, high = quartiles(seconds)
    yield Row(
        f"{POINTS:,} points: read and reduced to {BUCKETS:,} buckets", statistics.median(seconds), "s", READ, low, high
    )
    starts = np.arange(BUCKETS) * POINTS // BUCKETS
    wrong = int((reduced.low != np.minimum.reduceat(values, starts)).sum())
    wrong += int((reduced.high != np.maximum.reduceat(values, starts)).sum())
    yield Row(f"{POINTS:,} points: buckets that differ from NumPy's", wrong, "", Bar(0), values=True)


def _seconds(program: Callable[[], object]) -> float:
    start = time.perf_counter()
    program()
    return time.perf_counter() - start


KILLED = """
import sys
from fluoroscope.training.store import RunWriter
run = RunWriter(sys.argv[1], "bench")
for step in range(10**9):
    run.scalars(step, {"x": float(step), "y": 0.5 * step})
    sys.stdout.write(f"{step}\\n")
    sys.stdout.flush()
"""


def _killing(times: int) -> Row:
    chance, failures, steps = random.Random(0), 0, 0
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            told = _killed(folder, chance.uniform(0, 0.1))
            failures += not _whole(folder, told)
            steps += told + 1
    name = "kill -9 at a random moment: runs that lost a step, do not open, or hold what was not written"
    return Row(name, failures, f"of {times}", Bar(0), detail=f"{steps:,} steps in all", values=True)


def _killed(folder: str, seconds: float) -> int:
    """Let a writer run for about so long, kill it, and tell the last step whose call is known to have returned."""
    source = str(Path(fs.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, folder], stdout=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            child.stdout.readline()
        child.kill()
        lines = [line for line in child.stdout.read().split("\n")[:-1] if line]
    return int(lines[-1]) if lines else 0


def _whole(folder: str, told: int) -> bool:
    try:
        run = fs.open_runs(folder)["bench"]
        x, y = run.column("x"), run.column("y")
    except (fs.FluoroscopeError, ValueError):
        return False
    wanted = np.arange(len(x))
    same = np.array_equal(x.values, wanted) and np.array_equal(y.values, 0.5 * wanted)
    return same and np.array_equal(x.steps, wanted) and len(x) >= told + 1 and run.state == "interrupted"
