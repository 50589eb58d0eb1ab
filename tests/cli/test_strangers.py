"""What a stranger does wrong with a network and data that nobody prepared: told at once, with both numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import fluoroscope as fs
from fluoroscope.errors import InputError, OptionError
from tests.cli.conftest import as_json, one_error
from tests.cli.test_mistakes import check


@pytest.mark.parametrize(("target", "told"), [("top99", True), ("top3", False)])
def test_more_targets_than_outputs_are_told(run, model, photos, tmp_path, target, told):
    given = ("--images", photos, "--out", tmp_path, "--method", "saliency", "--method", "grad-cam", "--target", target)
    result = run("explain", model, *given)
    assert result.exit_code == 0
    said = "top99 was asked for, but the network has 3 outputs: all are shown"
    assert result.stderr.count(said) == (2 if told else 0)
    assert fs.open_result(tmp_path / "saliency.fluo").targets.shape == (3, 3)


@pytest.mark.parametrize("command", ["explain", "trust", "report"])
@pytest.mark.parametrize("count", [2, 4])
def test_names_of_another_number_than_the_outputs(run, model, photos, tmp_path, command, count):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"class {i}" for i in range(count)))
    out = tmp_path / "out"
    result = run(command, model, "--images", photos, "--classes", names, "--out", out / "page.html")
    check(result, "FS-INPUT", 5, f"{count} names", "3, one on each line", out=out)


def test_names_that_fit_are_used(run, model, photos, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("one\ntwo\nthree")
    given = ("--images", photos, "--classes", names, "--out", tmp_path, "--method", "saliency", "--target", "two")
    answer = as_json(run("explain", model, *given, "--json"))
    assert answer["methods"]["saliency"]["labels"] == [["two"]] * 3


def test_a_graph_that_ends_early_is_no_success(run, model, tmp_path):
    given = (model, "--input-shape", "5,8,8")
    result = run("graph", *given, "--out", tmp_path / "graph.json")
    assert result.exit_code == 3
    text = one_error(result, "FS-MODEL")
    assert "other than 5,8,8" in text
    assert "--partial" in text
    assert (tmp_path / "graph.json").exists()
    assert run("graph", *given, "--partial").exit_code == 0
    result = run("graph", *given, "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["complete"] is False


@pytest.mark.parametrize("given", [("--input-shape", "0,8,8"), ("--input-shape", "3,-1,8"), ("--std", "nan")])
def test_numbers_that_no_input_has(run, model, given):
    result = run("graph" if given[0] == "--input-shape" else "explain", model, *given)
    assert result.exit_code == 2
    assert given[0] in result.stderr


def test_options_that_do_not_exist_name_the_nearest():
    for make in (fs.GradCAM, fs.Saliency().replace):
        with pytest.raises(OptionError, match="'layer'" if make is fs.GradCAM else "'reduce'"):
            make(**{"layr" if make is fs.GradCAM else "reduces": "x"})
    with pytest.raises(OptionError, match=r"'steps'"):
        fs.Deletion(step=3)
    with pytest.raises(OptionError, match="by name"):
        fs.GradCAM("layer4")


def cut(folder: Path, share: float) -> Path:
    whole = folder / "whole.pt"
    torch.save({"conv1.weight": torch.randn(64, 64)}, whole)
    torn = folder / "torn.pt"
    torn.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    return torn


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("command", ["layers", "weights", "file"])
def test_a_torn_file_of_weights_is_one_kind_of_error(run, model, tmp_path, command, share):
    torn = cut(tmp_path, share)
    given = ("weights", torn) if command == "file" else (command, model, "--weights", torn)
    text = one_error(run(*given), "FS-MODEL")
    assert "not a complete file of weights" in text
    assert "which end before the archive does" in text


def test_weights_that_fit_in_part_are_taken_where_that_is_asked(run, model, tmp_path):
    file = tmp_path / "some.pt"
    torch.save({"conv1.weight": torch.zeros(4, 3, 3, 3), "conv9.weight": torch.zeros(2)}, file)
    text = one_error(run("weights", model, "--weights", file, "--out", tmp_path), "FS-MODEL")
    assert "--weights-partly" in text
    assert "strict" not in text
    result = run("weights", model, "--weights", file, "--weights-partly", "--out", tmp_path)
    assert result.exit_code == 0
    assert "conv9.weight" in result.stderr
    line = next(line for line in result.stdout.splitlines() if line.startswith("conv1.weight"))
    assert line.endswith("100.0 %")  # near zero


def test_a_text_for_a_network_without_a_tokenizer():
    network = fs.Subject(torch.nn.Linear(2, 2))
    for text in ("what is this", ["what is this", "and this"]):
        with pytest.raises(InputError, match="without a tokenizer"):
            fs.Saliency()(network, text)
    with pytest.raises(InputError, match="without a tokenizer"):
        fs.report(network, "what is this")
    with pytest.raises(InputError, match="there is no file"):
        fs.Saliency()(network, "my holiday.png")


@pytest.mark.parametrize(
    ("values", "part"),
    [(np.array(["a", "b"]), "holds no numbers"), (np.zeros(5, np.float32), "no batch axis")],
)
def test_arrays_that_are_no_batch(run, folder, tmp_path, values, part):
    np.save(tmp_path / "x.npy", values)
    result = run("explain", f"{folder / 'net.py'}:table", "--inputs", tmp_path / "x.npy", "--out", tmp_path / "out")
    check(result, "FS-INPUT", 5, part, out=tmp_path / "out")


def test_a_table_as_text(run, folder, tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    result = run("explain", f"{folder / 'net.py'}:table", "--inputs", tmp_path / "x.csv", "--out", tmp_path / "out")
    check(result, "FS-INPUT", 5, "is a table of text", "np.save", out=tmp_path / "out")


def test_options_of_checks(run, model, photos, tmp_path):
    given = ("trust", model, "--images", photos, "--out", tmp_path, "--method", "saliency", "--check", "deletion")
    answer = as_json(run(*given, "--set", "deletion.steps=3", "--set", "deletion.baseline=mean", "--json"))
    assert answer["columns"] == ["deletion"]
    options = fs.open_result(tmp_path / "trust.fluo").meta["options"]["checks"]["Deletion"]
    assert (options["steps"], options["baseline"]) == (3, "mean")
    assert "nearest:  'steps'" in one_error(run(*given, "--set", "deletion.step=3"), "FS-OPTION")
    assert "--check road" in one_error(run(*given, "--set", "road.noise=0"), "FS-OPTION")


def test_one_input_is_one(run, model, photos, tmp_path):
    result = run("activations", model, "--images", photos, "--limit", "1", "--out", tmp_path)
    assert "only the first input;" in result.stderr


def test_a_missing_argument_of_the_factory_is_named(run, tmp_path):
    (tmp_path / "made.py").write_text("def net(width, depth=2):\n    return None\n")
    text = one_error(run("layers", f"{tmp_path / 'made.py'}:net"), "FS-OPTION")
    assert "--arg width=VALUE" in text


@pytest.mark.parametrize("command", ["explain", "report"])
@pytest.mark.parametrize(
    "given, told",
    [
        (("--preprocess", "unit"), True),
        (("--mean", "0.5", "--std", "0.5"), True),
        (("--preprocess", "unit", "--size", "16"), False),
        (("--preprocess", "mnist", "--channels", "3"), False),
        (("--preprocess", "unit", "--input-shape", "3,16,16"), False),
    ],
)
def test_a_size_of_pictures_that_is_a_guess_is_told(run, folder, photos, tmp_path, command, given, told):
    out = tmp_path / ("out.html" if command == "report" else "out")
    result = run(command, f"{folder}/net.py:bare", "--images", photos, "--method", "grad-cam", "--out", out, *given)
    assert result.exit_code == 0, result.stderr
    assert ("brought to 224 x 224, a guess: --size PIXELS" in result.stderr) == told


def test_long_names_of_methods_do_not_run_into_titles(run):
    text = run("methods").stdout
    assert re.search(r"^  guided-grad-cam  +Guided Grad-CAM", text, re.M)
    assert "Any, default" not in text
