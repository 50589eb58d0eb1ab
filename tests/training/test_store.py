"""The store: what was written is read again, exactly, in the order of writing, whatever happens to the writer."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fluoroscope as fs
from fluoroscope.errors import InputError, MissingExtra, ResultFileError
from fluoroscope.training.store import RunWriter, connection, folder, schema
from fluoroscope.training.store.column import envelope
from fluoroscope.training.store.plain_values import flat, plain_values
from fluoroscope.training.store.tail_file import tail_path


def log(run: RunWriter, steps: range, **series: float) -> None:
    for step in steps:
        run.scalars(step, {name: value + step for name, value in series.items()})


def test_columns_are_exact_over_tail_and_chunks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=1234) * 10.0 ** rng.integers(-300, 300, 1234)
    values[[3, 700, 1233]] = np.nan, np.inf, -np.inf
    times = 1.7e9 + np.cumsum(rng.normal(size=1234))  # the clock may go backwards
    with RunWriter(tmp_path, "a") as run:
        for i, (v, t) in enumerate(zip(values, times, strict=True)):
            run.scalars(i, {"x": v, "y": -v}, time=t)
            if i in (0, 499, 500, 900):  # a reader sees the step at once
                assert len(fs.open_runs(tmp_path)["a"].column("x")) == i + 1
        live = fs.open_runs(tmp_path)["a"].column("x")
    for column in (live, fs.open_runs(tmp_path)["a"].column("x")):
        np.testing.assert_array_equal(column.values, values)
        np.testing.assert_array_equal(column.times, times)
        np.testing.assert_array_equal(column.steps, np.arange(1234))
    assert column.values.dtype == np.float64
    assert column.steps.dtype == np.int64


def test_steps_that_repeat_or_go_back_keep_their_order(tmp_path: Path) -> None:
    steps = [0, 5, 5, 3, -7, 2**62, -(2**62), 1] * 200
    with RunWriter(tmp_path, "a") as run:
        for i, step in enumerate(steps):
            run.scalars(step, {"x": float(i)})
    column = fs.open_runs(tmp_path)["a"].column("x")
    assert column.steps.tolist() == steps
    assert column.values.tolist() == list(range(len(steps)))


def test_series_written_by_changing_rows_keep_the_order_of_writing(tmp_path: Path) -> None:
    rng, wanted = np.random.default_rng(1), {name: [] for name in "abcd"}
    with RunWriter(tmp_path, "a") as run:
        for step in range(1700):
            names = [n for n in rng.permutation(list("abcd")) if rng.random() < 0.6] or ["a"]
            run.scalars(step, {n: float(rng.integers(1000)) for n in names} | {"d": float(step)})
            for n in {*names, "d"}:
                wanted[n].append(step)
    found = fs.open_runs(tmp_path)["a"]
    for name, steps in wanted.items():
        assert found.column(name).steps.tolist() == steps
    assert found.column("d").values.tolist() == [float(s) for s in wanted["d"]]
    assert found.last_values()["d"] == (1699, 1699.0)


def test_a_closed_file_keeps_no_empty_pages(tmp_path: Path) -> None:
    """Rows that became columns leave room, which goes back to the disk at the end."""
    run = RunWriter(tmp_path, "a")
    random = np.random.default_rng(0)
    for step in range(300):
        counts = {"gradient": random.integers(0, 500, (20, 129))}
        run.tensors(step, [f"w{i}" for i in range(20)], {"gradient/norm": random.random(20)}, counts)
    run.close()
    with contextlib.closing(sqlite3.connect(run.file)) as found:
        assert found.execute("PRAGMA freelist_count").fetchone()[0] == 0


def test_many_points_at_once_beside_single_ones(tmp_path: Path) -> None:
    steps, values = np.arange(150_000) * 3, np.random.default_rng(2).normal(size=150_000)
    with RunWriter(tmp_path, "a") as run:
        run.scalars(-3, {"x": 1.5})
        run.columns("x", steps, values, steps / 7)
        run.scalars(10**6, {"x": 2.5})
        with pytest.raises(InputError, match="differ in length"):
            run.columns("x", steps, values[1:])
    column = fs.open_runs(tmp_path)["a"].column("x")
    np.testing.assert_array_equal(column.values, [1.5, *values, 2.5])
    np.testing.assert_array_equal(column.steps, [-3, *steps, 10**6])
    np.testing.assert_array_equal(column.times[1:-1], steps / 7)


HOSTILE = [
    "",
    "../../etc/passwd",
    "a/b\\c:d*?",
    "\x00\x1b[31m\n",
    "💥" * 200,
    "<script>",
    "'; DROP TABLE tail; --",
    "CON",
    ".",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_any_characters(name: str, tmp_path: Path) -> None:
    with RunWriter(tmp_path / "runs", name, config={name: name}) as run:
        run.scalars(0, {name: 1.0, name + "2": 2.0})
    assert run.path.parent == tmp_path / "runs"
    assert list(tmp_path.iterdir()) == [tmp_path / "runs"]
    found = fs.open_runs(tmp_path / "runs")[name]
    assert found.names() == (name, name + "2")
    assert found.column(name).values.tolist() == [1.0]
    assert found.config == {name: name}


def test_half_a_surrogate_pair_in_a_name(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "bad \ud800 name") as run:
        run.scalars(0, {"\ud800": 1.0})
    assert fs.open_runs(tmp_path)["bad \ud800 name"].names() == ("\\ud800",)


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    for _ in range(3):
        RunWriter(tmp_path, "x y").close()
    assert sorted(fs.open_runs(tmp_path)) == ["x y", "x y-2", "x y-3"]


def test_a_run_goes_on_in_another_process(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a", config={"lr": 1}) as run:
        log(run, range(3), x=0.0)
    with RunWriter(tmp_path, "a", config={"lr": 2}, resume=True) as run:
        log(run, range(3, 6), x=0.0)
    found = fs.open_runs(tmp_path)
    assert list(found) == ["a"]
    assert found["a"].column("x").values.tolist() == [0, 1, 2, 3, 4, 5]
    assert found["a"].config == {"lr": 1}


def test_two_writers_at_once_and_ranks(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as first, RunWriter(tmp_path, "a", rank=1, resume=True) as second:
        threads = [
            threading.Thread(target=log, args=(w, range(700)), kwargs={"x": w.name == "a"}) for w in (first, second)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    run = fs.open_runs(tmp_path)["a"]
    assert run.names() == ("x", "rank1/x")
    assert len(run.column("x")) == len(run.column("rank1/x")) == 700
    assert fs.open_runs(run.path)["a"].column("x").steps.tolist() == list(range(700))


def test_hundred_thousand_series(tmp_path: Path) -> None:
    names = [f"series {i}" for i in range(100_000)]
    with RunWriter(tmp_path, "a") as run:
        for step in range(3):
            run.scalars(step, {n: float(i + step) for i, n in enumerate(names)})
        found = fs.open_runs(tmp_path)["a"]
        assert found.column(names[77_777]).values.tolist() == [77_777, 77_778, 77_779]
    assert found.names() == tuple(names)
    assert found.column(names[99_999]).values.tolist() == [99_999, 100_000, 100_001]
    assert found.last_values()[names[5]] == (2, 7.0)


def test_states(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "running"):
        assert fs.open_runs(tmp_path)["running"].state == "running"
        assert fs.open_runs(tmp_path)["running"].finished is None
    with pytest.raises(ZeroDivisionError), RunWriter(tmp_path, "failed"):
        _ = 1 / 0
    with pytest.raises(KeyboardInterrupt), RunWriter(tmp_path, "stopped"):
        raise KeyboardInterrupt
    program = f"from fluoroscope.training.store import RunWriter; w = RunWriter({str(tmp_path)!r}, 'gone'); "
    program += "w.scalars(1, {'x': 1.0}); import os; os._exit(1)"
    subprocess.run([sys.executable, "-c", program], check=False, env=child_environment())
    runs = fs.open_runs(tmp_path)
    states = {name: run.state for name, run in runs.items()}
    assert states == {"running": "finished", "failed": "failed", "stopped": "interrupted", "gone": "interrupted"}
    assert runs["failed"].error == "ZeroDivisionError: division by zero"
    assert runs["gone"].column("x").values.tolist() == [1.0]
    assert runs["running"].started <= (runs["running"].finished or 0.0) <= time.time()


def child_environment() -> dict[str, str]:
    source = str(Path(fs.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": source}


WRITER = """
import sys
from fluoroscope.training.store import RunWriter
import numpy as np
run = RunWriter(sys.argv[1], "a")
for step in range(10**9):
    run.scalars(step, {"x": float(step), "y": step * 0.5})
    if step % 3 == 0:
        run.tensors(step, ["w", "v"], {"gradient/norm": np.array([step, 2.0 * step])})
    sys.stdout.write(f"{step}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("times", [6, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_killed_at_a_random_moment(times: int, tmp_path: Path) -> None:
    """No committed step is lost, the file opens, and nothing is there that was not written."""
    rng = np.random.default_rng(times)
    for trial in range(times):
        place = tmp_path / str(trial)
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(place)], stdout=subprocess.PIPE, text=True, env=child_environment()
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            limit = time.monotonic() + float(rng.uniform(0, 0.12))
            told = 0
            while time.monotonic() < limit:
                told = int(child.stdout.readline())
            child.kill()
            rest = child.stdout.read().split("\n")
        told = max([told, *(int(line) for line in rest[:-1] if line)])
        run = fs.open_runs(place)["a"]
        column = run.column("x")
        assert len(column) in (told + 1, told + 2)
        np.testing.assert_array_equal(column.values, np.arange(len(column)))
        np.testing.assert_array_equal(run.column("y").values, np.arange(len(column)) * 0.5)
        norms = run.tensor_history().statistics["gradient/norm"]
        assert norms.shape[1] >= told // 3 + 1
        np.testing.assert_array_equal(norms[1], 6.0 * np.arange(norms.shape[1]))
        assert run.state == "interrupted"
        with RunWriter(place, "a", resume=True) as more:  # and it goes on from there
            more.scalars(-1, {"x": -1.0})
        assert run.column("x").values[-1] == -1.0


