"""``fluoroscope runs``: state and last values of every run, and what can't be read."""

from __future__ import annotations

from fluoroscope.training.store import RunWriter
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


def test_an_empty_folder_and_a_missing_one(run, tmp_path):
    assert "0 runs" in run("runs", tmp_path).stderr + run("runs", tmp_path).stdout
    missing = run("runs", tmp_path / "none")
    assert missing.exit_code != 0
    assert "none" in missing.stderr
