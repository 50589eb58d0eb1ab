"""Properties of what streams by: pyramids keep extremes, histograms agree for any range, memory stays bounded."""

from __future__ import annotations

import json
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fluoroscope.methods.weights.magnitude_counts import MagnitudeCounts
from fluoroscope.methods.weights.pyramid import Pyramid
from fluoroscope.methods.weights.tally import Tally
from fluoroscope.results.pyramid import finer_steps, levels_within

NUMBERS = st.floats(-1e6, 1e6, width=32)
matrices = arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 60)), elements=NUMBERS)


@settings(max_examples=60, deadline=None)
@given(matrices, st.integers(1, 12), st.integers(1, 9))
def test_every_cell_of_every_level_is_its_largest_entry(values, side, count):
    rows, columns = values.shape
    steps = finer_steps(rows, columns, side)
    pyramid = Pyramid(rows, columns, steps[:count], np.float32)
    block = pyramid.finest[0] * 3
    for row in range(0, rows, block):
        pyramid.add(row, 0, values[row : row + block])
    levels = pyramid.levels()
    assert levels[0].shape[0] <= side and levels[0].shape[1] <= side
    for level, (down, across) in zip(levels, steps, strict=False):
        for r in range(level.shape[0]):
            for c in range(level.shape[1]):
                cell = values[r * down : (r + 1) * down, c * across : (c + 1) * across]
                assert np.abs(level[r, c]) == np.abs(cell).max()
                assert level[r, c] in cell


@settings(max_examples=60, deadline=None)
@given(matrices, st.integers(1, 12))
def test_parts_of_rows_give_the_same(values, side):
    rows, columns = values.shape
    steps = finer_steps(rows, columns, side)[:1]
    whole, parts = (Pyramid(rows, columns, steps, np.float32) for _ in range(2))
    whole.add(0, 0, values)
    width = steps[0][1] * 2
    for row in range(rows):
        for column in range(0, columns, width):
            parts.add(row, column, values[row : row + 1, column : column + width])
    np.testing.assert_array_equal(np.abs(whole.levels()[0]), np.abs(parts.levels()[0]))


@settings(max_examples=80, deadline=None)
@given(
    arrays(np.float64, st.integers(1, 200), elements=st.floats(-1e300, 1e300)),
    st.sampled_from([np.float32, np.float64]),
    st.integers(2, 40),
)
def test_histograms_count_everything_once(values, dtype, bins):
    with np.errstate(over="ignore"):
        values = values.astype(dtype)
    values[np.abs(values) < 1e-30] = 0
    values = values[np.isfinite(values)]
    if not values.size:
        return
    counts = MagnitudeCounts(dtype)
    assert counts.add(values) == 0
    largest = float(np.abs(values).max()) or 1.0
    for edges, bars in (counts.linear(largest, bins), counts.logarithmic(largest, bins)):
        assert bars.sum() == values.size
        assert (np.diff(edges) > 0).all()
        middle = np.searchsorted(edges, 0, side="right")
        assert bars[middle:].sum() == (values >= (edges[middle] if edges[middle - 1] < 0 else 0)).sum() - (
            bars[middle - 1] if edges[middle - 1] == 0 else 0
        )


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float32, st.integers(1, 300), elements=st.floats(-1000, 1000, width=32)),
    st.floats(-1e6, 1e6),
    st.integers(1, 50),
)
def test_moments_of_blocks_are_those_of_the_whole(values, shift, size):
    exact = values.astype(np.float64) + shift
    tally = Tally(1, len(exact))
    for start in range(0, len(exact), size):
        tally.add(0, start, exact[None, start : start + size], 0)
    assert tally.statistics["mean"] == pytest.approx(exact.mean(), rel=1e-9, abs=1e-9)
    assert tally.statistics["std"] == pytest.approx(exact.std(), rel=1e-6, abs=1e-7)
    assert exact[tally.peak[1]] in (exact.min(), exact.max())


@given(st.lists(st.lists(st.integers(1, 100), min_size=1, max_size=5), max_size=8), st.integers(0, 800))
def test_levels_are_shared_out_within_the_budget(costs, budget):
    taken = levels_within(costs, budget)
    assert all(1 <= n <= len(c) for n, c in zip(taken, costs, strict=True))
    spent = sum(sum(c[:n]) for n, c in zip(taken, costs, strict=True))
    assert spent <= max(budget, sum(c[0] for c in costs))


LOOK = """
import sys
import numpy
import fluoroscope as fs
from fluoroscope.methods.weights.weight_maps import WeightMaps
from fluoroscope.methods.weights.weight_spectrum import WeightSpectrum

def line(name):
    return int(open("/proc/self/status").read().split(name)[1].split()[0]) // 1024

def reset():
    open("/proc/self/clear_refs", "w").write("5")

path = sys.argv[1]
before = line("VmRSS:")
reset()
found = WeightMaps()(path)
print(line("VmHWM:") - before)
assert sum(t.size for t in found.tensors) > 0
reset()
before = line("VmRSS:")
WeightSpectrum(match=sys.argv[2], count=8)(path)
print(line("VmHWM:") - before)
print(*(t.statistics["max"] for t in found.tensors))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_file(tmp_path):
    """Two gigabytes of zeros with one value in each tensor, in bfloat16, float8 and float32: a sparse file."""
    kinds = [("BF16", 2, struct.pack("<H", 0x40A0)), ("F8_E4M3", 1, b"\x40"), ("F32", 4, struct.pack("<f", 5.0))]
    header, at, marks = {}, 0, []
    for i in range(12):
        dtype, width, value = kinds[i % 3]
        rows, columns = 8192, (1 << 28) // 8192 // width // 2 * (1 if i else 2)
        end = at + rows * columns * width
        header[f"layers.{i:02}.weight"] = {"dtype": dtype, "shape": [rows, columns], "data_offsets": [at, end]}
        marks.append((at + (rows * columns // 3) * width, value))
        at = end
    text = json.dumps(header).encode()
    path = tmp_path / "large.safetensors"
    with path.open("wb") as handle:
        handle.write(struct.pack("<Q", len(text)) + text)
        for place, value in marks:
            handle.seek(8 + len(text) + place)
            handle.write(value)
        handle.truncate(8 + len(text) + at)
    assert path.stat().st_size > 1.7e9
    try:
        done = subprocess.run(
            [sys.executable, "-c", LOOK, str(path), "layers.02.weight"],
            capture_output=True,
            text=True,
            check=True,
            timeout=280,
        )
    finally:
        path.unlink()
    maps, spectrum, largest = done.stdout.splitlines()
    assert set(largest.split()) == {"5.0", "2.0"}
    assert int(maps) < 200, f"{maps} MB"
    assert int(spectrum) < 200, f"{spectrum} MB"