def torn(run: RunWriter, place: Path, name: str, cut: int) -> Path:
    """A copy of a run that is being written, one of its files cut off and its end never written."""
    place.mkdir(parents=True)
    for file in run.path.iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    found = bytearray((place / name).read_bytes()[: -cut or None])
    found[-40:] = bytes(40)
    (place / name).write_bytes(bytes(found))
    return place.parent


@pytest.mark.parametrize("cut", [0, 1, 700, 5000])
def test_a_torn_tail_loses_only_its_end(cut: int, tmp_path: Path) -> None:
    """After a power cut the file of the newest rows may end in the middle of one, or in one that was never written."""
    run = RunWriter(tmp_path, "a")
    log(run, range(700), x=0.0)
    values = fs.open_runs(torn(run, tmp_path / "cut" / "a", tail_path(run.file).name, cut))["a"].column("x").values
    assert 700 - 2 - cut // 40 <= len(values) < 700
    np.testing.assert_array_equal(values, np.arange(len(values)))
    run.close()
    assert [f.suffix for f in run.path.iterdir()] == [schema.SUFFIX]


@pytest.mark.parametrize("cut", [1, 700, 5000, 20000])
def test_a_torn_log_loses_only_its_end(cut: int, tmp_path: Path) -> None:
    """The same of the log of SQLite, with rows of statistics in it."""
    run = RunWriter(tmp_path, "a")
    for step in range(600):
        with run.together():
            run.tensors(step, ["w", "v"], {"gradient/norm": np.full(2, float(step))})
            run.scalars(step, {"x": float(step)})
        run.scalars(step, {"y": float(step)})
    found = fs.open_runs(torn(run, tmp_path / "cut" / "a", run.file.name + "-wal", cut))["a"]
    norms = found.tensor_history().statistics["gradient/norm"][0]
    assert 0 < len(norms) < 600
    np.testing.assert_array_equal(norms, np.arange(len(norms)))
    for name in ("x", "y"):
        values = found.column(name).values
        np.testing.assert_array_equal(values, np.arange(len(values)))
        assert abs(len(values) - len(norms)) <= 1
    run.close()


