"""``fluoroscope trust``: the table, its numbers, its files, its mistakes."""

from __future__ import annotations

import numpy as np
import pytest

import fluoroscope as fs
from fluoroscope.cli.console import Console
from tests.cli.conftest import as_json, folder, model, photos, run  # noqa: F401 (fixtures)


def test_a_table_in_a_pipe(run, model, photos, tmp_path):  # noqa: F811
    result = run("trust", model, "--images", photos, "--method", "saliency", "--check", "deletion", "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split()[:2] == ["measure", "Saliency"]
    assert lines[0].split()[-1] == "chance"
    (deletion,) = (line for line in lines if "deletion  " in line)
    assert deletion.startswith("↓")
    assert any("lower is better" in line for line in lines)
    assert any(line.startswith("Saliency: ") and "random map" in line for line in lines)
    card = fs.open_result(tmp_path / "trust.fluo")
    assert deletion.split()[2] == f"{card.table[0, 0]:.3f}".rstrip("0")
    assert deletion.split()[-1] == f"{card.reference[0]:.3f}".rstrip("0")
    assert (tmp_path / "trust.png").stat().st_size > 5000


def test_json_has_the_library_s_numbers(run, model, photos, tmp_path):  # noqa: F811
    arguments = [
        "trust",
        model,
        "--images",
        photos,
        "--check",
        "randomization",
        "--seed",
        2,
        "--out",
        tmp_path,
        "--json",
    ]
    answer = as_json(run(*arguments))
    card = fs.open_result(tmp_path / "trust.fluo")
    assert answer["rows"][:2] == ["Grad-CAM", "Saliency"]
    assert answer["columns"] == list(card.columns)
    np.testing.assert_allclose(answer["table"][1], card.table[1])
    assert len(answer["verdicts"]) == len(answer["rows"])
    assert card.meta["seed"] == 2


def test_masks(run, model, photos, tmp_path):  # noqa: F811
    count, size = 3, 16
    masks = np.zeros((count, size, size), bool)
    masks[:, 4:9, 4:9] = True
    np.save(tmp_path / "masks.npy", masks)
    arguments = ["trust", model, "--images", photos, "--method", "saliency", "--limit", count, "--out", tmp_path]
    answer = as_json(run(*arguments, "--masks", tmp_path / "masks.npy", "--check", "localization", "--json"))
    assert answer["columns"][0] == "peak on the object"
    assert answer["reference"][0] == pytest.approx(masks.mean())


def test_a_terminal_gets_measures_down_and_methods_across(run, model, photos, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(Console, "terminal", True)
    text = run("trust", model, "--images", photos, "--check", "deletion", "--out", tmp_path).stdout
    assert "measure" in text
    assert "Grad-CAM" in text.split("deletion")[0]


def test_mistakes_are_told(run, model, photos, tmp_path):  # noqa: F811
    wrong = run("trust", model, "--images", photos, "--check", "deletio", "--out", tmp_path)
    assert wrong.exit_code == 2
    assert "'deletion'" in wrong.stderr
    missing = run("trust", model, "--images", photos, "--masks", tmp_path / "no.npy", "--out", tmp_path)
    assert missing.exit_code == 5
    assert "no.npy" in missing.stderr
    maskless = run("trust", model, "--images", photos, "--check", "pointing-game", "--out", tmp_path)
    assert maskless.exit_code == 2
    assert "needs masks" in maskless.stderr
