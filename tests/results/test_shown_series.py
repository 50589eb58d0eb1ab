"""Series beside their attribution: kept small without losing a spike, saved, joined, and absent from old files."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.model.inputs import prepare_inputs, samples_of
from fluoroscope.model.subject import as_subject
from fluoroscope.results.envelope import ranges


def plain_ranges(values: np.ndarray, buckets: int) -> np.ndarray:
    """Every stretch by itself."""
    length = len(values)
    out = []
    for i in range(buckets):
        part = values[i * length // buckets : (i + 1) * length // buckets]
        part = part[np.isfinite(part)]
        out.append([part.min(), part.max()] if len(part) else [np.nan, np.nan])
    return np.array(out)


@pytest.mark.parametrize("length", [101, 1000, 1023])
def test_the_ranges_of_equal_stretches(length: int) -> None:
    values = np.random.default_rng(length).normal(size=(2, 3, length))
    values[0, 1, 17:60] = np.nan
    values[1, 2, 5] = np.inf
    found = ranges(values, 100)
    assert found.shape == (2, 3, 50, 2)
    for n in range(2):
        for c in range(3):
            np.testing.assert_array_equal(found[n, c], plain_ranges(values[n, c], 50))


def test_what_fits_is_kept_step_by_step() -> None:
    values = np.random.default_rng(0).normal(size=(2, 100))
    np.testing.assert_array_equal(ranges(values, 100)[..., 0], values)


class Net(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, 4, 5, padding=2)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(x).relu().amax(-1))


def test_results_carry_the_series_that_they_explain() -> None:
    torch.manual_seed(0)
    model, x = Net(3), torch.randn(5, 3, 40)
    for method in (fs.Saliency(batch_size=2), fs.LIME(samples=60), fs.GradCAM(), fs.Occlusion(window=8, stride=4)):
        found = method(model, x)
        np.testing.assert_array_equal(found.samples.series, x.numpy()[..., None])
        assert found.size == (40,)
    assert fs.Saliency()(nn.Linear(4, 2), torch.randn(2, 4)).samples.series is None


def test_a_long_series_of_many_channels_stays_small_and_keeps_its_spikes() -> None:
    x = torch.zeros(1, 64, 100_000, dtype=torch.bfloat16)
    x[0, 40, 61_234] = 7.0
    subject = as_subject(Net(64).bfloat16())
    kept = samples_of(prepare_inputs(x, subject), subject)[0].series
    assert kept is not None and kept.dtype == np.float32 and kept.size <= 2**18
    assert kept.max() == 7.0 and np.argwhere(kept == 7.0).tolist() == [[0, 40, 61_234 * kept.shape[2] // 100_000, 1]]


def test_saved_and_opened_again_and_files_from_before_still_open(tmp_path: Path) -> None:
    found = fs.Saliency()(Net(3), torch.randn(2, 3, 40))
    path = found.save(tmp_path / "new.fluo")
    np.testing.assert_array_equal(fs.open_result(path).samples.series, found.samples.series)

    data = found.replace(samples=found.samples.replace(series=None)).save(tmp_path / "old.fluo").read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    inner = json.loads(header["__metadata__"]["fluoroscope"])
    del inner["data"]["fields"]["samples"]["fields"]["series"]
    header["__metadata__"]["fluoroscope"] = json.dumps(inner)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (tmp_path / "old.fluo").write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    old = fs.open_result(tmp_path / "old.fluo")
    assert old.samples.series is None
    np.testing.assert_array_equal(old.values, found.values)
    old.plot()
    assert "attribution" in old.to_html()