def test_readers_see_one_moment_while_rows_become_columns(tmp_path: Path) -> None:
    """A reader opened at any time has every row whose call had returned, in order, none twice."""
    run = RunWriter(tmp_path, "a")
    run.scalars(0, {"x": 0.0})
    told, seen, end = [0], [], threading.Event()

    def read() -> None:
        while not end.is_set():
            least = told[0]
            values = fs.open_runs(tmp_path)["a"].column("x").values
            seen.append((least, values))

    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(read) for _ in range(2)]
        for step in range(1, 6000):
            if step % 7:
                run.scalars(step, {"x": float(step)})
            else:
                with run.together():
                    run.scalars(step, {"x": float(step)})
            told[0] = step
        end.set()
        for job in jobs:
            job.result()
    run.close()
    assert len(seen) > 5
    for least, values in seen:
        assert len(values) > least
        np.testing.assert_array_equal(values, np.arange(len(values)))
    np.testing.assert_array_equal(fs.open_runs(tmp_path)["a"].column("x").values, np.arange(6000))


def test_a_transaction_taken_back_keeps_the_rows_before_it(tmp_path: Path) -> None:
    """Rows beside SQLite became columns within a transaction that failed: they are still there, and become columns."""
    run = RunWriter(tmp_path, "a")
    log(run, range(30), x=0.0)
    with pytest.warns(RuntimeWarning, match=connection.LOST_RECORDS), run.together():
        run.columns("many", np.arange(5), np.arange(5.0))
        run.scalars(30, {"x": 30.0})
        run._connection.sql.execute("ROLLBACK")
    assert run.lost
    np.testing.assert_array_equal(fs.open_runs(tmp_path)["a"].column("x").values, np.arange(30))
    log(run, range(30, 1200), x=0.0)
    np.testing.assert_array_equal(fs.open_runs(tmp_path)["a"].column("x").values, np.arange(1200))
    run.close()
    found = fs.open_runs(tmp_path)["a"]
    np.testing.assert_array_equal(found.column("x").values, np.arange(1200))
    assert "many" not in found.names()


