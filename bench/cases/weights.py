"""The overview of one large weight matrix, against matplotlib's imshow: time and memory, each in its own process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.case import Bar, Row, Setting, Unmeasured, case
from bench.timing import quartiles

ROWS, COLUMNS = 4096, 14336
SECONDS, MEGABYTES = Bar(1.5), Bar(300)

SETUP = f"""
import json, sys, time
import numpy as np
import matplotlib
matplotlib.use("Agg")
import matplotlib.figure

def size(name):
    return int(open("/proc/self/status").read().split(name)[1].split()[0]) * 1024 / 1e6

def matrix():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(({ROWS}, {COLUMNS}), dtype=np.float32) * np.float32(0.02)
    values[123, 4567], values[4000, 14000] = 3.0, -2.5
    return values

class Measured:
    def __enter__(self):
        open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here
        self.before, self.start, self.processor = size("VmRSS:"), time.perf_counter(), time.process_time()
        return self
    def __exit__(self, *error):
        self.seconds, self.processor = time.perf_counter() - self.start, time.process_time() - self.processor
        self.megabytes = size("VmHWM:") - self.before
"""

OURS = """
import torch
from torch import nn
import fluoroscope as fs
from fluoroscope.methods.weights.weight_maps import WeightMaps
import fluoroscope.render.figures.tensor_summary
torch.set_num_threads(int(sys.argv[2]))
values = matrix()
layer = nn.Linear(1, 1, bias=False)
layer.weight = nn.Parameter(torch.from_numpy(values))
fs.WeightMaps()(nn.Linear(8, 8)).plot().savefig(sys.argv[1])  # fonts and caches, as for the peer
with Measured() as spent:
    found = fs.WeightMaps()(layer)
    found.plot().savefig(sys.argv[1])
tensor = found.tensors[0]
numbers = tensor.statistics
exact = (numbers["max"], numbers["min"]) == (3.0, -2.5) == (values.max(), values.min()) and tensor.peak == (123, 4567)
for level, (down, across) in zip((tensor.picture, *tensor.levels), tensor.steps):
    exact &= level[123 // down, 4567 // across] == 3.0 and level[4000 // down, 14000 // across] == -2.5
    exact &= float(np.abs(level).max()) == 3.0
norm = np.linalg.norm(values.astype(np.float64))
exact &= abs(numbers["l2"] - norm) < 1e-9 * norm
print(json.dumps([spent.seconds, spent.megabytes, spent.processor, bool(exact), len(tensor.steps)]))
"""

FILE = """
import fluoroscope as fs
from fluoroscope.methods.weights.weight_maps import WeightMaps
import fluoroscope.render.figures.tensor_summary, torch
from safetensors.numpy import save_file
torch.set_num_threads(int(sys.argv[2]))
path = sys.argv[1].replace(".png", ".safetensors")
save_file({"weight": matrix()}, path)
from torch import nn
fs.WeightMaps()(nn.Linear(8, 8)).plot().savefig(sys.argv[1])
with Measured() as spent:
    found = fs.WeightMaps()(path)
    found.plot().savefig(sys.argv[1])
exact = found.tensors[0].statistics["max"] == 3.0 and found.tensors[0].peak == (123, 4567)
print(json.dumps([spent.seconds, spent.megabytes, spent.processor, bool(exact), len(found.tensors[0].steps)]))
"""

IMSHOW = """
values = matrix()
figure = matplotlib.figure.Figure(figsize=(12.4, 3.8), dpi=120)
figure.add_subplot().imshow(np.zeros((8, 8)))
figure.savefig(sys.argv[1])
with Measured() as spent:
    figure = matplotlib.figure.Figure(figsize=(12.4, 3.8), dpi=120)
    figure.add_subplot().imshow(values, cmap="RdBu", vmin=-3, vmax=3, aspect="auto")
    figure.savefig(sys.argv[1])
print(json.dumps([spent.seconds, spent.megabytes, spent.processor]))
"""


@case("weights", "One large weight matrix", on_accelerator=False)
def weights(setting: Setting) -> Iterator[Row | Unmeasured]:
    """`fs.WeightMaps()` of a float32 matrix of 4096 x 14336 and its figure as a PNG file: exact statistics, histograms,
    norms of rows and columns, dead and duplicate rows, and pictures at several resolutions; against `imshow` of the
    same array at the same size. Whole processes in alternation; seconds and megabytes count from when the matrix is in
    memory and both libraries are loaded, the peak of resident memory less what was resident then. "From a file": the
    same, read piece by piece from a safetensors file, less what was resident before it was opened.
    """
    if not Path("/proc/self/clear_refs").exists():
        yield Unmeasured("overview of 4096 x 14336", "peaks of memory are read from /proc, which is not here")
        return
    rounds = 2 if setting.quick else 5
    programs = {"ours": OURS, "file": FILE, "imshow": IMSHOW}
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, list[list[float]]] = {name: [] for name in programs}
        for _ in range(rounds):
            for name, program in programs.items():
                found[name].append(_run(program, Path(folder) / "picture.png", setting.threads))
    right = all(bool(run[3]) for name in ("ours", "file") for run in found[name])
    levels = int(found["ours"][0][4])
    detail = f"both planted extremes, their places and signs on all {levels} levels, and the norm"
    yield Row("extremes kept exactly", float(not right), "wrong", Bar(0), detail=detail, values=True)
    for name, title in (("ours", "overview, in memory"), ("file", "overview, from a file")):
        yield _row(f"{title}: time", found, name, 0, "s", SECONDS)
        yield _row(f"{title}: memory above the baseline", found, name, 1, "MB", MEGABYTES)


def _row(title: str, found: dict[str, list[list[float]]], name: str, which: int, unit: str, bar: Bar) -> Row:
    mine, theirs = ([run[which] for run in found[key]] for key in (name, "imshow"))
    low, high = quartiles(mine)
    peer = statistics.median(theirs)
    detail = f"imshow {peer:.3g} {unit}, {peer / statistics.median(mine):.1f} times as much; {len(mine)} rounds"
    if unit == "s":
        processor = [statistics.median(run[2] for run in found[key]) for key in (name, "imshow")]
        detail += f"; processor time {processor[0]:.2f} s, imshow {processor[1]:.2f} s"
    return Row(title, statistics.median(mine), unit, bar, low, high, detail)


def _run(program: str, picture: Path, threads: int) -> list[float]:
    """What one process printed last."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-c", SETUP + program, str(picture), str(threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    answer: list[float] = json.loads(done.stdout.splitlines()[-1])
    return answer
