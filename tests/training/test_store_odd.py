"""The store where it is used in ways that are rare: by threads, with falling steps, by ranks that end differently."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fluoroscope as fs
from fluoroscope.studio.app import studio_app
from fluoroscope.training.store import RunWriter, scalar_rows, tensor_rows


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch):
    """Threads that take turns all the time, and rows that become columns all the time."""
    monkeypatch.setattr(scalar_rows, "ROWS", 7)
    monkeypatch.setattr(tensor_rows, "ROWS", 5)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_threads_lose_nothing_and_write_nothing_twice(hasty: None, tmp_path: Path) -> None:
    threads, count = 4, 400

    def job(k: int) -> None:
        for i in range(count):
            run.scalars(i, {"x": float(k * count + i)})
            if i % 10 == 0:
                run.tensors(k * count + i, ["a"], {"gradient/norm": np.full(1, k, np.float32)})

    with RunWriter(tmp_path, "a") as run, ThreadPoolExecutor(threads) as pool:
        list(pool.map(job, range(threads)))
    found = fs.open_runs(tmp_path)["a"]
    values = found.column("x").values
    assert sorted(values.tolist()) == list(range(threads * count))
    for k in range(threads):  # each thread's values in its own order
        assert (np.diff(values[values // count == k]) > 0).all()
    assert found.tensor_history().steps.tolist() == list(range(0, threads * count, 10))


def test_the_last_step_is_the_largest_however_long_ago(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(scalar_rows, "ROWS", 2)
    with RunWriter(tmp_path, "a") as run:
        run.scalars(99_999, {"x": 1.0})
        for step in range(200):
            run.scalars(step, {"x": 1.0})
        assert fs.open_runs(tmp_path)["a"].last_step == 99_999
    assert fs.open_runs(tmp_path)["a"].last_step == 99_999


def test_a_run_of_several_ranks_is_no_better_than_its_worst(tmp_path: Path) -> None:
    first = RunWriter(tmp_path, "a")
    second = RunWriter(tmp_path, "a", rank=1, resume=True)
    second.close("finished")
    assert fs.open_runs(tmp_path)["a"].state == "running"
    first.close("failed", "ValueError: no")
    found = fs.open_runs(tmp_path)["a"]
    assert (found.state, found.error) == ("failed", "ValueError: no")
    with RunWriter(tmp_path, "a", resume=True):
        pass
    assert fs.open_runs(tmp_path)["a"].state == "finished"  # rank 0 went on, and came to its end


def test_half_a_surrogate_pair_in_a_run_is_shown(tmp_path: Path) -> None:
    testclient = pytest.importorskip("starlette.testclient")
    with RunWriter(tmp_path, "a\ud800", config={"path\udcff": "x\udcff"}) as run:
        run.scalars(1, {"loss": 1.0})
    runs = fs.open_runs(tmp_path)
    assert list(runs) == ["a\\ud800"]
    client = testclient.TestClient(studio_app(runs))
    assert client.get("/").status_code == 200
    assert client.get("/run/a%5Cud800").status_code == 200
    with RunWriter(tmp_path, "a\ud800", resume=True):
        pass
    assert len(fs.open_runs(tmp_path)) == 1


def test_facts_made_anew_for_each_row_are_not_kept(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        for i in range(3 * tensor_rows.KNOWN):
            run.tensors(i, ["a"], {"x": np.ones(1, np.float32)}, facts={"sampled": 1.0})
        assert len(run._tensors._known) <= tensor_rows.KNOWN
        assert len(run._tensors._kept) <= tensor_rows.KNOWN
    assert len(fs.open_runs(tmp_path)["a"].tensor_history().steps) == 3 * tensor_rows.KNOWN


def test_names_that_come_one_by_one_cost_the_same_each(tmp_path: Path) -> None:
    def cost(of: RunWriter, names: range) -> float:
        start = time.process_time()
        for i in names:
            of._scalars._new_layout(of._connection.sql, (f"n{i}",))
        return time.process_time() - start

    with RunWriter(tmp_path, "a") as run, run.together():
        first = cost(run, range(1000))
        cost(run, range(1000, 19_000))
        assert cost(run, range(19_000, 20_000)) < 5 * first + 0.05
