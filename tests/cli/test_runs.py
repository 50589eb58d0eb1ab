"""``fluoroscope runs``: state and last values of every run, and what can't be read."""

from __future__ import annotations

import re
import shutil
import sqlite3

import numpy as np
import pytest

import fluoroscope as fs
from fluoroscope.errors import ResultFileError
from fluoroscope.training.store import RunWriter, open_runs
from fluoroscope.training.store.interest import by_interest
from tests.cli.conftest import as_json


def written(folder, name, steps, state=None, **config):
    writer = RunWriter(folder, name, config=config)
    for step in range(1, steps + 1):
        writer.scalars(step, {"accuracy": step / 10, "val_loss": 2.0 / step, "a": 1, "b": 2, "c": 3})
    if state:
        writer.close(state)


def test_runs_are_listed(run, tmp_path):
    written(tmp_path, "first", 4, "finished", lr=0.1)
    written(tmp_path, "second", 2)
    result = run("runs", tmp_path)
    assert result.exit_code == 0
    line = next(line for line in result.stdout.splitlines() if line.startswith("first"))
    assert line.split()[1:3] == ["finished", "4"]
    assert "val_loss 0.5" in line
    assert "c 3" not in line
    assert "c 3" in run("runs", tmp_path, "--all").stdout
    answer = as_json(run("runs", tmp_path, "--json"))
    rows = {row["name"]: row for row in answer["runs"]}
    assert rows["first"]["config"] == {"lr": 0.1}
    assert rows["first"]["last"]["accuracy"] == 0.4
    assert rows["second"]["state"] == "running"


def test_a_missing_folder_is_an_error_that_names_near_ones(run, tmp_path):
    written(tmp_path / "runs", "first", 1)
    result = run("runs", tmp_path / "rnus")
    assert result.exit_code == 7
    assert "there is no folder" in result.stderr and "'runs'" in result.stderr


def test_the_studio_says_that_its_folder_is_not_there_yet(run, tmp_path, monkeypatch):
    monkeypatch.setattr("fluoroscope.studio.server.Studio.serve", lambda studio: studio.listener.close())
    (tmp_path / "runs").mkdir()
    missing = run("studio", tmp_path / "rnus", "--no-open")
    assert missing.exit_code == 0
    assert "no folder" in missing.stderr and "'runs'" in missing.stderr
    assert run("studio", tmp_path / "runs", "--no-open").stderr == ""
    (tmp_path / "file").write_text("")
    assert run("studio", tmp_path / "file", "--no-open").exit_code == 5


def test_last_values_have_the_units_of_the_charts(run, tmp_path):
    with RunWriter(tmp_path, "units") as writer:
        writer.scalars(1, {"memory/process": 4.9e8, "throughput": 14670.3, "time/step": 0.0125, "count": 1234567.0})
    line = next(line for line in run("runs", tmp_path, "--all").stdout.splitlines() if line.startswith("units"))
    for words in ("memory/process 490 MB", "throughput 14,670", "time/step 0.0125 s", "count 1,234,567"):
        assert words in line


def test_a_standard_error_stands_behind_its_value(run, tmp_path):
    with RunWriter(tmp_path, "noise") as writer:
        writer.scalars(1, {"a": 1, "noise_scale/examples": 30.5, "noise_scale/standard_error": 2.5, "test_error": 0.5})
    assert by_interest(open_runs(tmp_path)["noise"].names()) == [
        "test_error",
        "a",
        "noise_scale/examples",
        "noise_scale/standard_error",
    ]


def test_a_file_among_the_runs_hides_none_of_them(run, tmp_path):
    """A file of a run copied beside the folders, or a database of something else."""
    written(tmp_path, "first", 3, "finished")
    written(tmp_path, "second", 3, "finished")
    written(tmp_path / "other", "third", 3, "finished")
    (file,) = (tmp_path / "other" / "third").glob("*.sqlite")
    shutil.move(file, tmp_path / file.name)
    assert list(open_runs(tmp_path)) == ["third", "first", "second"]
    (tmp_path / file.name).write_bytes(b"something else")
    result = run("runs", tmp_path)
    assert result.exit_code == 0 and "2 runs" in result.stderr + result.stdout
    assert tmp_path.name in result.stderr and "can't be read" in result.stderr
    answer = as_json(run("diagnose", tmp_path / "second", "--json"))
    assert list(answer["runs"]) == ["second"]


