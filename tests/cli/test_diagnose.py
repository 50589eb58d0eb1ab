"""``fluoroscope diagnose``: runs and histories, exit codes, JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from fluoroscope.results import History, Series
from fluoroscope.training.store import RunWriter
from tests.cli.conftest import as_json, one_error


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A run that goes well and one that becomes NaN at step 80."""
    steps = np.arange(1, 121)
    good = 0.2 + 2 * np.exp(-steps / 30)
    for name, loss in {"good": good, "bad": np.where(steps < 80, good, np.nan)}.items():
        writer = RunWriter(tmp_path / "runs", name)
        writer.columns("loss", steps, loss, 1e9 + steps)
        writer.close("finished")
    return tmp_path / "runs"


def test_what_is_wrong_where_and_what_to_try(run: Callable[..., Result], runs: Path) -> None:
    found = run("diagnose", runs / "bad")
    assert found.exit_code == 0
    assert "NaN starts in the loss" in found.stdout
    assert "At step 80 the loss became NaN" in found.stdout
    assert "try: check this batch" in found.stdout
    assert "nothing found" in run("diagnose", runs / "good").stdout


def test_every_run_of_a_folder_as_json(run: Callable[..., Result], runs: Path, tmp_path: Path) -> None:
    found = as_json(run("diagnose", runs, "--json", "--out", tmp_path / "out"))
    told: dict[str, Any] = {name: [f["rule"] for f in r["findings"]] for name, r in found["runs"].items()}
    assert told["good"] == []
    assert told["bad"] == ["nan-origin"]
    assert found["runs"]["bad"]["findings"][0]["steps"] == [80]
    assert "vanishing-gradients" in found["runs"]["bad"]["skipped"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["bad.fluo", "good.fluo"]


@pytest.mark.parametrize(("name", "level", "code"), [("bad", "problem", 9), ("bad", "hint", 9), ("good", "hint", 0)])
def test_the_exit_code_says_what_fail_on_asks(
    run: Callable[..., Result], runs: Path, name: str, level: str, code: int
) -> None:
    assert run("diagnose", runs / name, "--fail-on", level).exit_code == code


def test_a_history_in_a_file_and_one_rule(run: Callable[..., Result], tmp_path: Path) -> None:
    loss = np.where(np.arange(80) < 40, 1.0, np.inf)
    path = History(series={"loss": Series(steps=np.arange(80), values=loss)}).save(tmp_path / "h")
    assert "Infinity starts in the loss" in run("diagnose", path).stdout
    assert "nothing found" in run("diagnose", path, "--rule", "overfitting").stdout
    assert "not applied: overfitting: the validation loss" in run("diagnose", path, "--skipped").stdout


def test_mistakes_are_told_in_one_message(run: Callable[..., Result], runs: Path, tmp_path: Path) -> None:
    missing = run("diagnose", tmp_path / "nothing")
    assert missing.exit_code == 7
    one_error(missing, "FS-FILE")
    (tmp_path / "empty").mkdir()
    assert run("diagnose", tmp_path / "empty").exit_code == 5
    wrong = run("diagnose", runs / "bad", "--rule", "nan-orgin")
    assert wrong.exit_code == 2
    assert "nearest:  'nan-origin'" in one_error(wrong, "FS-OPTION")
