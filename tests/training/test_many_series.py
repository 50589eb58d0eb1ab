"""Runs of very many series: all at once."""

import math

import numpy as np
import pytest

from fluoroscope.errors import InputError
from fluoroscope.training.store import RunWriter, open_runs, scalar_rows


def test_many_series_at_once_are_those_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(scalar_rows, "ROWS", 7)
    for part in range(2):
        with RunWriter(tmp_path, "run", resume=True, rank=part) as writer:
            for step in range(25):
                writer.scalars(step, {"a": step / 3, "b": math.nan})
                if step % 4 == 0:
                    writer.scalars(step, {"b": float(step), "c": 1.0})
            writer.columns("d", np.array([5, 1]), np.array([1.0, 2.0]), np.array([3.0, 4.0]))
            open_run = open_runs(tmp_path)["run"]
            for names in (None, ["d", "a"], ["b"], []):
                found = open_run.columns(names)
                assert list(found) == list(open_run.names() if names is None else names)
                for name, column in found.items():
                    expected = open_run.column(name)
                    for ours, theirs in zip(vars(column).values(), vars(expected).values(), strict=True):
                        assert ours.dtype == theirs.dtype
                        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(InputError, match="nosuch"):
        open_run.columns(["a", "nosuch"])


def test_what_the_recorder_adds_has_its_unit(tmp_path):
    with RunWriter(tmp_path, "run") as writer:
        writer.scalars(0, {"memory/process": 1e9, "time/step": 0.1, "memory/mine": 3.0, "loss": 1.0})
    with RunWriter(tmp_path, "run", resume=True, rank=1) as writer:
        writer.scalars(0, {"memory/process": 1e9})
    units = {name: series.unit for name, series in open_runs(tmp_path)["run"].history().series.items()}
    assert units == {
        "loss": "",
        "memory/mine": "",
        "memory/process": "bytes",
        "time/step": "s",
        "rank1/memory/process": "bytes",
    }