def test_a_damaged_file_harms_no_other_run(tmp_path: Path) -> None:
    for name in ("good", "bad", "foreign"):
        with RunWriter(tmp_path, name) as run:
            log(run, range(600), x=0.0)
        if name == "bad":
            run.file.write_bytes(run.file.read_bytes()[:3000])
        if name == "foreign":
            run.file.unlink()
            with sqlite3.connect(run.file) as other:
                other.execute("CREATE TABLE t (x)")
    runs = fs.open_runs(tmp_path)
    assert list(runs) == ["good"]
    assert set(runs.damaged) == {"bad"}
    ((place, error),) = runs.foreign.items()
    assert place.startswith("foreign/rank0-") and "another program" in str(error)


def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    """The training goes on; the loss is told once and counted; what was written before and after is there."""
    run = RunWriter(tmp_path, "a")
    log(run, range(10), x=0.0)
    pages = run._connection.sql.execute("PRAGMA page_count").fetchone()[0]
    run._connection.sql.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.warns(RuntimeWarning, match=connection.LOST_RECORDS) as told:
        for step in range(10, 3000):
            run.scalars(step, {"x": float(step), f"name {step % 50}": 1.0})
            if step % 100 == 0:
                run.tensors(step, [f"w{i}" for i in range(400)], {"gradient/norm": np.ones(400)})
    assert len(told) == 1
    assert run.lost > 20  # statistics; single rows are kept beside SQLite until they can become columns
    run._connection.sql.execute("PRAGMA max_page_count = 1000000")
    log(run, range(5000, 6000), x=0.0)
    run.close()
    found = fs.open_runs(tmp_path)["a"]
    values = found.column("x").values
    np.testing.assert_array_equal(found.column("x").steps, values)
    assert len(set(values)) == len(values)
    assert set(range(10)) | set(range(5000, 6000)) <= set(values.astype(int))
    assert found.facts["lost"] == run.lost


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount a small disk")
def test_a_small_real_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200k", "none", disk], check=False).returncode:
        pytest.skip("a disk can't be mounted here")
    try:
        (disk / "other").write_bytes(bytes(600 << 10))
        run = RunWriter(disk, "a")
        with pytest.warns(RuntimeWarning, match=connection.LOST_RECORDS) as told:
            for step in range(30_000):
                run.scalars(step, {"x": float(step), "y": 0.0})
        assert len(told) == 1
        lost = run.lost
        assert 0 < lost < 29_990
        (disk / "other").unlink()  # somebody makes room
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            log(run, range(30_000, 30_100), x=0.0, y=0.0)
            run.close()
        assert run.lost == lost
        steps = fs.open_runs(disk)["a"].column("x").steps
        assert len(steps) == 30_100 - lost
        assert steps[-100:].tolist() == list(range(30_000, 30_100))
        np.testing.assert_array_equal(steps, np.unique(steps))
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