def test_an_empty_folder_and_a_missing_one(run, tmp_path):
    assert "0 runs" in run("runs", tmp_path).stderr + run("runs", tmp_path).stdout
    missing = run("runs", tmp_path / "none")
    assert missing.exit_code != 0
    assert "none" in missing.stderr


def damage(folder, begin, end):
    """Overwrite a part of a run's file: its head, or pages of its data."""
    (file,) = folder.glob("*.sqlite")
    raw = bytearray(file.read_bytes())
    raw[begin:end] = b"\xff" * (min(end, len(raw)) - begin)
    file.write_bytes(raw)


def broken(tmp_path):
    """A run whose head can't be read, one whose data can't be, and the numbers of series that are left in it."""
    with RunWriter(tmp_path, "head") as writer:
        writer.scalars(0, {"loss": 1.0})
    damage(tmp_path / "head", 0, 200)
    with RunWriter(tmp_path, "data") as writer:
        for i in range(60):
            writer.columns(f"s{i}", np.arange(200), np.random.default_rng(i).normal(size=200))
    (file,) = (tmp_path / "data").glob("*.sqlite")
    damage(tmp_path / "data", file.stat().st_size // 2, file.stat().st_size // 2 + 8192)


def test_where_all_is_damaged_the_exit_code_says_so(run, tmp_path):
    broken(tmp_path)
    result = run("runs", tmp_path)
    assert result.exit_code == 7
    assert "head is damaged" in result.stderr and "data is damaged" in result.stderr and "0 runs" in result.stdout
    assert set(as_json(run("runs", tmp_path, "--json"))["damaged"]) == {"head", "data"}
    written(tmp_path, "good", 2, "finished")
    result = run("runs", tmp_path)
    assert result.exit_code == 0 and "head is damaged" in result.stderr and "1 run in" in result.stdout


def test_diagnose_says_damaged_and_what_is_left(run, tmp_path):
    broken(tmp_path)
    head = run("diagnose", tmp_path / "head")
    assert head.exit_code == 7 and "is damaged" in head.stderr and "nothing of it can be read" in head.stderr
    data = run("diagnose", tmp_path / "data")
    assert data.exit_code == 7 and "is damaged" in data.stderr
    left, of = re.search(r"readable are (\d+) of (\d+) series", data.stderr).groups()
    assert 0 < int(left) < int(of) == 60
    assert "there is no run" not in head.stderr + data.stderr
    folder = run("diagnose", tmp_path)
    assert folder.exit_code == 7


def test_diagnosing_a_folder_tells_what_is_damaged_and_diagnoses_the_others(run, tmp_path):
    broken(tmp_path)
    written(tmp_path, "good", 80, "finished")
    result = run("diagnose", tmp_path)
    assert result.exit_code == 7 and "== good" in result.stdout and "rules applied" in result.stdout
    assert f"the run in {tmp_path / 'head'} is damaged" in result.stderr
    assert f"the run in {tmp_path / 'data'} is damaged" in result.stderr
    answer = as_json(run("diagnose", tmp_path, "--json"))
    assert set(answer["runs"]) == {"good", "data"} and set(answer["damaged"]) == {"head", "data"}


def test_what_is_left_of_a_damaged_run_is_diagnosed_and_what_is_missing_is_told(run, tmp_path):
    broken(tmp_path)
    found = fs.diagnose(tmp_path / "data")
    history = open_runs(tmp_path)["data"].history(partial=True)
    lost = set(found.meta["unreadable"])
    assert lost and set(history.series) == {f"s{i}" for i in range(60)} - lost
    for name, series in history.series.items():
        np.testing.assert_array_equal(series.values, np.random.default_rng(int(name[1:])).normal(size=200))
    assert f"{len(lost)} of 60 series can't be read" in found.notes[0]
    with pytest.raises(ResultFileError):
        open_runs(tmp_path)["data"].history()
    result = run("diagnose", tmp_path / "data")
    assert result.exit_code == 7 and "rule applied, 22 could not be" in result.stdout
    assert f"{len(lost)} of 60 series can't be read" in result.stdout
    answer = as_json(run("diagnose", tmp_path / "data", "--json"))
    assert set(answer["runs"]) == set(answer["damaged"]) == {"data"}
    assert "can't be read" in answer["runs"]["data"]["notes"][0]


def test_another_series_does_not_stand_in_for_a_loss_that_is_lost(run, tmp_path):
    with RunWriter(tmp_path, "a") as writer:
        writer.columns("loss", np.arange(4000), np.full(4000, 0.123456))
        writer.columns("loss_of_another_kind", np.arange(4000), np.linspace(1, 2, 4000))
    raw = writer.file.read_bytes()
    at = raw.rindex(np.float64(0.123456).tobytes() * 8) // 4096 * 4096
    damage(tmp_path / "a", at, at + 4096)
    found = fs.diagnose(tmp_path / "a")
    assert found.meta["unreadable"] == ["loss"]
    assert found.skipped["plateau"] == "the training loss can't be read"
    assert found.skipped["overfitting"] == "the validation loss was not recorded"


def test_a_file_of_another_program_is_called_that_and_not_a_damaged_run(run, tmp_path):
    written(tmp_path, "good", 3, "finished")
    with sqlite3.connect(tmp_path / "photos.sqlite") as other:
        other.execute("CREATE TABLE t (x)")
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "notes.sqlite").write_text("something else")
    shutil.copy(tmp_path / "photos.sqlite", tmp_path / "good")
    result = run("runs", tmp_path)
    assert result.exit_code == 0 and "1 run in" in result.stdout and "damaged" not in result.stderr
    for file, kind in (
        ("photos.sqlite", "an SQLite file of another program"),
        ("album/notes.sqlite", "no SQLite file"),
        ("good/photos.sqlite", "an SQLite file of another program"),
    ):
        assert f"{tmp_path / file} is not a record of a training ({kind}) and is left out" in result.stderr
    runs = open_runs(tmp_path)
    assert list(runs) == ["good"] and not runs.damaged and set(runs.foreign) == {"photos.sqlite", "album/notes.sqlite"}
    assert (
        not runs["good"].damaged and set(runs["good"].foreign) == {"photos.sqlite"} and not runs["good"].history().notes
    )
    result = run("diagnose", tmp_path / "album")
    assert result.exit_code != 0 and "there is no run" in result.stderr and "notes.sqlite" in result.stderr