def test_a_folder_that_can_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that broke off, its log beside it, on a medium that can't be written to."""
    run = RunWriter(tmp_path, "a")
    log(run, range(5), x=0.0)
    copy = tmp_path / "copy" / "a"
    copy.mkdir(parents=True)
    for file in run.path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    run.close()
    for place in (copy, run.path):
        before = {f.name: f.read_bytes() for f in place.iterdir()}
        place.chmod(stat.S_IRUSR | stat.S_IXUSR)
        with monkeypatch.context() as patch:
            if os.geteuid() == 0:  # to whom no folder is closed
                patch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
            assert fs.open_runs(place)["a"].column("x").values.tolist() == [0, 1, 2, 3, 4]
        place.chmod(stat.S_IRWXU)
        assert {f.name: f.read_bytes() for f in place.iterdir()} == before


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ResultFileError, match="can't be written"):
        RunWriter(tmp_path / "file" / "runs", "a")
    with pytest.raises(ResultFileError, match="could not be read"):
        fs.open_runs(tmp_path / "file")
    (tmp_path / "runs").mkdir()
    with pytest.raises(ResultFileError, match=r"(?s)no folder .*rnus.*nearest: +'runs'"):
        fs.open_runs(tmp_path / "rnus")


def test_wrong_names_are_told_with_the_nearest(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "baseline") as run:
        run.scalars(0, {"val_loss": 1.0})
    with pytest.raises(KeyError, match="baseline"):
        fs.open_runs(tmp_path)["baselin"]
    with pytest.raises(InputError, match="val_loss"):
        fs.open_runs(tmp_path)["baseline"].column("valloss")
    with pytest.raises(ResultFileError, match="closed"):
        run.scalars(1, {"x": 1.0})


def test_together_is_one_transaction(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        run.scalars(0, {"x": 0.0})
        with run.together():
            log(run, range(1, 1300), x=0.0)
            assert len(fs.open_runs(tmp_path)["a"].column("x")) == 1
        assert len(fs.open_runs(tmp_path)["a"].column("x")) == 1300


def test_history_groups_train_and_validation(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a", config={"lr": 0.1}) as run:
        run.scalars(3, {"loss": 1.0, "val_loss": np.nan, "time/step": 2.0})
    history = fs.open_runs(tmp_path)["a"].history()
    assert {n: s.group for n, s in history.series.items()} == {"loss": "loss", "val_loss": "loss", "time/step": "time"}
    assert np.isnan(history.series["val_loss"].values[0])
    assert history.series["loss"].steps.tolist() == [3]
    assert list(fs.open_runs(tmp_path)["a"].history(["loss"]).series) == ["loss"]


def test_tables(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    parquet = pytest.importorskip("pyarrow.parquet")
    with RunWriter(tmp_path, "a") as run:
        log(run, range(700), x=0.0, y=0.25)
    found = fs.open_runs(tmp_path)["a"]
    path = found.to_parquet(tmp_path / "a.parquet")
    for frame in (found.to_pandas(), parquet.read_table(path).to_pandas()):
        assert isinstance(frame, pandas.DataFrame)
        part = frame[frame.series == "y"]
        np.testing.assert_array_equal(part.value, found.column("y").values)
        np.testing.assert_array_equal(part.step, range(700))
        np.testing.assert_array_equal(part.time, found.column("y").times)


def test_tables_without_their_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RunWriter(tmp_path, "a").close()
    for name in ("pandas", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None)
    found = fs.open_runs(tmp_path)["a"]
    with pytest.raises(MissingExtra, match=r"fluoroscope\[tables\]"):
        found.to_pandas()
    with pytest.raises(MissingExtra, match=r"fluoroscope\[tables\]"):
        found.to_parquet(tmp_path / "x")


@pytest.mark.parametrize("count", [0, 1, 7, 1999, 2000, 2001, 54_321])
def test_an_envelope_is_exact(count: int) -> None:
    rng = np.random.default_rng(count)
    values = rng.normal(size=count)
    if count > 1000:
        values[rng.integers(0, count, 40)] = rng.choice([np.nan, np.inf, -np.inf], 40)
        values[500:600] = np.nan
    found = envelope(np.arange(count) * 2, values, 2000)
    assert len(found.low) == min(count, 2000)
    bounds = [*(found.steps // 2).tolist(), count]
    for i, (start, end) in enumerate(itertools.pairwise(bounds)):
        part = values[start:end]
        finite = part[np.isfinite(part)]
        assert found.ends[i] == 2 * (end - 1)
        assert found.hidden[i] == len(part) - len(finite)
        if len(finite):
            assert (found.low[i], found.high[i]) == (finite.min(), finite.max())
        else:
            assert np.isnan(found.low[i])


def test_an_older_file_is_read_and_made_newer(tmp_path: Path) -> None:
    """A file as version 1 wrote it: reading leaves it alone; migrating keeps every point."""
    place = tmp_path / "old"
    place.mkdir()
    file = place / f"rank0-1-a{schema.SUFFIX}"
    times = np.array([1.0, 2.0, 3.0])
    with sqlite3.connect(file) as old:
        old.executescript(f"""
            CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
            CREATE TABLE series (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
            CREATE TABLE layouts (id INTEGER PRIMARY KEY, series BLOB NOT NULL);
            CREATE TABLE tail (seq INTEGER PRIMARY KEY, layout INTEGER NOT NULL, step INTEGER NOT NULL,
                               time REAL NOT NULL, data BLOB NOT NULL);
            CREATE TABLE chunks (id INTEGER PRIMARY KEY, series INTEGER NOT NULL, steps BLOB NOT NULL,
                                 data BLOB NOT NULL, times BLOB NOT NULL);
            CREATE INDEX chunks_of_series ON chunks (series);
            INSERT INTO meta VALUES ('name', '"old"'), ('state', '"finished"'), ('started', '1.0');
            INSERT INTO series VALUES (1, 'x'), (2, 'y');
            PRAGMA application_id = {schema.APPLICATION}; PRAGMA user_version = 1;""")
        steps = b"R" + np.array([5, 6, 9]).tobytes()
        for series, values in ((1, [0.5, np.nan, 2.0]), (2, [7.0, 8.0, 9.0])):
            data = (series, steps, np.array(values).tobytes(), times.tobytes())
            old.execute("INSERT INTO chunks VALUES (NULL, ?, ?, ?, ?)", data)
        old.execute("INSERT INTO layouts VALUES (1, ?)", (np.array([2], "<i4").tobytes(),))
        old.execute("INSERT INTO tail VALUES (1, 1, 11, 4.0, ?)", (np.array([10.0]).tobytes(),))
    old.close()
    before = file.read_bytes()
    for _ in range(2):
        run = fs.open_runs(tmp_path)["old"]
        np.testing.assert_array_equal(run.column("x").values, [0.5, np.nan, 2.0])
        assert run.column("y").values.tolist() == [7.0, 8.0, 9.0, 10.0]
        assert run.column("y").steps.tolist() == [5, 6, 9, 11]
        assert run.column("y").times.tolist() == [1.0, 2.0, 3.0, 4.0]
        assert run.tensor_history().names == ()
        assert (file.read_bytes() == before) == (_ == 0)
        with sqlite3.connect(file, isolation_level=None) as sql:
            assert schema.migrate(sql, file) == (1 if _ == 0 else schema.VERSION)
            assert sql.execute("SELECT count(*) FROM axes").fetchone() == (1,)  # shared by both series
        sql.close()


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        pass
    with sqlite3.connect(run.file) as newer:
        newer.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    newer.close()
    assert "newer version" in str(next(iter(_damaged(tmp_path).values())))


def _damaged(path: Path) -> dict[str, Exception]:
    runs = fs.open_runs(path)
    assert not list(runs)
    return runs.damaged


def test_tensors_are_read_again(tmp_path: Path) -> None:
    rng, names, steps = np.random.default_rng(3), [f"layer.{i}" for i in range(7)], 300
    norms, counts = rng.normal(size=(steps, 7)).astype(np.float32), rng.integers(0, 900, (steps, 7, 9))
    counts[:, :, :2] = 0
    norms[4, 2], norms[5, 2] = np.nan, np.inf
    edges = {"gradient": list(range(10))}
    with RunWriter(tmp_path, "a") as run:
        for s in range(steps):
            run.tensors(
                s, names, {"gradient/norm": norms[s]}, {"gradient": counts[s]}, facts={"edges": edges, "sampled": 0.5}
            )
        live = fs.open_runs(tmp_path)["a"].tensor_history()
    for found in (live, fs.open_runs(tmp_path)["a"].tensor_history()):
        assert found.names == tuple(names)
        np.testing.assert_array_equal(found.statistics["gradient/norm"], norms.T)
        assert found.recorded["gradient/norm"].all()
        np.testing.assert_array_equal(found.histograms["gradient"].counts, counts.transpose(1, 0, 2))
        assert found.histograms["gradient"].sampled == 0.5
    assert fs.open_runs(tmp_path)["a"].tensor_history(["weight/norm"]).statistics == {}


def test_the_folder_of_a_run() -> None:
    assert folder.safe_name("baseline-1.b") == "baseline-1.b"
    assert folder.safe_name("a/b") != folder.safe_name("a:b")
    assert folder.safe_name("nul") != "nul"
    assert len(folder.safe_name("x" * 1000)) < 100


def test_plain_values() -> None:
    class Odd:
        pass

    found = plain_values({"a": np.float32(1), 2: (1, {3}), "n": float("nan"), "p": Path("x"), "f": len, "o": [Odd]})
    assert found == {
        "a": 1.0, "2": [1, [3]], "n": "nan", "p": "x", "f": "builtins.len",
        "o": [f"{__name__}.test_plain_values.<locals>.Odd"],
    }  # fmt: skip
    loop: dict[str, object] = {}
    loop["self"] = loop
    assert "…" in repr(plain_values(loop))
    assert flat({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}