def test_a_damaged_run_that_is_named_is_not_called_missing(run, tmp_path):
    broken(tmp_path)
    written(tmp_path, "good", 3, "finished")
    for command in (
        ("diagnose", tmp_path / "head"),
        ("export", "head", "--dir", tmp_path, "--csv", tmp_path / "t.csv"),
    ):
        result = run(*command)
        assert result.exit_code in (5, 7)
        assert "is damaged" in result.stderr and "there is no run" not in result.stderr


def test_a_damaged_part_of_a_run_does_not_cost_the_others(run, tmp_path):
    written(tmp_path, "twice", 3, "finished")
    with RunWriter(tmp_path, "twice", resume=True) as writer:
        writer.scalars(10, {"accuracy": 0.9})
    first = min((tmp_path / "twice").glob("*.sqlite"))
    first.write_bytes(b"\0" * 100)
    found = open_runs(tmp_path)["twice"]
    assert list(found.damaged) == [first.name] and found.column("accuracy").steps.tolist() == [10]
    assert first.name in found.history().notes[0]
    result = run("runs", tmp_path)
    assert result.exit_code == 0 and first.name in result.stderr


def test_a_run_with_slashes_is_found_by_folder_and_name(run, tmp_path):
    written(tmp_path / "runs", "a/b", 3, "finished")
    written(tmp_path / "runs", "a", 3, "finished")
    for name in ("a/b", "a"):
        result = run("diagnose", tmp_path / "runs" / name, "--json")
        assert result.exit_code == 0, result.stderr
        assert list(as_json(result)["runs"]) == [name]
    missing = run("diagnose", tmp_path / "runs" / "a" / "c")
    assert missing.exit_code != 0 and "no run of that name" in missing.stderr and "a/b" in missing.stderr
    assert run("diagnose", tmp_path / "none" / "a").exit_code != 0
